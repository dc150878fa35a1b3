"""Check the processor, the GPUs, and the backend and precision that "auto" takes for a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.runtime.auto_choice import AutoChoice, predict_choice
from depth_anything_ros.runtime.backends import BACKENDS, is_installed
from depth_anything_ros.runtime.cpu_features import X86, processor
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.gpu_advice import runs_on_gpu, unused_gpu
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.cpu_cores import usable_cores
from depth_anything_ros.system.extras import advice
from depth_anything_ros.system.memory import available_bytes
from depth_anything_ros.zoo.cache import CachedModel
from depth_anything_ros.zoo.catalog import is_bundled, known_models
from depth_anything_ros.zoo.exports import needs_export

LEAST_MEMORY = 512 << 20
"""Bytes of free memory below which a node may not start. With the bundled model it takes a quarter of a gigabyte."""


def machine(section: Section, options: Options) -> None:
    """Report the processor and the memory."""
    cpu, cores = processor(), usable_cores()
    section.facts["processor"] = {"name": cpu.name, "architecture": cpu.architecture, "features": list(cpu.features())}
    section.facts["cores"] = cores
    features = ", ".join(cpu.features()) or "none that a backend uses"
    section.add_line(f"{cpu.name}, {cpu.architecture}; usable cores: {cores}; features: {features}")
    if cpu.int8_saturates:
        section.add_line("no VNNI: int8 has 7-bit weights and is slower than with VNNI")
    try:
        free = available_bytes()
    except (OSError, KeyError, ValueError):  # not Linux, or no /proc
        return
    section.facts["memory_available_bytes"] = free
    section.add_line(f"memory: {free >> 20} MiB available")
    if free < LEAST_MEMORY:
        section.note(
            f"only {free >> 20} MiB of memory are available: end other programs; `ps aux --sort=-rss | head` lists"
        )


def gpus(section: Section, options: Options) -> None:
    """Report the GPUs of the CUDA driver."""
    devices = cuda_driver.devices()
    section.facts["gpus"] = [asdict(device) for device in devices]
    section.facts["cuda_driver"] = list(cuda_driver.driver_version()) if devices else None
    for device in devices:
        kind = "integrated" if device.integrated else "discrete"
        section.add_line(f"GPU {device.index}: {device.name}, compute capability {device.compute_capability}, {kind}")
    if devices:
        section.add_line(f"the driver supports CUDA {'.'.join(map(str, cuda_driver.driver_version()))}")
    else:
        section.add_line(f"no NVIDIA GPU: {cuda_driver.why_none()}")


def libraries(section: Section, options: Options) -> None:
    """Report the backends whose library is installed."""
    section.facts["installed_backends"] = [name for name in BACKENDS if is_installed(name)]
    section.add_line(f"backends whose library is installed: {', '.join(section.facts['installed_backends']) or 'none'}")


def automatic(section: Section, options: Options) -> None:
    """Report the choice of "auto"."""
    section.facts.update(model=options.model, auto=None, measured=None, to_measure=None, passed_over=None)
    if problem := _not_here(options.model):
        section.note(problem)
        return
    try:
        answer = predict_choice(options.model)
    except ModelError as error:
        section.problem(f"the model {options.model} cannot be used: {error}")
        return
    section.facts.update(
        auto=None if answer.choice is None else answer.choice._asdict(),
        measured=answer.seconds or None,
        to_measure=list(answer.to_measure) or None,
        passed_over=answer.passed_over,
    )
    _say_choice(section, options.model, answer)
    for names, reason in _grouped(answer.passed_over):
        section.add_line(f"  not {names}: {reason}")
    on_gpu = [f"{name}: {reason}" for name, reason in answer.passed_over.items() if runs_on_gpu(name)]
    if answer.choice is None and not answer.to_measure:
        section.problem(f"no installed backend runs here: pip install onnxruntime ({advice('onnxruntime')})")
    elif idle := unused_gpu(answer.choice.backend if answer.choice else "the measured backend", on_gpu):
        section.note(idle)
    elif processor().architecture in X86 and not is_installed("openvino") and not section.facts["gpus"]:
        section.add_line(f"OpenVINO, which is faster on most x86 processors, is not installed: {advice('openvino')}")


STEPS = (machine, gpus, libraries, automatic)


def _say_choice(section: Section, model: str, answer: AutoChoice) -> None:
    question = f"backend auto, {model} at {answer.size[0]}x{answer.size[1]}"
    times = ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in answer.seconds.items())
    if answer.seconds and answer.choice:
        section.add_line(f"{question}: {answer.choice}, the fastest measured here ({times})")
    elif answer.choice:
        section.add_line(f"{question}: {answer.choice}, the first that can run here, if it passes the gate")
    elif answer.to_measure:
        section.add_line(
            f"{question}: not measured yet; the first start measures {', '.join(answer.to_measure)} for about "
            f"a second and stores the answer (now: depth_anything_ros build {model})"
        )


def _not_here(model: str) -> str:
    """Return why a known model cannot be examined without a download; "" if it can."""
    record = known_models().get(model)
    if record is None or is_bundled(record) or needs_export(record) or not CachedModel(record).missing():
        return ""  # a missing graph is an error without a download
    return f"{model} is not on this machine: depth_anything_ros build {model}"


def _grouped(passed_over: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the names of choices that cannot run for the same reason, and the reason."""
    no_gpu = cuda_driver.why_none()
    by_reason: dict[str, list[str]] = {}
    for name, reason in passed_over.items():
        by_reason.setdefault("no NVIDIA GPU" if no_gpu and no_gpu in reason else reason, []).append(name)
    for reason, names in by_reason.items():
        yield ", ".join(names), reason
