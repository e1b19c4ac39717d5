#!/usr/bin/env python3
"""Checks a published run of limpid with h5py and hashlib alone, none of limpid's own code.

    python3 scripts/verify_run.py RUN      (Debian: apt-get install python3-h5py)

Every byte of every checkpoint against its manifest, each tensor's place against what HDF5 finds,
the chain of manifests, that each step between two checkpoints has its record and its samples, and
the checksum of every line of the journal. Prints what is wrong, a line each; exits with 1 then.
"""
import hashlib
import json
import pathlib
import re
import sys

import h5py

PIECE = 2**26
SIZES = {"f32": 4, "bf16": 2, "f64": 8}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pieces(data):
    return [sha256(data[i:i + PIECE]) for i in range(0, len(data), PIECE)]


def tree_root(hashes):
    """Neighbours are joined, an odd last one moves up as it is."""
    if not hashes:
        return sha256(b"")
    while len(hashes) > 1:
        pairs = [sha256((a + b).encode()) for a, b in zip(hashes[::2], hashes[1::2])]
        hashes = pairs + hashes[len(hashes) // 2 * 2:]
    return hashes[0]


def check_file(path, file):
    """Every byte of one file: its tensors, then the rest of it."""
    data = path.read_bytes()
    if len(data) != file["bytes"]:
        return [f"{path}: has {len(data)} bytes, the manifest says {file['bytes']}"]
    wrong, rest, at = [], b"", 0
    for tensor in file["tensors"]:
        size = SIZES[tensor["dtype"]]
        for n in tensor["shape"]:
            size *= n
        begin = tensor["offset"]
        if begin < at or begin + size > len(data):
            return wrong + [f"{path}: tensor {tensor['name']} lies outside or over another"]
        if pieces(data[begin:begin + size]) != tensor["pieces"]:
            wrong.append(f"{path}: tensor {tensor['name']} has other bytes")
        if tree_root(tensor["pieces"]) != tensor["root"]:
            wrong.append(f"{path}: tensor {tensor['name']} has another root")
        rest, at = rest + data[at:begin], begin + size
    rest += data[at:]
    if pieces(rest) != file["rest"]:
        wrong.append(f"{path}: bytes outside of its tensors have changed")
    if tree_root([tree_root(file["rest"])] + [t["root"] for t in file["tensors"]]) != file["root"]:
        wrong.append(f"{path}: has another root")
    return wrong


def check_places(path, file):
    """HDF5 finds each tensor where the manifest says, and no other."""
    wrong, found = [], {}
    with h5py.File(path, "r") as hdf5:
        hdf5.visititems(lambda name, item: found.update({name: item.id.get_offset()})
                        if isinstance(item, h5py.Dataset) else None)
    for tensor in file["tensors"]:
        if found.pop(tensor["name"], None) != tensor["offset"]:
            wrong.append(f"{path}: HDF5 finds {tensor['name']} elsewhere than the manifest")
    return wrong + [f"{path}: {name} is not in the manifest" for name in found]


def check_account(path, first, last):
    """The steps after `first` up to `last` have their records and samples."""
    with h5py.File(path, "r") as account:
        recorded = set(account["metrics/step"][:].tolist()) if "metrics" in account else set()
        sampled = set(account["order/step"][:].tolist()) if "order" in account else set()
    steps = set(range(first + 1, last + 1))
    return ([f"{path}: the record of step {s} is missing" for s in sorted(steps - recorded)] +
            [f"{path}: the samples of step {s} are missing" for s in sorted(steps - sampled)])


def check_checkpoint(folder):
    """What is wrong with one checkpoint, and its manifest."""
    text = (folder / "MANIFEST.json").read_bytes()
    try:
        manifest = json.loads(text)
        if sha256(text[:text.rindex(b' "sha256"')]) != manifest["sha256"]:
            return [f"{folder}: MANIFEST.json has changed"], None
    except (ValueError, KeyError, TypeError) as error:
        return [f"{folder}: MANIFEST.json cannot be read: {error}"], None
    wrong = []
    strangers = {p.name for p in folder.iterdir()} - {"MANIFEST.json"}
    for file in manifest["files"]:
        strangers.discard(file["name"])
        wrong += check_file(folder / file["name"], file)
    wrong += [f"{folder / name}: is not in the manifest" for name in sorted(strangers)]
    if wrong:  # no file reaches HDF5 whose hashes do not hold
        return wrong, manifest
    for file in manifest["files"]:
        if file["tensors"]:
            wrong += check_places(folder / file["name"], file)
    first = manifest["parent"]["step"] if manifest["parent"] else 0
    return wrong + check_account(folder / "account.h5", first, manifest["step"]), manifest


def check_chain(manifests):
    """Each manifest names the hash of the one that it came about from."""
    wrong = []
    for step, manifest in sorted(manifests.items()):
        parent = manifest["parent"]
        if parent and parent["step"] not in manifests:
            wrong.append(f"step {step}: came about from step {parent['step']}, which is missing")
        elif parent and manifests[parent["step"]]["sha256"] != parent["manifest"]:
            wrong.append(f"step {step}: came about from another step {parent['step']} than this")
        if manifest["run"] != manifests[min(manifests)]["run"]:
            wrong.append(f"step {step}: is of another run")
    return wrong


CRC_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    CRC_TABLE.append(_byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def check_journal(path):
    wrong = []
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate(lines[:-1], 1):  # a line that a crash cut off has no end
        at = line.rfind(b',"crc":"')
        if at < 0 or line[at + 8:-2] != b"%08x" % crc32c(line[:at]):
            wrong.append(f"{path}: line {number} has changed")
    return wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    run = pathlib.Path(sys.argv[1])
    folders = sorted(p for p in run.glob("checkpoints/*") if re.fullmatch(r"step-\d{8}", p.name))
    if not folders:
        sys.exit(f"{run}: has no checkpoints")
    wrong, manifests = [], {}
    for folder in folders:
        try:
            problems, manifest = check_checkpoint(folder)
        except (OSError, KeyError, TypeError) as error:
            problems, manifest = [f"{folder}: {error!r}"], None
        if manifest:
            manifests[manifest["step"]] = manifest
        print(f"{folder.name}  {'DAMAGED' if problems else 'verified'}")
        wrong += problems
    wrong += check_chain(manifests) + check_journal(run / "journal.jsonl")
    print("\n".join(wrong) or f"{run}: {len(folders)} checkpoints, their chain and the journal hold")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
