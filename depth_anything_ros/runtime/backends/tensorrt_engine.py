"""Runs TensorRT plans frame after frame: what is not the network's own time is one launch and one wait."""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
from cuda.bindings import runtime as cudart

from depth_anything_ros.images.pixel_layout import TO_RGB, convert, stored
from depth_anything_ros.images.resizing import check_image, resize_image, resize_map
from depth_anything_ros.runtime.backends.tensorrt_plan import Plan
from depth_anything_ros.runtime.cuda.driver import CudaDevice
from depth_anything_ros.runtime.cuda.graph import RepeatedWork
from depth_anything_ros.runtime.cuda.memory import (
    StagingBuffer,
    allocate_device,
    allocate_staging,
    call,
    check_bindings,
)
from depth_anything_ros.runtime.cuda.resize import ResizeKernels
from depth_anything_ros.runtime.errors import ModelError

__all__ = ["TensorRtEngine"]

log = logging.getLogger(__name__)

Size = tuple[int, int]

CACHED_PATHS = 4
"""Kinds of frames that buffers and a CUDA graph are always kept for."""
MAX_PATHS = 32
"""Those that they are kept for at most, as long as `MAX_BYTES` hold them: many cameras, not every crop that came."""
MAX_BYTES = 256 << 20
"""Of pinned memory, which the system cannot use for anything else; 18 frames of 1920x1080."""


class Stage(NamedTuple):
    """A part of a frame's work: "upload", "resize in", "engine", "resize out" or "download"; ``enqueue`` starts it."""

    name: str
    enqueue: Callable[[cudart.cudaStream_t], object]


@dataclass(frozen=True)
class _Path:
    """A way through the GPU: fill ``source.host``, run ``work``, read ``result.host`` and ``confidence.host``.

    ``stages``: what the work is made of.
    """

    source: StagingBuffer
    result: StagingBuffer
    confidence: StagingBuffer | None
    stages: Sequence[Stage]
    work: RepeatedWork
    resources: ExitStack

    @property
    def nbytes(self) -> int:
        """Of pinned memory."""
        buffers = (self.source, self.result, self.confidence)
        return sum(buffer.host.nbytes for buffer in buffers if buffer is not None)


_Parts = tuple[StagingBuffer, StagingBuffer, StagingBuffer | None, Sequence[Stage]]
"""Source, result, confidence if it is wanted, and the work between them."""


