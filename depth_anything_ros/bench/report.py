"""The results of a comparison: plain values for JSON, and tables for a terminal or a Markdown page."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.bench.candidates import runs_on_processor
from depth_anything_ros.bench.comparison import Candidate, Comparison
from depth_anything_ros.bench.timing import Timing
from depth_anything_ros.runtime.backends import REFERENCE
from depth_anything_ros.runtime.cuda.gpu_advice import runs_on_gpu
from depth_anything_ros.system.cpu_cores import usable_cores

PARTS = ("pre", "model", "post", "whole")
"""Parts of a frame: image to batch, the network, map to the image's size, and all three."""
LIBRARIES = ("depth_anything_ros", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "transformers")
NONE = "-"
MIN_SPEEDUP = 1.1
"""Half precision on a GPU with a smaller speedup over fp32 is perhaps not in effect."""

Values = dict[str, Any]
Column = tuple[str, Callable[[Values], str]]


def summarize(comparison: Comparison) -> Values:
    """Return all results in milliseconds, MiB and GFLOP/s: candidates by median time, unmeasured ones last."""
    settings, model = comparison.settings, comparison.model
    peak = max((speed for measured in comparison.gemm for speed in measured.values()), default=None)
    reference = _reference(comparison.candidates)
    flops = model.get("flops")
    rows = [
        _candidate(candidate, reference, flops, peak)
        for candidate in comparison.candidates
        if candidate.status != "unavailable"
    ]
    rows.sort(key=lambda row: row["latency_ms"]["whole"]["p50"] if row["latency_ms"] else float("inf"))
    unavailable = {str(other.choice): other.reason for other in comparison.candidates if other.status == "unavailable"}
    return {
        "model": model.get("name"),
        "origin": None if settings.encoder else model.get("origin"),
        "random_weights": settings.encoder is not None,
        "image": list(settings.image),
        "network": model.get("size"),
        "threads": settings.threads,
        "rate": settings.rate,
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "flops": flops,
        "gemm_gflops": {"best": peak, "measured": comparison.gemm},
        "reference": str(reference.choice) if reference else None,
        "machine": _machine(),
        "versions": _versions(),
        "contenders": rows,
        "not_here": {**comparison.absent, **unavailable},
    }


def tables(summary: Values, markdown: bool = False) -> str:
    """Return the summary as text: a table of speed, one of other results, and what was not measured and why.

    Args:
        summary: from `summarize`.
        markdown: Markdown tables instead of aligned columns.
    """
    rows = summary["contenders"]
    measured = [row for row in rows if row["latency_ms"]]
    parts = [_title(summary)]
    if measured:
        parts.append(_table(_SPEED, measured, markdown))
        parts.append(_table(_other_columns(summary["rate"]), measured, markdown))
    if missing_speedup := missing_speedup_of(measured):
        parts.append(missing_speedup)
    unmeasured = [_unmeasured_line(row) for row in rows if row["status"] != "measured"]
    if summary["not_here"]:
        unmeasured.append(f"not here: {_by_reason(summary['not_here'])}")
    parts += unmeasured if markdown else ["\n".join(unmeasured)] if unmeasured else []
    return "\n\n".join(parts) + "\n"


def missing_speedup_of(rows: Sequence[Values]) -> str:
    """Return a warning about half precision on a GPU that is not faster than fp32 of the same backend, or ""."""
    times = {(row["backend"], row["precision"]): row["latency_ms"]["model"]["p50"] for row in rows}
    slow = []
    for (backend, precision), ms in times.items():
        full = times.get((backend, "fp32"))
        if precision in ("fp16", "mixed") and runs_on_gpu(backend) and full is not None and full < MIN_SPEEDUP * ms:
            slow.append(f"{backend} {precision} takes {ms:.2f} ms and fp32 {full:.2f} ms")
    if not slow:
        return ""
    return f"{'; '.join(slow)}: half precision gains nothing there, and is perhaps not in effect"


def _unmeasured_line(row: Values) -> str:
    return f"{_name(row)} {row['status']}" + (f": {row['reason']}" if row["reason"] else "")


