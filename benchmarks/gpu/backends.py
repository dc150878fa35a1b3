"""Every way to run a network on a GPU, with the same weights, in turns; also transformers, if it is installed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.models import Plan, Size, checkpoint, graph
from benchmarks.gpu.parts import correlated, in_turns, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.stand_ins import for_cuda
from benchmarks.gpu.steps import StepContext
from depth_anything_ros.images.resizing import resized_image
from depth_anything_ros.model.checkpoints import read_record
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator

SHAPES = (
    *(("vits", (308, 406)), ("vitl", (518, 518)), ("vitb", (518, 518))),
    *(("vits", (518, 518)), ("vitl", (308, 406)), ("vitb", (308, 406))),
)
DRY_SHAPES = (("tiny", (56, 70)),)
ANCHOR = ("torch:cuda", "fp16")
WAYS = (
    *(("tensorrt", precision) for precision in ("fp16", "mixed")),
    *(("onnxruntime:cuda", precision) for precision in ("fp16", "fp32")),
    *(ANCHOR, ("torch:cuda", "fp32")),
)
"""TensorRT's are included only if its step has built the engine."""
SLOW_WAYS = (("tensorrt", "fp16"), ("torch:cuda_compile", "fp16"))
"""Slow to build or compile, so they come last, each next to the common anchor."""
IN_PLACE = {"torch:cuda": "torch", "torch:cuda_compile": "torch", "onnxruntime:cuda": "onnxruntime"}
"""The replacement of a backend in a dry run, in fp32."""
TRANSFORMERS = "transformers"
MIN_CORRELATION = {"fp32": 0.9999, "fp16": 0.99, "mixed": 0.99}
MIN_TRANSFORMERS_CORRELATION = 0.9
"""transformers interpolates position embeddings differently, which random weights amplify."""

Run = Callable[[], np.ndarray]


def run(context: StepContext, results: Results) -> None:
    """Compare the backends. A dry run uses replacements."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(context.folder.parent / "tensorrt" / "cache")  # reuse its engines
    shapes = DRY_SHAPES if context.is_dry else SHAPES
    with for_cuda(context):
        for encoder, size in shapes:
            with part(results, f"{encoder} at {size[0]}x{size[1]}"):
                ways = [way for way in WAYS if way[0] != "tensorrt" or Plan(encoder, size, way[1]) in _built()]
                _compare(encoder, size, ways, True, context, results)
        for encoder, size in shapes:
            for way in SLOW_WAYS:
                if way[0] == "tensorrt" and (not _built() or Plan(encoder, size, way[1]) in _built()):
                    continue  # it cannot be built here, or was measured above
                with part(results, f"{' '.join(way)}, {encoder} at {size[0]}x{size[1]}"):
                    _compare(encoder, size, [way, ANCHOR], False, context, results)


def _built() -> set[Plan]:
    """Return the plans in the cache of the step `tensorrt`."""
    keys = [engine.sidecar["key"] for engine in EngineCache().engines() if engine.sidecar["files"]]
    return {Plan(key["model"], tuple(key["shape"][1:3]), key["precision"]) for key in keys}


def _compare(
    encoder: str,
    size: Size,
    ways: Sequence[tuple[str, str]],
    with_transformers: bool,
    context: StepContext,
    results: Results,
) -> None:
    """Measure ways to run one network at one size, in turns."""
    image = resized_image(gate.images()[0], size)
    weights = checkpoint(encoder, context.folder.parent / "models", context.encoder)
    runs: dict[tuple[str, str], Run] = {}
    for backend, precision in ways:
        with part(results, f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}"):
            if estimator := _estimator(backend, precision, weights, size, context, results):
                runs[backend, precision] = partial(estimator.estimate, image)
    if with_transformers and importlib.util.find_spec("transformers"):
        for precision in ("fp16", "fp32"):
            with part(results, f"{TRANSFORMERS} {precision}, {encoder} at {size[0]}x{size[1]}"):
                runs[TRANSFORMERS, precision] = _transformers(weights, precision, image, context)
    reference = Estimator(weights, "torch", size=size, gated=False).estimate(image)
    for (backend, precision), run_once in runs.items():
        name = f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}, matches PyTorch"
        limit = MIN_CORRELATION["fp32" if context.is_dry else precision]
        limit = MIN_TRANSFORMERS_CORRELATION if backend == TRANSFORMERS else limit
        results.judge(name, run_once(), correlated(reference, limit))
    rounds, turns = (1, 1) if context.is_dry else (40, 3)
    for (backend, precision), ms in in_turns(runs, rounds, turns).items():
        shape = f"{size[0]}x{size[1]}"
        results.add("Backends in turns", model=encoder, size=shape, backend=backend, precision=precision, ms=ms)


def _estimator(
    backend: str, precision: str, weights: Path, size: Size, context: StepContext, results: Results
) -> Estimator | None:
    """Return the estimator; None, with a note, if a library or device is missing."""
    if context.is_dry and backend in IN_PLACE:
        backend, precision = IN_PLACE[backend], "fp32"
    model = weights if backend.startswith("torch") else graph(weights, size)
    try:
        return Estimator(model, backend, precision=precision, size=size, gated=False, fallback=False)
    except UnavailableError as error:
        note = f"{backend} was not run: {error}."
        if note not in results.notes:
            results.note(note)
        return None


def _transformers(weights: Path, precision: str, image: np.ndarray, context: StepContext) -> Run:
    """Return a run of the network as transformers defines it, from bytes in host memory to a map there."""
    from depth_anything_ros.bench.transformers_candidate import TransformersCandidate

    record = read_record(weights)
    candidate = TransformersCandidate(weights, record, image.shape[:2])
    dtype = torch.float16 if precision == "fp16" and not context.is_dry else torch.float32
    network = candidate.network.to(context.device, dtype)
    mean, std = (
        torch.tensor(values, device=context.device, dtype=dtype).view(1, 3, 1, 1)
        for values in (record.mean, record.std)
    )

    def run_once() -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(image).to(context.device).permute(2, 0, 1)[None].to(dtype)
            return network(pixel_values=(pixels / 255 - mean) / std).predicted_depth[0].float().cpu().numpy()

    return run_once