class TensorRtEngine:
    """A TensorRT plan with its buffers on one GPU. Not for use by several threads at once; any one may come next.

    Args:
        plan: what TensorRT's builder made, for this TensorRT and this kind of GPU; with one input and fixed shapes.
        device: the GPU, one of `cuda_driver.devices`.
        depth: the name of the output that is the map; needed only where there are several.
        confidence: the name of the one that is its confidence, if there is one.

    Attributes:
        layout: "uint8_nhwc" or "float_nchw", as in `Backend.layout`.
        input_size: (height, width) of the network's input.
        resizes_on_device: whether `estimate` resizes on the GPU; on the processor otherwise.
        gives_confidence: whether the plan has one.

    Raises:
        ModelError: the plan is of another TensorRT or GPU, damaged, or no depth network with fixed shapes, or CUDA
            fails.
    """

    def __init__(
        self, plan: bytes, device: CudaDevice, depth: str | None = None, confidence: str | None = None
    ) -> None:
        check_bindings()
        self._device = device
        call(cudart.cudaSetDevice, device.index)
        with ExitStack() as resources:
            self._plan = Plan(plan, depth, confidence)
            resources.callback(self._plan.close)
            self.layout, self.input_size = self._plan.layout, self._plan.input_size
            self.gives_confidence = confidence is not None
            self._maps = np.empty(self._plan.map_shape, np.float32)  # CUDA's memory must not outlive the engine
            self._confidences = np.empty(self._plan.confidence_shape or 0, np.float32)
            # One place for all frames, which follow one another: nobody reads most of it.
            self._others = {name: allocate_device(size, resources) for name, size in self._plan.others.items()}
            self._stream = call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
            resources.callback(call, cudart.cudaStreamDestroy, self._stream)
            self._kernels = self._load_kernels(resources)
            self._paths: OrderedDict[tuple, _Path] = OrderedDict()
            resources.callback(_close_paths, self._paths)
            resources.callback(call, cudart.cudaSetDevice, device.index)  # may be another thread than this one
            # Closed by hand or with the last reference; neither the callbacks nor this hold a reference to `self`.
            self._close = weakref.finalize(self, resources.pop_all().close)

    @property
    def resizes_on_device(self) -> bool:
        """See the class."""
        return self._kernels is not None

    def computes_in_half(self) -> bool | None:
        """See `Plan`."""
        return self._plan.computes_in_half()

    def inspected(self) -> str:
        """See `Plan`."""
        return self._plan.inspected()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Runs the network.

        Args:
            batch: uint8 (N, H, W, 3) or float32 (N, 3, H, W), exactly as the plan has it.

        Returns:
            float32 (N, h, w): the engine's own buffer, overwritten by the next call.

        Raises:
            ModelError: the batch is not as above, the engine is closed, or CUDA or TensorRT fails.
        """
        path = self._run(batch, with_confidence=False)
        np.copyto(self._maps, path.result.host.reshape(self._maps.shape))
        return self._maps

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `run`, with the confidence maps, float32 (N, h', w'), behind the others; where there is a confidence."""
        path = self._run(batch, with_confidence=True)
        np.copyto(self._maps, path.result.host.reshape(self._maps.shape))
        assert path.confidence is not None
        np.copyto(self._confidences, path.confidence.host.reshape(self._confidences.shape))
        return self._maps, self._confidences

    def _run(self, batch: np.ndarray, with_confidence: bool) -> _Path:
        if batch.shape != self._plan.input_shape or batch.dtype != self._plan.input_dtype:
            raise ModelError(
                f"the batch is {batch.dtype} {batch.shape}, "
                f"the plan takes {self._plan.input_dtype} {self._plan.input_shape}"
            )
        path = self._enter("batch", with_confidence)
        np.copyto(path.source.host, batch)
        path.work.run()
        return path

    def estimate(
        self,
        image: np.ndarray,
        size: Size | None = None,
        out: np.ndarray | None = None,
        confidence: np.ndarray | None = None,
    ) -> np.ndarray:
        """From a camera's image to a map of any size; for plans whose layout is "uint8_nhwc", batch of one.

        Args:
            image: RGB uint8 (H, W, 3); may be a view of any strides, such as a crop or a BGR image seen as RGB.
            size: (height, width) of the result; default: the image's.
            out: float32 array of that size to write the result into.
            confidence: float32 array of that size to write the confidence into; where there is one.

        Returns:
            float32 (height, width), ``out`` or a new array.

        Raises:
            ValueError: image, ``size``, ``out`` or ``confidence`` is not as above.
            ModelError: the plan is not as above, the engine is closed, or CUDA or TensorRT fails.
        """
        check_image(image)
        if self.layout != "uint8_nhwc" or self._plan.input_shape[0] != 1:
            raise ModelError(
                f"a plan of {self.layout} {self._plan.input_shape} cannot take an image; run it on a batch"
            )
        height, width = image.shape[:2] if size is None else size
        size = height, width
        if min(size) < 1:
            raise ValueError(f"size is {size}, must be a positive (height, width)")
        if confidence is not None and not self.gives_confidence:
            raise ValueError("the plan gives no confidence")
        if self._kernels is None:
            return self._estimate_from_host(image, size, out, confidence)
        source = stored(image)
        reversed_channels = source.order == "bgr"  # copied as it lies, the GPU swaps
        path = self._enter("image", confidence is not None, image.shape[:2], size, reversed_channels)
        convert(source, {**TO_RGB, "bgr": None}, path.source.host)
        path.work.run()
        if confidence is not None and path.confidence is not None:
            resize_map(path.confidence.host, size, confidence)
        return resize_map(path.result.host, size, out)

    def stages(self, image: np.ndarray) -> tuple[Sequence[Stage], cudart.cudaStream_t]:
        """What a frame like this one is made of, in order, and the stream that it runs on; to measure each by itself.

        ``image``: as `estimate` takes it; a frame must have gone through before.
        """
        path = self._enter("image", False, image.shape[:2], image.shape[:2], stored(image).order == "bgr")
        return path.stages, self._stream

    def close(self) -> None:
        """Frees all that the engine holds on the GPU; it cannot be used afterwards. May be called again."""
        self._close()

    def _estimate_from_host(
        self, image: np.ndarray, size: Size, out: np.ndarray | None, confidence: np.ndarray | None
    ) -> np.ndarray:
        path = self._enter("batch", confidence is not None)
        resize_image(image, path.source.host[0])
        path.work.run()
        if confidence is not None and path.confidence is not None:
            resize_map(path.confidence.host.reshape(self._confidences.shape)[0], size, confidence)
        return resize_map(path.result.host.reshape(self._plan.map_shape)[0], size, out)

    def _load_kernels(self, resources: ExitStack) -> ResizeKernels | None:
        if self.layout != "uint8_nhwc":
            return None
        try:
            return ResizeKernels(self._device.compute_capability, resources)
        except ModelError as error:
            log.warning("images are resized on the processor, which costs milliseconds a frame: %s", error)
            return None

    def _enter(self, kind: str, with_confidence: bool, *sizes: Any) -> _Path:
        """The path for such frames, made if it is new, with the GPU made this thread's own."""
        if not self._close.alive:
            raise ModelError("the TensorRT engine is closed")
        call(cudart.cudaSetDevice, self._device.index)
        key = (kind, with_confidence, *sizes)
        if key in self._paths:
            self._paths.move_to_end(key)
            return self._paths[key]
        with ExitStack() as resources:
            make: Callable[..., _Parts] = self._batch_parts if kind == "batch" else self._image_parts
            source, result, confidence, stages = make(resources, with_confidence, *sizes)
            work = RepeatedWork(self._stream, partial(_enqueue, stages, self._stream), f"frames {key}")
            resources.callback(work.close)
            self._paths[key] = _Path(source, result, confidence, stages, work, resources.pop_all())
        self._forget_oldest()
        return self._paths[key]

    def _forget_oldest(self) -> None:
        """Frees paths until the rest is within the limits."""
        while len(self._paths) > CACHED_PATHS and (
            len(self._paths) > MAX_PATHS or sum(path.nbytes for path in self._paths.values()) > MAX_BYTES
        ):
            _, oldest = self._paths.popitem(last=False)
            oldest.resources.close()

    def _batch_parts(self, resources: ExitStack, with_confidence: bool) -> _Parts:
        """Batch in, the network's own outputs out.

        A GPU that shares the processor's memory writes results straight into it. What it reads many times is copied all
        the same, for it has no cache for that memory.
        """
        prepared, mapped = self._plan, self._device.integrated
        source = allocate_staging(prepared.input_shape, np.dtype(prepared.input_dtype), False, resources)
        result = allocate_staging(prepared.output_shape, np.float32, mapped, resources)
        confidence, others = None, self._others
        if with_confidence and prepared.confidence is not None:
            confidence = allocate_staging(self._confidences.shape, np.float32, mapped, resources)
            others = {**others, prepared.confidence: confidence.device}
        run = partial(prepared.enqueue, source.device, result.device, others)
        stages = [Stage("upload", source.upload), Stage("engine", run), Stage("download", result.download)]
        if confidence is not None:
            stages.append(Stage("download", confidence.download))
        return source, result, confidence, stages

    def _image_parts(
        self, resources: ExitStack, with_confidence: bool, image_size: Size, size: Size, reversed_channels: bool
    ) -> _Parts:
        """Camera image in, maps of the size asked for out; what is between never leaves the GPU."""
        prepared, mapped, others, kernels = self._plan, self._device.integrated, self._others, self._kernels
        assert kernels is not None  # else the processor resizes
        assert prepared.input_size is not None  # a plan has fixed shapes
        source = allocate_staging((*image_size, 3), np.uint8, False, resources)
        result = allocate_staging(size, np.float32, mapped, resources)
        batch = allocate_device(prod(prepared.input_shape), resources)
        values = allocate_device(prod(prepared.output_shape) * np.dtype(np.float32).itemsize, resources)
        sides = source.device, image_size, batch, prepared.input_size
        stages = [
            Stage("upload", source.upload),
            Stage("resize in", kernels.image(*sides, resources, reversed_channels)),
            Stage("engine", partial(prepared.enqueue, batch, values, others)),
            Stage("resize out", kernels.map(values, _side_lengths(self._maps), result.device, size)),
            Stage("download", result.download),
        ]
        confidence = None
        if with_confidence and prepared.confidence is not None:
            confidence = allocate_staging(size, np.float32, mapped, resources)
            confidences = others[prepared.confidence]
            resize = kernels.map(confidences, _side_lengths(self._confidences), confidence.device, size)
            stages += [Stage("resize out", resize), Stage("download", confidence.download)]
        return source, result, confidence, stages


def _side_lengths(maps: np.ndarray) -> Size:
    """(h, w) of maps (N, h, w)."""
    _, height, width = maps.shape
    return height, width


def _enqueue(stages: Sequence[Stage], stream: cudart.cudaStream_t) -> None:
    for stage in stages:
        stage.enqueue(stream)


def _close_paths(paths: OrderedDict[tuple, _Path]) -> None:
    """Frees every path's buffers and graph."""
    while paths:
        paths.popitem()[1].resources.close()
