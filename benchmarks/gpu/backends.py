"""Every way to run a network on a GPU, with the same weights, in turns; transformers as well, where it is here."""

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
"""Those of TensorRT only where its step has left the engine."""
SLOW_WAYS = (("tensorrt", "fp16"), ("torch:cuda_compile", "fp16"))
"""They build or compile for a minute; so they come last, each beside one that all others were beside as well."""
IN_PLACE = {"torch:cuda": "torch", "torch:cuda_compile": "torch", "onnxruntime:cuda": "onnxruntime"}
"""What stands for a backend in a dry run, in fp32."""
TRANSFORMERS = "transformers"
MIN_CORRELATION = {"fp32": 0.9999, "fp16": 0.99, "mixed": 0.99}
MIN_TRANSFORMERS_CORRELATION = 0.9
"""It interpolates position embeddings in another way than the reference, which random weights show most."""

Run = Callable[[], np.ndarray]


def run(place: StepContext, results: Results) -> None:
    """See the module."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(place.folder.parent / "tensorrt" / "cache")  # what is built is built
    shapes = DRY_SHAPES if place.is_dry else SHAPES
    with for_cuda(place):
        for encoder, size in shapes:
            with part(results, f"{encoder} at {size[0]}x{size[1]}"):
                ways = [way for way in WAYS if way[0] != "tensorrt" or Plan(encoder, size, way[1]) in _built()]
                _compare(encoder, size, ways, True, place, results)
        for encoder, size in shapes:
            for way in SLOW_WAYS:
                if way[0] == "tensorrt" and (not _built() or Plan(encoder, size, way[1]) in _built()):
                    continue  # it does not build here, or was measured above
                with part(results, f"{' '.join(way)}, {encoder} at {size[0]}x{size[1]}"):
                    _compare(encoder, size, [way, ANCHOR], False, place, results)


def _built() -> set[Plan]:
    """What the step `tensorrt` has left in the cache that both use."""
    keys = [engine.sidecar["key"] for engine in EngineCache().engines() if engine.sidecar["files"]]
    return {Plan(key["model"], tuple(key["shape"][1:3]), key["precision"]) for key in keys}


def _compare(
    encoder: str,
    size: Size,
    ways: Sequence[tuple[str, str]],
    with_transformers: bool,
    place: StepContext,
    results: Results,
) -> None:
    """Ways to run one network at one size, in turns."""
    image = resized_image(gate.images()[0], size)
    weights = checkpoint(encoder, place.folder.parent / "models", place.encoder)
    runs: dict[tuple[str, str], Run] = {}
    for backend, precision in ways:
        with part(results, f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}"):
            if estimator := _estimator(backend, precision, weights, size, place, results):
                runs[backend, precision] = partial(estimator.estimate, image)
    if with_transformers and importlib.util.find_spec("transformers"):
        for precision in ("fp16", "fp32"):
            with part(results, f"{TRANSFORMERS} {precision}, {encoder} at {size[0]}x{size[1]}"):
                runs[TRANSFORMERS, precision] = _transformers(weights, precision, image, place)
    reference = Estimator(weights, "torch", size=size, gated=False).estimate(image)
    for (backend, precision), run_once in runs.items():
        name = f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}, gives PyTorch's map"
        limit = MIN_CORRELATION["fp32" if place.is_dry else precision]
        limit = MIN_TRANSFORMERS_CORRELATION if backend == TRANSFORMERS else limit
        results.judge(name, run_once(), correlated(reference, limit))
    rounds, turns = (1, 1) if place.is_dry else (40, 3)
    for (backend, precision), ms in in_turns(runs, rounds, turns).items():
        shape = f"{size[0]}x{size[1]}"
        results.add("Backends in turns", model=encoder, size=shape, backend=backend, precision=precision, ms=ms)


def _estimator(
    backend: str, precision: str, weights: Path, size: Size, place: StepContext, results: Results
) -> Estimator | None:
    """None, with a note, where the library or what it needs is not here."""
    if place.is_dry and backend in IN_PLACE:
        backend, precision = IN_PLACE[backend], "fp32"
    model = weights if backend.startswith("torch") else graph(weights, size)
    try:
        return Estimator(model, backend, precision=precision, size=size, gated=False, fallback=False)
    except UnavailableError as error:
        note = f"{backend} was not run: {error}."
        if note not in results.notes:
            results.note(note)
        return None


def _transformers(weights: Path, precision: str, image: np.ndarray, place: StepContext) -> Run:
    """The network as transformers defines it, from bytes on the processor to a map there."""
    from depth_anything_ros.bench.transformers_candidate import TransformersCandidate

    record = read_record(weights)
    contender = TransformersCandidate(weights, record, image.shape[:2])
    dtype = torch.float16 if precision == "fp16" and not place.is_dry else torch.float32
    network = contender.network.to(place.device, dtype)
    mean, std = (
        torch.tensor(values, device=place.device, dtype=dtype).view(1, 3, 1, 1) for values in (record.mean, record.std)
    )

    def run_once() -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.from_numpy(image).to(place.device).permute(2, 0, 1)[None].to(dtype)
            return network(pixel_values=(pixels / 255 - mean) / std).predicted_depth[0].float().cpu().numpy()

    return run_once
