"""CPU features from /proc/cpuinfo, without those that environment variables mask."""

from __future__ import annotations

from pathlib import Path

import pytest

from depth_anything_ros.runtime import cpu_features as module
from depth_anything_ros.runtime.cpu_features import Processor, parse, processor

TEXTS = Path(__file__).parent / "cpuinfo"
ARM = ("jetson_orin", "raspberry_pi_4", "graviton_3")

FEATURES = {
    "atom": "",
    "epyc_rome": "avx2",
    "alder_lake": "avx2 vnni",
    "knights_landing": "avx2",
    "skylake_x": "avx2 avx512",
    "cascade_lake": "avx2 avx512 vnni",
    "zen4": "avx2 avx512 vnni bf16",
    "sapphire_rapids": "avx2 avx512 vnni bf16 amx",
    "raspberry_pi_4": "",
    "jetson_orin": "dot_products",
    "graviton_3": "bf16 dot_products i8mm",
}

MASKED = [
    ("ONEDNN_MAX_CPU_ISA", "SSE41", "sapphire_rapids", ""),
    ("ONEDNN_MAX_CPU_ISA", "AVX2", "sapphire_rapids", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "avx2", "alder_lake", "avx2"),
    ("DNNL_MAX_CPU_ISA", "AVX2", "zen4", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI", "sapphire_rapids", "avx2 vnni"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2_VNNI", "zen4", "avx2"),  # its VNNI is for AVX-512 alone
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", "sapphire_rapids", "avx2 avx512"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI", "sapphire_rapids", "avx2 avx512 vnni"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "sapphire_rapids", "avx2 avx512 vnni bf16"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX", "sapphire_rapids", "avx2 avx512 vnni bf16 amx"),
    ("ONEDNN_MAX_CPU_ISA", "DEFAULT", "zen4", "avx2 avx512 vnni bf16"),
    ("ONEDNN_MAX_CPU_ISA", "", "zen4", "avx2 avx512 vnni bf16"),
    ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", "epyc_rome", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx2", "zen4", "avx2"),
    ("ATEN_CPU_CAPABILITY", "default", "zen4", ""),
    ("ATEN_CPU_CAPABILITY", "avx512", "zen4", "avx2 avx512 vnni bf16"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2", "graviton_3", "bf16 dot_products i8mm"),  # names of x86 alone
]


def of(name: str, environment: dict[str, str] | None = None) -> Processor:
    text = (TEXTS / f"{name}.txt").read_text()
    return parse(text, "aarch64" if name in ARM else "x86_64", environment or {})


@pytest.mark.parametrize(("name", "features"), FEATURES.items())
def test_cpu_features_are_parsed(name, features):
    assert " ".join(of(name).features()) == features


def test_every_cpuinfo_sample_is_covered():
    assert {path.stem for path in TEXTS.iterdir()} == set(FEATURES)


@pytest.mark.parametrize(("variable", "value", "name", "features"), MASKED)
def test_masked_cpu_features_are_absent(variable, value, name, features):
    assert " ".join(of(name, {variable: value}).features()) == features


@pytest.mark.parametrize(
    ("name", "saturates"),
    [
        ("epyc_rome", True),
        ("skylake_x", True),
        ("alder_lake", False),
        ("cascade_lake", False),
        ("zen4", False),
        ("raspberry_pi_4", False),
        ("jetson_orin", False),
    ],
)
def test_int8_saturates_on_x86_without_vnni(name, saturates):
    assert of(name).int8_saturates == saturates


def test_mixed_cores_have_common_features():
    text = (TEXTS / "zen4.txt").read_text() + "\n" + (TEXTS / "alder_lake.txt").read_text()
    assert parse(text, "x86_64").features() == ("avx2",)


@pytest.mark.parametrize("text", ["", "processor : 0", "flags", "flags :", "\0\n:::\n"])
def test_missing_cpuinfo_fields_give_no_features(text):
    assert parse(text, "x86_64") == Processor("x86_64")


@pytest.mark.parametrize(
    ("machine", "architecture"), [("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")]
)
def test_architecture_names_are_normalized(machine, architecture):
    assert parse("", machine).architecture == architecture


def test_cpu_name_is_the_common_name():
    assert of("zen4").name == "AMD EPYC 9R14"
    assert of("raspberry_pi_4").name == "Raspberry Pi 4 Model B Rev 1.4"
    assert of("graviton_3").name == "unknown"


def test_processors_with_different_features_have_different_keys():
    keys = {str(of(name)) for name in FEATURES}
    assert len(keys) == len(FEATURES) - 1  # of Xeon Phi's AVX-512 libraries use nothing: it is as an AVX2 processor
    assert str(of("zen4")) == "x86_64 avx2 avx512 vnni bf16"


def test_machine_without_cpuinfo_has_no_features(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "absent")
    assert processor().features() == ()


def test_environment_variables_of_machine_mask_features(monkeypatch):
    monkeypatch.setattr(module, "CPUINFO", TEXTS / "sapphire_rapids.txt")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    assert processor().features() == ("avx2", "avx512")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert processor().bf16
