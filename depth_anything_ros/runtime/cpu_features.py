"""Detect what this machine's processor computes in hardware. Backends, training and tests all ask this module.

Linux lists the features in /proc/cpuinfo: "flags" on x86, "Features" on Arm. Environment variables that disable
instructions in PyTorch and oneDNN (in OpenVINO and PyTorch) count here too. So a test run can simulate an older
processor. ONNX Runtime has no such variable.
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
"""Other names of architectures, with the name used here."""

X86 = ("x86_64", "i686")
NAMES = ("model name", "Model", "Hardware")
"""Lines of /proc/cpuinfo with the name of the processor or, on Arm, the board."""

AVX512_CORE = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
"""What libraries require as AVX-512. The first processors with AVX-512 have only some, and use AVX2."""

ONEDNN_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
ATEN_VARIABLE = "ATEN_CPU_CAPABILITY"

_NO_AVX512 = ("avx512", "amx")
_AVX2 = (*_NO_AVX512, "avx_vnni")
_NONE = (*_AVX2, "avx2")
DISABLED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
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
"""Prefixes of the x86 flags that a value of each variable, in lower case, disables. Other values disable none."""


@dataclass(frozen=True)
class Processor:
    """A processor's kind and native arithmetic.

    Attributes:
        architecture: like `platform.machine` on Linux.
        name: of the processor or board.
        avx2: whether it has AVX2.
        avx512: whether it has the set of server processors since 2017.
        vnni: whether it sums 8-bit products in 32 bits, with AVX-512 or AVX registers.
        bf16: whether it multiplies bfloat16, on x86 (AVX512_BF16 or AMX) and Arm.
        amx: whether it has AMX tiles.
        dot_products: whether an Arm processor has 8-bit dot products (ASIMDDP).
        i8mm: whether an Arm processor has 8-bit matrix products (I8MM).
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
        """Whether x86 instructions sum two products of unsigned and signed bytes in 16 bits, which can overflow.

        255 * 127 * 2 exceeds 32767. VPMADDUBSW, which is used without VNNI, silently saturates there.
        """
        return self.architecture in X86 and not self.vnni

    def features(self) -> tuple[str, ...]:
        """Return the names of its features."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is True)

    def __str__(self) -> str:
        """Return architecture and features, equal for processors on which engines compute the same."""
        return " ".join((self.architecture, *self.features()))


def processor() -> Processor:
    """Return this machine's processor, without the features that the environment disables."""
    return parse(_read(CPUINFO), platform.machine(), os.environ)


@lru_cache(maxsize=1)
def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # not Linux, or a sandbox: assume no feature
        return ""


def parse(cpuinfo: str, machine: str, environment: Mapping[str, str] = MappingProxyType({})) -> Processor:
    """Parse a processor's features.

    Several cores have the features that all of them have. A feature that the text does not list counts as missing.

    Args:
        cpuinfo: text of /proc/cpuinfo.
        machine: from `platform.machine`.
        environment: variables that disable features.
    """
    per_core: list[set[str]] = []
    names: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in ("flags", "Features"):
            per_core.append(set(value.split()))
        elif key in NAMES:
            names.setdefault(key, value)
    flags = set.intersection(*per_core) if per_core else set()
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
    flags = {flag for flag in flags if not flag.startswith(_disabled(environment))}
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


def _disabled(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return prefixes of the flags that the environment disables in oneDNN or PyTorch."""
    onednn = next((environment[name] for name in ONEDNN_VARIABLES if environment.get(name)), "").lower()
    aten = environment.get(ATEN_VARIABLE, "").lower()
    return DISABLED["oneDNN"].get(onednn, ()) + DISABLED["ATen"].get(aten, ())
