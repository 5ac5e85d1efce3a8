//! What can be tested without a GPU: that the kernels compile, and for what.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::kernels::{SOURCES, compile, supported, target};

#[test]
fn kernels_are_compiled_for_the_gpu_or_for_the_newest_before_it() {
    let known = [75, 80, 90, 100];
    assert_eq!(target(90, &known), "--gpu-architecture=sm_90");
    assert_eq!(target(89, &known), "--gpu-architecture=compute_80");
    assert_eq!(target(121, &known), "--gpu-architecture=compute_100");
    // The compiler says itself that it does not know such an old one.
    assert_eq!(target(50, &known), "--gpu-architecture=sm_50");
}

#[test]
fn every_source_compiles_for_the_oldest_and_the_newest_gpu_that_the_compiler_knows() {
    // SAFETY: opening the library runs its initialiser, which touches nothing of ours.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        let test = "every_source_compiles_for_the_oldest_and_the_newest_gpu_that_the_compiler_knows";
        let _ = writeln!(std::io::stderr(), "{test}: SKIPPED: libnvrtc.so.13 cannot be loaded (LD_LIBRARY_PATH)");
        return;
    }
    let known = supported().unwrap();
    let (oldest, newest) = (*known.iter().min().unwrap(), *known.iter().max().unwrap());
    for (file, source) in SOURCES {
        for capability in [oldest, newest] {
            let binary = compile(file, source, &[target(capability, &known)]);
            assert!(binary.is_ok(), "{file} for {capability}: {}", binary.unwrap_err());
        }
        assert!(compile(file, source, &["--gpu-architecture=compute_90".into()]).unwrap().to_src().contains(".entry"));
    }
    let error = compile("wrong.cu", "extern \"C\" __global__ void f() { g(); }", &[target(90, &known)]).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("wrong.cu") && said.contains("identifier \"g\" is undefined"), "{said}");
}
