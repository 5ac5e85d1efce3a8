# Sourced by bash after setting `arch` (aarch64, armv7, x86_64): what each target is called by whom, and the environment in
# which cargo builds for it. Builds are fully static: a program that brings its C library starts under any kernel of the
# last ten years, whatever the distribution's libraries are. `toolchain` names the folder of cross/toolchain.sh.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
toolchain=${EDGE_RCNN_TOOLCHAIN:-$root/target/toolchain}
flags="-C target-feature=+crt-static"
case $arch in
aarch64)
    target=aarch64-unknown-linux-gnu
    debian=arm64
    gnu=aarch64-linux-gnu
    ;;
armv7)
    target=armv7-unknown-linux-gnueabihf
    debian=armhf
    gnu=arm-linux-gnueabihf
    # All boards of that kind that can run this have it; without, there are no vectors at all.
    flags="$flags,+neon"
    ;;
x86_64)
    target=x86_64-unknown-linux-gnu
    debian=amd64
    gnu=x86_64-linux-gnu
    ;;
*)
    echo "$(basename "$0"): what is ${arch:-the target}? aarch64, armv7 or x86_64" >&2
    exit 2
    ;;
esac

# Messages of panics name files: without the folders of this machine, so that another builds the same bytes. cargo splits
# flags at spaces; a folder with one in its name keeps it. Of two that fit rustc takes the last.
crates=${CARGO_HOME:-${HOME:-}/.cargo}
for from in "$(cd "$root" && pwd -P)=/edge-rcnn" "$(readlink -f "$crates" || echo "$crates")=/cargo"; do
    case $from in
    *[[:space:]]*) ;;
    *) flags="$flags --remap-path-prefix=$from" ;;
    esac
done

# What the environment has of its own wins.
upper=$(echo $target | tr a-z- A-Z_)
name=CARGO_TARGET_${upper}_RUSTFLAGS
export "$name=${!name:-$flags}"
if [ "$arch" != "$(uname -m)" ]; then
    # The C compiler for one build script of a dependency is found by the same name.
    eval "export CARGO_TARGET_${upper}_LINKER=\${CARGO_TARGET_${upper}_LINKER:-$gnu-gcc}"
    # This machine's libclang reads the headers of V4L2 for that target, out of its C library's package.
    lower=${target//-/_}
    eval "export BINDGEN_EXTRA_CLANG_ARGS_$lower=\"\${BINDGEN_EXTRA_CLANG_ARGS_$lower:---sysroot=/usr/$gnu -I/usr/$gnu/include}\""
fi

# The compiler that is there, if it knows the target (rustup target add), else Debian's. This machine's own target comes with
# whatever compiler cross/setup.sh installs, perhaps only after this.
if [ "$arch" != "$(uname -m)" ] && [ ! -d "$(rustc --print target-libdir --target $target 2>/dev/null)" ]; then
    RUSTC=$toolchain/rustc RUSTDOC=$toolchain/rustdoc
    export RUSTC RUSTDOC
fi
