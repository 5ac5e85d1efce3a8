#!/bin/sh
# Installs what building needs on Debian or Ubuntu: a C compiler (for one build script of a dependency) and Rust 1.91
# or newer. Does nothing where they are there already. Needs to be root only if something is missing.
set -eu

need=1.91
have=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
new_enough() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$need" "$1" | sort -V | head -n 1)" = "$need" ]; }

if new_enough "$have" && command -v cc >/dev/null; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: install Rust $need or newer and a C compiler, then run this again" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    sudo=sudo
fi
$sudo apt-get update -q
$sudo apt-get install -y -q gcc libc6-dev ca-certificates
if ! new_enough "$have"; then
    # Debian 13 and Ubuntu 24.04 have rustup; Debian 12 has a current compiler under the name it builds browsers with.
    if $sudo apt-get install -y -q rustup; then
        rustup default stable
    else
        $sudo apt-get install -y -q rustc-web cargo-web
    fi
fi
