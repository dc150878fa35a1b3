"""Runs a command as on a processor with AVX2 alone: no AVX-512, VNNI, bfloat16 or AMX. On x86-64 Linux.

    python benchmarks/without_avx512.py COMMAND [ARGUMENT ...]

    python benchmarks/without_avx512.py python -m depth_anything_ros verify tiny --backend openvino
    python benchmarks/without_avx512.py python -m pytest -m processor

PyTorch and oneDNN have variables for that, which are set. ONNX Runtime has none, and OpenVINO heeds oneDNN's in part:
it goes on calling bfloat16 and AVX-512 its own, and fails. Both ask XGETBV whether the system keeps AVX-512's
registers before they use them. The command gets copies of the two in which that instruction answers no: its three
bytes are those of `mov al, 7; nop`, that is "x87, SSE and AVX registers". So what runs is what runs on such a
processor, at the speed of this one's AVX2. Times are of this processor, with its clock, caches and memory.

8-bit sums saturate then as they do there: on an EPYC with AVX2 and in QEMU (`qemu-x86_64 -cpu Haswell`) results are the
same to the last digit printed.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("onnxruntime", "openvino")
MARK = "WITHOUT_AVX512"
"""Set for the command, so that one within it does not look for what is changed already."""
VARIABLES = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", MARK: "1"}

XGETBV = bytes.fromhex("0f01d0")
AVX_ALONE = bytes.fromhex("b00790")


def main(command: list[str]) -> int:
    """Runs the command; returns its status."""
    if not command or command[0].startswith("-"):
        print(__doc__)
        return 2
    if sys.platform != "linux" or platform.machine() != "x86_64":
        print("without_avx512: this needs x86-64 Linux", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="without_avx512_") as folder:
        for library in () if MARK in os.environ else LIBRARIES:
            copy_without_avx512(library, Path(folder))
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        return subprocess.run(command, env={**os.environ, **VARIABLES, "PYTHONPATH": path}).returncode


def copy_without_avx512(library: str, folder: Path) -> bool:
    """Copies an installed package into a folder, and changes its libraries there; False where it is not installed.

    Raises:
        RuntimeError: no library of it asks for the registers: it finds out in another way, and would not be masked.
    """
    found = find_spec(library)
    if found is None or not found.submodule_search_locations:
        return False
    target = folder / library
    shutil.copytree(found.submodule_search_locations[0], target, ignore=shutil.ignore_patterns("__pycache__"))
    changed = 0
    for path in target.rglob("*.so*"):
        content = path.read_bytes()
        if XGETBV in content:
            path.write_bytes(content.replace(XGETBV, AVX_ALONE))
            changed += 1
    if not changed:
        raise RuntimeError(f"{library}: no library in it asks XGETBV for the registers: it cannot be masked so")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
