#!/bin/sh
# Installs what building needs on Debian or Ubuntu: a C compiler (for one build script of a dependency), libclang (which
# reads the kernel's headers for cameras; a build with --no-default-features does without) and Rust 1.91 or newer. Does
# nothing where they are there already. Needs to be root only if something is missing.
#
# With `--cross aarch64` or `--cross armv7` also the C compiler and the C library of that processor.
set -eu

need=1.91
have=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
new_enough() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$need" "$1" | sort -V | head -n 1)" = "$need" ]; }

# Where the bindings' generator looks, and the compiler's own headers beside it.
clang() {
    for dir in "${LIBCLANG_PATH:-/nowhere}" /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib; do
        # libclang-cpp is another library.
        for lib in "$dir"/libclang.so* "$dir"/libclang-[0-9]*.so*; do
            [ -e "$lib" ] && return 0
        done
    done
    return 1
}

missing=
command -v cc >/dev/null || missing="gcc libc6-dev ca-certificates"
case "${1:-} ${2:-}" in
"--cross aarch64") command -v aarch64-linux-gnu-gcc >/dev/null || missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
"--cross armv7") command -v arm-linux-gnueabihf-gcc >/dev/null || missing="$missing gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
"--cross x86_64" | " ") ;;
*)
    echo "setup: what is $*? Nothing, or --cross aarch64, armv7 or x86_64" >&2
    exit 2
    ;;
esac
if new_enough "$have" && [ -z "$missing" ] && clang; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: install Rust $need or newer, libclang and a C compiler${2:+ for $2}, then run this again" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
fi
$sudo apt-get update -q
# shellcheck disable=SC2086 # a list
[ -z "$missing" ] || $sudo apt-get install -y -q $missing
if ! clang; then
    # The library and its headers, 7 MB; libclang-dev would bring another 23 MB that only C++ programs use.
    version=$(apt-cache depends libclang-dev | sed -n 's/.*Depends: libclang-\([0-9]*\)-dev$/\1/p' | head -n 1)
    $sudo apt-get install -y -q --no-install-recommends "libclang1-$version" "libclang-common-$version-dev"
fi
if ! new_enough "$have"; then
    # Debian 13 and Ubuntu 24.04 have rustup; Debian 12 has a current compiler under the name it builds browsers with.
    if $sudo apt-get install -y -q rustup; then
        rustup default stable
    else
        $sudo apt-get install -y -q rustc-web cargo-web
    fi
fi
