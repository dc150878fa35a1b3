"""What this machine's processor computes in hardware: the one place where backends, training and tests ask.

Linux says it in /proc/cpuinfo: "flags" on x86, "Features" on Arm. The variables by which PyTorch and oneDNN (in
OpenVINO and PyTorch) are kept from instructions count here too, so that a test run can walk the ways of a lesser
processor. ONNX Runtime heeds no variable.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

CPUINFO = Path("/proc/cpuinfo")
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other names of architectures, by the one that is used here."""

X86 = ("x86_64", "i686")
NAMES = ("model name", "Model", "Hardware")
"""Lines of /proc/cpuinfo that name the processor or, on Arm, the board."""

AVX512_CORE = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
"""What libraries mean by AVX-512; the first processors that had some of it lack the rest, and run as AVX2."""

ONEDNN_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
ATEN_VARIABLE = "ATEN_CPU_CAPABILITY"

_NO_AVX512 = ("avx512", "amx")
_AVX2 = (*_NO_AVX512, "avx_vnni")
_NONE = (*_AVX2, "avx2")
LACKING: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "oneDNN": {
        "sse41": _NONE,
        "avx": _NONE,
        "avx2": _AVX2,
        "avx2_vnni": _NO_AVX512,
        "avx2_vnni_2": _NO_AVX512,
        "avx512_core": ("avx512_vnni", "avx512_bf16", "amx", "avx_vnni"),
        "avx512_core_vnni": ("avx512_bf16", "amx"),
        "avx512_core_bf16": ("amx",),
        "avx512_core_fp16": ("amx",),
    },
    "ATen": {"default": _NONE, "avx2": _AVX2},
}
"""How the x86 flags begin that a value of each variable, in lower case, takes away; other values take none."""


@dataclass(frozen=True)
class Processor:
    """A processor's kind, and what it computes natively.

    ``architecture`` as `platform.machine` has it on Linux. ``avx512``: the set that server processors have had since
    2017. ``vnni``: 8-bit products summed in 32 bits, with AVX-512 or AVX registers. ``bf16``: products of bfloat16, on
    x86 (AVX512_BF16 or AMX) and Arm. ``dot_products`` and ``i8mm``: Arm's 8-bit products (ASIMDDP, I8MM).
    """

    architecture: str
    name: str = "unknown"
    avx2: bool = False
    avx512: bool = False
    vnni: bool = False
    bf16: bool = False
    amx: bool = False
    dot_products: bool = False
    i8mm: bool = False

    @property
    def int8_saturates(self) -> bool:
        """Whether x86 instructions sum two products of unsigned and signed bytes in 16 bits, which overflow.

        255 * 127 * 2 is beyond 32767: VPMADDUBSW, which everything before VNNI uses, stops there without a word.
        """
        return self.architecture in X86 and not self.vnni

    def features(self) -> tuple[str, ...]:
        """The names of the features that it has."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is True)

    def __str__(self) -> str:
        """Architecture and features; equal for processors on which engines give the same."""
        return " ".join((self.architecture, *self.features()))


def processor() -> Processor:
    """This machine's, less what the environment keeps libraries from."""
    return parse(_read(CPUINFO), platform.machine(), os.environ)


@lru_cache(maxsize=1)
def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # not Linux, or a sandbox: nothing is known, and nothing is assumed
        return ""


def parse(cpuinfo: str, machine: str, environment: Mapping[str, str] = MappingProxyType({})) -> Processor:
    """A processor from the text of /proc/cpuinfo, `platform.machine` and the variables that take features away.

    Of several cores it has what all have. What the text does not say counts as absent.
    """
    found: list[set[str]] = []
    names: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("flags", "Features"):
            found.append(set(value.split()))
        elif key in NAMES:
            names.setdefault(key, value)
    flags = set.intersection(*found) if found else set()
    architecture = ARCHITECTURES.get(machine.lower(), machine.lower())
    name = next((names[key] for key in NAMES if names.get(key)), "unknown")
    if architecture not in X86:
        return Processor(
            architecture,
            name,
            bf16=bool(flags & {"bf16", "svebf16"}),
            dot_products="asimddp" in flags,
            i8mm=bool(flags & {"i8mm", "svei8mm"}),
        )
    flags = {flag for flag in flags if not flag.startswith(_lacking(environment))}
    avx512 = flags >= AVX512_CORE
    return Processor(
        architecture,
        name,
        avx2="avx2" in flags,
        avx512=avx512,
        vnni=(avx512 and "avx512_vnni" in flags) or "avx_vnni" in flags,
        bf16=avx512 and bool(flags & {"avx512_bf16", "amx_bf16"}),
        amx=avx512 and "amx_tile" in flags,
    )


def _lacking(environment: Mapping[str, str]) -> tuple[str, ...]:
    """How the flags begin that oneDNN or PyTorch is kept from."""
    onednn = next((environment[name] for name in ONEDNN_VARIABLES if environment.get(name)), "").lower()
    aten = environment.get(ATEN_VARIABLE, "").lower()
    return LACKING["oneDNN"].get(onednn, ()) + LACKING["ATen"].get(aten, ())
