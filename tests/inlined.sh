#!/bin/sh
# Fails if an instruction of a kernel became a function that is called:
#
#     tests/inlined.sh PROGRAM        # not stripped; OBJDUMP is that of its processor [objdump]
#
# Kernels are compiled for an instruction set by being inlined into a function that has it. What is not inlined (a closure, as
# compilers please) has only what every processor has, must call each instruction, and takes a hundred times as long with
# the same result, so no other test finds it.
set -eu

[ $# -eq 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
listing=$(mktemp)
trap 'rm -f "$listing"' EXIT
"${OBJDUMP:-objdump}" -d -C --no-show-raw-insn "$1" >"$listing"
[ "$(grep -c 'edge_rcnn::.*>:$' "$listing")" -gt 100 ] || { echo "inlined: $1 has no names of functions" >&2; exit 2; }
# Those of other crates are their own business.
awk '/^[0-9a-f]+ <.*>:$/ { caller = substr($0, 18) }
     /(call|jmp|bl?)[ \t].*core_arch::(x86::avx|aarch64::neon|arm_shared::neon)/ && caller !~ /^<*(tract_|gemm|rustfft)/ {
         sub(/.*core_arch::/, ""); print caller " calls " $0; found = 1
     }
     END { exit found }' "$listing" || { echo "inlined: instructions of $1 are called" >&2; exit 1; }
echo "inlined: no instruction of $1 is called"
