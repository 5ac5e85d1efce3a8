#!/bin/sh
# The linker of cross/build.sh: $EDGE_RCNN_LINKER, but for one entry of a register that makes 5 MB of the program.
#
# The engine's crates enter what they offer into registers, by functions that run before main; a linker keeps all that those
# reach, used or not. The crate for NNEF, a file format that is not read here, enters one transformation of graphs. It would
# read its settings with the whole format, and so reaches every operator of the engine, Fourier transforms for three
# instruction sets among them. Without the entry the register is shorter by a name that nobody asks for.
set -eu

# aarch64-linux-gnu-gcc (or -gcc-12) has aarch64-linux-gnu-objcopy beside it. For other linkers cross/build.sh names the
# target's.
objcopy=${EDGE_RCNN_OBJCOPY:-objcopy}
case ${EDGE_RCNN_LINKER##*/} in
*gcc | *gcc-[0-9]*)
    beside=${EDGE_RCNN_LINKER%gcc*}objcopy
    ! command -v "$beside" >/dev/null || objcopy=$beside
    ;;
esac
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for argument; do
    shift
    case $argument in
    */libtract_nnef-*.rlib)
        "$objcopy" --remove-section=.init_array --remove-section=.rela.init_array --remove-section=.rel.init_array \
            "$argument" "$copy/libtract_nnef.rlib"
        argument=$copy/libtract_nnef.rlib
        ;;
    esac
    set -- "$@" "$argument"
done
"$EDGE_RCNN_LINKER" "$@"