def _reference(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate that ratios refer to: ONNX Runtime in 32 bits, or else the first measured one."""
    measured = [candidate for candidate in candidates if candidate.bursts]
    return next((one for one in measured if one.choice == REFERENCE), measured[0] if measured else None)


def _candidate(candidate: Candidate, reference: Candidate | None, flops: int | None, peak: float | None) -> Values:
    row: Values = {
        "backend": candidate.choice.backend,
        "precision": candidate.choice.precision,
        "status": candidate.status,
        "reason": candidate.reason,
        "gate": _finite(candidate.ready.get("gate")),
        "load_seconds": candidate.ready.get("load_seconds"),
        "first_start_seconds": candidate.first_start_seconds,
        "build_seconds": (candidate.ready.get("engine") or {}).get("build_seconds"),
        "memory_mib": {"before": candidate.ready.get("memory_before"), **candidate.memory},
        "latency_ms": None,
        "frames_per_second": None,
        "ratio": None,
        "fixed_rate": None,
        "model_gflops": None,
        "share_of_gemm": None,
    }
    if not candidate.bursts:
        return row
    frames = np.concatenate([np.asarray(burst["frames"]) for burst in candidate.bursts])
    row["latency_ms"] = {part: asdict(Timing.of(frames[:, index])) for index, part in enumerate(PARTS)}
    row["frames_per_second"] = len(frames) / sum(burst["seconds"] for burst in candidate.bursts)
    row["ratio"] = {part: _ratio(candidate, reference, PARTS.index(part)) for part in ("model", "whole")}
    row["fixed_rate"] = _fixed_rate(candidate.streams)
    if flops:
        row["model_gflops"] = 1e-6 * flops / row["latency_ms"]["model"]["p50"]
        if peak and runs_on_processor(candidate.choice):
            row["share_of_gemm"] = row["model_gflops"] / peak
    return row


def _finite(verdict: Values | None) -> Values | None:
    """Return a verdict with None for NaN, which JSON does not have."""
    return verdict and {name: None if value != value else value for name, value in verdict.items()}


def _ratio(candidate: Candidate, reference: Candidate, part: int) -> float:
    """Return the median over rounds of the ratio of medians: a slowdown of a whole round cancels out."""
    rounds = zip(candidate.bursts, reference.bursts, strict=False)  # an interrupted round may have only one of them
    return float(np.median([_median(ours, part) / _median(theirs, part) for ours, theirs in rounds]))


def _median(burst: Values, part: int) -> float:
    return float(np.median([frame[part] for frame in burst["frames"]]))


def _fixed_rate(streams: Sequence[Values]) -> Values:
    ages = [age for stream in streams for age in stream["ages"]]
    dropped = sum(stream["dropped"] for stream in streams)
    return {
        "age_ms": asdict(Timing.of(ages)),
        "rate": len(ages) / sum(stream["seconds"] for stream in streams),
        "dropped": dropped,
        "due": len(ages) + dropped,
    }


def _machine() -> Values:
    """Return the processor's name (Linux only) and the number of usable cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return {
        "processor": names[0] if names else platform.processor(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "python": platform.python_version(),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _title(summary: Values) -> str:
    if summary["model"] is None:
        return "nothing was measured"
    weights = ", random weights: for speed only" if summary["random_weights"] else ""
    cost = f"{summary['flops'] / 1e9:.1f} GFLOP" if summary["flops"] else "FLOPs unknown (they need the extra onnx):"
    best = summary["gemm_gflops"]["best"]
    peak = f"float32 GEMM {best:.0f} GFLOP/s" if best else "GEMM not measured"
    return (
        f"{summary['model']}{weights}; image {_by(summary['image'])}, network {_by(summary['network'])} (HxW), {cost} "
        f"a frame; {summary['threads'] or 'default'} threads on {summary['machine']['cores']} cores, {peak}"
    )


def _by(size: Sequence[int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else NONE


def _name(row: Values) -> str:
    return f"{row['backend']} {row['precision']}"


def _spread(timing: Values) -> str:
    values = (timing[key] for key in ("p50", "p95", "p99"))
    return " / ".join(f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}" for value in values)


def _number(value: float | None, style: str) -> str:
    return NONE if value is None else format(value, style)


def _gate(row: Values) -> str:
    """Return the verdict and the mean relative difference; transformers' network is not judged."""
    if row["gate"] is None:
        return NONE
    return f"{'fails' if row['gate']['fault'] else 'passes'} {_number(row['gate']['abs_rel'], '.4f')}"


def _by_reason(absent: Mapping[str, str]) -> str:
    """Return missing backends, grouped by reason."""
    names: dict[str, list[str]] = {}
    for name, reason in absent.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(group)} ({reason})" for reason, group in names.items())


_SPEED: list[Column] = [
    ("p50 / p95 / p99, ms", _name),
    *((part, lambda row, part=part: _spread(row["latency_ms"][part])) for part in PARTS),
    ("ratio", lambda row: _number(row["ratio"]["whole"], ".2f")),
    ("frames/s", lambda row: _number(row["frames_per_second"], ".1f")),
    ("GFLOP/s", lambda row: _number(row["model_gflops"], ".0f")),
    ("of GEMM", lambda row: _number(row["share_of_gemm"], ".0%")),
]


def _other_columns(rate: float) -> list[Column]:
    return [
        (f"at {rate:g} frames/s", _name),
        ("age, ms", lambda row: _spread(row["fixed_rate"]["age_ms"])),
        ("achieved", lambda row: f"{row['fixed_rate']['rate']:.1f}"),
        ("dropped", lambda row: f"{row['fixed_rate']['dropped']} of {row['fixed_rate']['due']}"),
        ("peak MiB", lambda row: _number(row["memory_mib"]["peak"], ".0f")),
        ("GPU MiB", lambda row: _number(row["memory_mib"]["gpu"], ".0f")),
        ("load s", lambda row: _number(row["load_seconds"], ".1f")),
        ("build s", lambda row: _number(row["build_seconds"], ".1f")),
        ("gate, AbsRel", _gate),
    ]


def _table(columns: Sequence[Column], rows: Sequence[Values], markdown: bool) -> str:
    """Return a table. Columns have a heading and a function from row to cell; the first is aligned left."""
    cells = [[heading for heading, _ in columns], *([cell(row) for _, cell in columns] for row in rows)]
    if markdown:
        cells.insert(1, ["---", *["---:"] * (len(columns) - 1)])
        return "\n".join(f"| {' | '.join(line)} |" for line in cells)
    first, *others = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in cells)
