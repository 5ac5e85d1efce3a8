"""The innermost loops of the compiled kernels, and how many cycles llvm-mca says an iteration takes on which core.

    loops.py OBJDUMP LLVM_MCA PROGRAM CPU...        JSON on standard output

PROGRAM is the compiled crate of the kernels (a library, or its tests). A loop is what lies between a backward jump and its
target with no other backward jump inside. How many multiply-adds it has says which tile it is: so many rows × the width of
a panel × the numbers taken at a time along k. Each number of rows has code of its own, and often several copies in several
functions, whose median counts.
"""

import json
import re
import subprocess
import sys

# By architecture and kind of numbers: the instructions with their multiply-adds; what a core can do at most (one form again
# and again, independent of itself, so many copies, so many multiply-adds each); a panel's width, and the numbers along k of
# an iteration; and what such a loop must have. Loops for the last numbers of a row, or for weights of -128, lack it.
LOOPS = {
    "aarch64": {
        "f32": ({r"^fmla\s+v\d+\.4s": 4}, ("fmla v{0}.4s, v30.4s, v31.s[1]", 24, 4), (8, 4), r"\[3\]$"),
        "int8 dot": ({r"^sdot\s+v\d+\.4s": 16}, ("sdot v{0}.4s, v30.16b, v31.4b[1]", 24, 16), (8, 16), r"\[3\]$"),
        # Winograd's method in integers.
        "int8 words": ({r"^smlal\s+v\d+\.4s, v\d+\.4h": 4}, ("smlal v{0}.4s, v30.4h, v15.h[1]", 15, 4), (8, 4), r"\[3\]$"),
        # Two multiplications, of eight bytes each, for each addition of pairs.
        "int8": (
            {r"^sm(ul|la)l2?\s+v\d+\.8h": 8},
            ("smull v{0}.8h, v30.8b, v31.8b\nsmlal2 v{0}.8h, v30.16b, v31.16b\nsadalp v{1}.4s, v{0}.8h", 8, 16),
            (8, 16),
            r"^smlal2\s",
        ),
    },
    "x86_64": {
        "f32": ({r"^vfmadd\w+ps\s.*%zmm": 16}, ("vfmadd231ps %zmm30, %zmm31, %zmm{0}", 24, 16), (32, 1), ""),
        "int8 dot": ({r"^vpdpbusd\s.*%zmm": 64}, ("vpdpbusd %zmm30, %zmm31, %zmm{0}", 24, 64), (32, 4), ""),
        "int8 words": ({r"^vpdpwssd\s.*%zmm": 32}, ("vpdpwssd %zmm30, %zmm31, %zmm{0}", 24, 32), (32, 2), ""),
    },
}
# Additions of vectors: what transforms, requantising and pooling are made of.
PLAIN = {"aarch64": ("fadd v{0}.4s, v{0}.4s, v31.4s", 4), "x86_64": ("vaddps %zmm{0}, %zmm31, %zmm{0}", 16)}
# Copies of a loop that are looked at, and iterations.
COPIES, ITERATIONS = 5, 200
# Rows of the largest tile of any instruction set.
MOST_ROWS = 14
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(.*?)\s*$")
JUMP = re.compile(r"^(b\.?\w*|cbn?z|tbn?z|j\w+)\s.*?([0-9a-f]+) <")


def loops(lines):
    """Bodies of innermost loops, as lists of instructions; the jump at the end has been made one to `loop`."""
    function = []
    for line in lines:
        found = INSTRUCTION.match(line)
        if found:
            function.append((int(found[1], 16), re.split(r"\s//|\s#\s", found[2])[0].strip()))
            continue
        places = {address: i for i, (address, _) in enumerate(function)}
        back = []
        for i, (address, instruction) in enumerate(function):
            jump = JUMP.match(instruction)
            if jump and int(jump[2], 16) in places and int(jump[2], 16) <= address:
                back.append((places[int(jump[2], 16)], i, jump))
        for start, end, jump in back:
            if not any(start <= other < end for _, other, _ in back):
                # Jumps out of the loop are not taken.
                body = [text for _, text in function[start:end] if not JUMP.match(text)]
                last = function[end][1]
                yield [*body, last[: last.index(jump[2], len(jump[1]))] + "loop"]
        function = []


def macs(body, instructions):
    return sum(next((n for pattern, n in instructions.items() if re.search(pattern, line)), 0) for line in body)


class Mca:
    """llvm-mca for one core."""

    def __init__(self, program, arch, cpu):
        # The features are those of the loops, whatever the core has: its cycles matter, not its manners.
        features = ["-mattr=+dotprod"] if arch == "aarch64" else []
        self.command = [program, f"-mtriple={arch}-linux-gnu", f"-mcpu={cpu}", *features, f"-iterations={ITERATIONS}"]

    def cycles(self, body):
        """Cycles of an iteration, in the steady state."""
        asm = "loop:\n" + "\n".join(body) + "\n"
        result = subprocess.run(self.command, input=asm, capture_output=True, text=True, check=False)
        total = re.search(r"Total Cycles:\s+(\d+)", result.stdout)
        if not total:
            sys.exit(f"llvm-mca: {result.stderr[:500]}\n{asm}")
        return int(total[1]) / ITERATIONS

    def most(self, form, copies, each):
        """What a cycle yields at most, of `each` for every copy."""
        # Line by line: the first of all copies, then the second, so that none waits for the one before.
        lines = zip(*(form.format(i, i + copies).split("\n") for i in range(copies)), strict=True)
        return round(copies * each / self.cycles([line for of_all in lines for line in of_all]), 2)


def main():
    objdump, program, library, *cpus = sys.argv[1:]
    command = [objdump, "-d", "--no-show-raw-insn", library]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    arch = "aarch64" if any("aarch64" in line for line in lines[:4]) else "x86_64"
    found = {}
    for body in loops([*lines, "end:"]):
        for kind, (instructions, _, (width, depth), mark) in LOOPS[arch].items():
            rows, rest = divmod(macs(body, instructions), width * depth)
            if 0 < rows <= MOST_ROWS and not rest and any(re.search(mark, line) for line in body):
                copies = found.setdefault(kind, {}).setdefault(rows, [])
                if body not in copies:
                    copies.append(body)
    out = {}
    for cpu in cpus:
        mca = Mca(program, arch, cpu)
        form, lanes = PLAIN[arch]
        out[cpu] = {"plain": mca.most(form, 24, lanes)}
        for kind, tiles in found.items():
            instructions, peak, (width, depth), _ = LOOPS[arch][kind]
            middle = {}
            for rows, copies in sorted(tiles.items()):
                timed = sorted((mca.cycles(body), body) for body in copies[:COPIES])
                middle[rows] = timed[(len(timed) - 1) // 2]
            body = middle[max(middle)][1]
            out[cpu][kind] = {
                "width": width,
                "depth": depth,
                # Cycles by rows.
                "tiles": {rows: round(cycles, 2) for rows, (cycles, _) in middle.items()},
                "macs": macs(body, instructions),
                "instructions": len(body),
                "spills": sum("[sp" in line or "(%rsp" in line for line in body),
                "peak": mca.most(*peak),
            }
    json.dump(out, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
