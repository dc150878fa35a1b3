"""Every way to run a network on a GPU, with the same weights, in turns; transformers as well, where it is here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.models import Size, checkpoint, graph
from benchmarks.gpu.parts import correlated, in_turns, part
from benchmarks.gpu.results import Results
from benchmarks.gpu.stand_ins import for_cuda
from benchmarks.gpu.steps import Place
from depth_anything_ros.model.checkpoints import read_record
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.preprocessing import resized_image

SHAPES = tuple((encoder, size) for size in ((308, 406), (518, 518)) for encoder in ("vits", "vitb", "vitl"))
DRY_SHAPES = (("tiny", (56, 70)),)
WAYS = (
    *(("tensorrt", precision) for precision in ("fp16", "mixed")),
    *(("onnxruntime:cuda", precision) for precision in ("fp16", "fp32")),
    *(("torch:cuda", precision) for precision in ("fp16", "fp32")),
    ("torch:cuda_compile", "fp16"),
)
IN_PLACE = {"torch:cuda": "torch", "torch:cuda_compile": "torch", "onnxruntime:cuda": "onnxruntime"}
"""What stands for a backend in a dry run, in fp32."""
TRANSFORMERS = "transformers"
LEAST_CORRELATION = {"fp32": 0.9999, "fp16": 0.99, "mixed": 0.99}
LEAST_OF_TRANSFORMERS = 0.9
"""It interpolates position embeddings in another way than the reference, which random weights show most."""

Run = Callable[[], np.ndarray]


def run(place: Place, results: Results) -> None:
    """See the module."""
    os.environ["DEPTH_ANYTHING_ROS_CACHE"] = str(place.folder.parent / "tensorrt" / "cache")  # what is built is built
    with for_cuda(place):
        for encoder, size in DRY_SHAPES if place.is_dry else SHAPES:
            with part(results, f"{encoder} at {size[0]}x{size[1]}"):
                _compare(encoder, size, place, results)


def _compare(encoder: str, size: Size, place: Place, results: Results) -> None:
    """All ways with one network at one size."""
    image = resized_image(gate.images()[0], size)
    weights = checkpoint(encoder, place.folder.parent / "models", place.encoder)
    runs: dict[tuple[str, str], Run] = {}
    for backend, precision in WAYS:
        with part(results, f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}"):
            if estimator := _estimator(backend, precision, weights, size, place, results):
                runs[backend, precision] = partial(estimator.estimate, image)
    if importlib.util.find_spec("transformers"):
        for precision in ("fp16", "fp32"):
            with part(results, f"{TRANSFORMERS} {precision}, {encoder} at {size[0]}x{size[1]}"):
                runs[TRANSFORMERS, precision] = _transformers(weights, precision, image, place)
    reference = Estimator(weights, "torch", size=size, gated=False).estimate(image)
    for (backend, precision), run_once in runs.items():
        name = f"{backend} {precision}, {encoder} at {size[0]}x{size[1]}, gives PyTorch's map"
        limit = LEAST_CORRELATION["fp32" if place.is_dry else precision]
        limit = LEAST_OF_TRANSFORMERS if backend == TRANSFORMERS else limit
        results.judge(name, run_once(), correlated(reference, limit))
    rounds = 2 if place.is_dry else 40
    for (backend, precision), ms in in_turns(runs, rounds).items():
        shape = f"{size[0]}x{size[1]}"
        results.add("Backends in turns", model=encoder, size=shape, backend=backend, precision=precision, ms=ms)


def _estimator(
    backend: str, precision: str, weights: Path, size: Size, place: Place, results: Results
) -> Estimator | None:
    """None, with a note, where the library is not here."""
    if place.is_dry and backend in IN_PLACE:
        backend, precision = IN_PLACE[backend], "fp32"
    model = weights if backend.startswith("torch") else graph(weights, size)
    try:
        return Estimator(model, backend, precision=precision, size=size, gated=False, fallback=False)
    except ModelError as error:
        if "is not installed" not in str(error) and "could not start" not in str(error):
            raise
        results.note(f"{backend} was not run: {error}.")
        return None


def _transformers(weights: Path, precision: str, image: np.ndarray, place: Place) -> Run:
    """The network as transformers defines it, from bytes on the processor to a map there."""
    from depth_anything_ros.benchmarking.transformers_contender import TransformersContender

    record = read_record(weights)
    contender = TransformersContender(weights, record, image.shape[:2])
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
