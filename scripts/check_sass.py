#!/usr/bin/env python3
"""Lists what the compiled CUDA kernels use, and fails where one is not what its source means it to be: values that are
kept in local memory, or no tensor core, ldmatrix, cp.async or 16-byte load where the source asks for it.
  scripts/check_sass.py OBJECT...     objects of .cu files, with machine code that is not compressed
Reads the machine code itself: toolkits are often installed without cuobjdump."""
import collections
import os
import re
import struct
import subprocess
import sys

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CUDA_MACHINE = 190  # e_machine of an ELF file for a GPU

# Bits 0 to 11 of the 16 bytes of an instruction, from Volta on.
OPCODES = {0x23C: "HMMA", 0x83B: "LDSM", 0xFAE: "LDGSTS", 0x981: "LDG", 0x381: "LDG", 0x983: "LDL", 0x387: "STL",
           0x986: "STG", 0x386: "STG"}
# Where a source calls this, one of its kernels at least must have that on every architecture.
CALLS = {"mma": "HMMA", "load_matrices": "LDSM", "load_matrices_transposed": "LDSM", "copy_async": "LDGSTS"}
# Kernels that must have an instruction, by name.
NAMES = [(re.compile(pattern), instruction) for pattern, instruction in (
    (r"RowShape<[^,]+, [48],", "LDG.128"), (r"column_sums_kernel<[^,]+, [48]>", "LDG.128"),
    (r"tile_sums_kernel", "LDG.128"), (r"update_kernel", "LDG.128"),
    (r"TensorCores<", "HMMA"), (r"TensorCores<", "LDSM"), (r"TensorCores<", "LDGSTS"))]

# Kernels that may keep a few values in local memory, and how many bytes: attention's backward with dropout.
SPILLS = [(re.compile(r"flash_(keys|queries)_kernel<.*TensorCores<[^>]*>, true"), 64)]

Kernel = collections.namedtuple("Kernel", "arch name registers stack shared counts")


def instructions(code):
    counts = collections.Counter()
    for at in range(0, len(code) - 15, 16):
        low, high = struct.unpack_from("<QQ", code, at)
        name = OPCODES.get(low & 0xFFF)
        if name:
            counts[name] += 1
            if name in ("LDG", "STG") and (high >> 9) & 7 == 6:
                counts[name + ".128"] += 1
    return counts


def kernels_of(elf):
    """The kernels of one file for a GPU."""
    sections_at, = struct.unpack_from("<Q", elf, 0x28)
    flags, = struct.unpack_from("<I", elf, 0x30)
    size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, sections_at + i * size) for i in range(count)]

    def text(section, offset):
        begin = section[4] + offset
        return elf[begin:elf.index(b"\0", begin)].decode()

    sections = {text(headers[names_index], h[0]): h for h in headers}
    symbols, strings = sections[".symtab"], sections[".strtab"]
    registers, stacks = {}, {}
    info = sections[".nv.info"]
    at, end = info[4], info[4] + info[5]
    while at < end:  # (format, attribute, size) and a value, for format 4 of that size
        form, attribute, length = struct.unpack_from("<BBH", elf, at)
        if form == 4 and attribute in (0x2F, 0x11):  # registers, stack frame: (symbol, number)
            symbol, number = struct.unpack_from("<II", elf, at + 4)
            name = text(strings, struct.unpack_from("<I", elf, symbols[4] + symbol * 24)[0])
            (registers if attribute == 0x2F else stacks)[name] = number
        at += 4 + (length if form == 4 else 0)
    for name, header in sections.items():
        if name.startswith(".text."):
            name = name[len(".text."):]
            code = elf[header[4]:header[4] + header[5]]
            arch = (flags >> 8) & 0xFF
            shared = sections.get(".nv.shared." + name)
            own = (shared[5] if shared else 0) - (1024 if arch >= 90 else 0)  # the system's own
            yield Kernel(arch, name, registers.get(name, 0), stacks.get(name, 0), max(0, own), instructions(code))


def kernels_in(path):
    with open(path, "rb") as file:
        data = file.read()
    found = []
    at = data.find(b"\x7fELF", 1)
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] == CUDA_MACHINE:
            found += kernels_of(data[at:])
        at = data.find(b"\x7fELF", at + 4)
    return found


def short_names(kernels):
    names = "\n".join(kernel.name for kernel in kernels)
    out = subprocess.run(["c++filt"], input=names, capture_output=True, text=True, check=True).stdout.split("\n")
    for i, name in enumerate(out):
        name = re.sub(r"\(anonymous namespace\)::|limpid::cuda::|limpid::|^void ", "", name)
        out[i] = re.sub(r"\((bool|int)\)", "", name).rsplit("(", 1)[0].replace("(", "").replace(")", "")
    return [kernel._replace(name=name) for kernel, name in zip(kernels, out)]


def source_text(path, seen):
    """A source with the headers of kernels/cuda/ that it includes, but for those that define the calls."""
    if path in seen or path.endswith("/ptx.h") or not os.path.exists(os.path.join(HOME, path)):
        return ""
    seen.add(path)
    with open(os.path.join(HOME, path)) as file:
        text = file.read()
    return text + "".join(source_text(p, seen) for p in re.findall(r'#include "(kernels/cuda/[^"]+)"', text))


def check(path):
    """Prints the kernels of an object and returns what is wrong with them."""
    source = re.search(r"/((?:core|kernels)/[a-z_/]+\.cu)\.o$", path).group(1)
    kernels = short_names(kernels_in(path))
    text = source_text(source, set())
    wrong = []
    if "__global__" in text and not kernels:
        wrong.append(f"{source}: no machine code found in {path}")
    for k in kernels:
        used = " ".join(f"{name} {k.counts[name]}" for name in ("HMMA", "LDSM", "LDGSTS", "LDG.128") if k.counts[name])
        print(f"sm_{k.arch}  {k.registers:3} registers  {k.shared:6} B shared  {k.stack:4} B stack  {k.name}  {used}")
        allowed = max((most for pattern, most in SPILLS if pattern.search(k.name)), default=0)
        if k.stack > allowed or (not k.stack and k.counts["LDL"] + k.counts["STL"]):
            wrong.append(f"{source}: sm_{k.arch} {k.name}: {k.stack} bytes of stack, {k.counts['LDL']} loads and "
                         f"{k.counts['STL']} stores of local memory")
        for pattern, instruction in NAMES:
            if pattern.search(k.name) and not k.counts[instruction]:
                wrong.append(f"{source}: sm_{k.arch} {k.name}: no {instruction}")
    for call, instruction in CALLS.items():
        for arch in sorted({k.arch for k in kernels}):
            if re.search(rf"\b{call}\(", text) and not any(k.counts[instruction] for k in kernels if k.arch == arch):
                wrong.append(f"{source}: sm_{arch}: calls {call}(), but no kernel has {instruction}")
    return wrong


def main():
    objects = [path for path in sys.argv[1:] if path.endswith(".cu.o")]
    wrong = [line for path in objects for line in check(path)]
    for line in wrong:
        print(f"check_sass: {line}", file=sys.stderr)
    print(f"check_sass: {len(objects)} files, {len(wrong)} faults")
    return 1 if wrong or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
