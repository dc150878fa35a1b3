"""Runs a command as on a processor with only AVX2: no AVX-512, VNNI, bfloat16 or AMX. On x86-64 Linux.

    python benchmarks/without_avx512.py COMMAND [ARGUMENT ...]

    python benchmarks/without_avx512.py python -m depth_anything_ros verify tiny --backend openvino
    python benchmarks/without_avx512.py python -m pytest -m processor

PyTorch and oneDNN have variables for this, which are set. ONNX Runtime has none. OpenVINO follows oneDNN's only in
part: it still uses bfloat16 and AVX-512, and fails. Both query XGETBV for the system's support of AVX-512 registers
before they use them. The command gets patched copies of the two, whose XGETBV reports no such support. Its three bytes
become `mov al, 7; nop`, which means "x87, SSE and AVX registers". So the command runs the code of such a processor, at
the AVX2 speed of this one. Times depend on this processor's clock, caches and memory.

8-bit sums then saturate as on the real processor. On an EPYC with AVX2, and in QEMU (`qemu-x86_64 -cpu Haswell`), the
results are equal to the last printed digit.
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
"""Set for the command, so that a nested one does not patch the libraries again."""
VARIABLES = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", MARK: "1"}

XGETBV = bytes.fromhex("0f01d0")
AVX_ALONE = bytes.fromhex("b00790")


def main(command: list[str]) -> int:
    """Run the command, and return its exit status."""
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
    """Copy an installed package into a folder, and patch its libraries there.

    Args:
        library: name of the package.
        folder: takes the copy.

    Returns:
        False if the package is not installed.

    Raises:
        RuntimeError: none of its libraries contains XGETBV, so the patch would have no effect.
    """
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        return False
    target = folder / library
    shutil.copytree(spec.submodule_search_locations[0], target, ignore=shutil.ignore_patterns("__pycache__"))
    changed = 0
    for path in target.rglob("*.so*"):
        content = path.read_bytes()
        if XGETBV in content:
            path.write_bytes(content.replace(XGETBV, AVX_ALONE))
            changed += 1
    if not changed:
        raise RuntimeError(f"{library}: none of its libraries contains XGETBV, so AVX-512 cannot be hidden from it")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
