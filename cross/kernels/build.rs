//! Leaves out what of the kernels needs the crate `gemm`: it serves `compress` alone, and takes long to compile.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(without_gemm)");
    println!("cargo::rustc-cfg=without_gemm");
}
