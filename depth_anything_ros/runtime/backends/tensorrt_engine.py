"""Run TensorRT plans frame after frame, with one launch and one wait per frame."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart

from depth_anything_ros.images.pixel_layout import TO_RGB, convert, stored
from depth_anything_ros.images.resizing import check_image, resize_image, resize_map
from depth_anything_ros.runtime.backends.frame_paths import FramePath, FramePaths, Stage
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
_Parts = tuple[StagingBuffer, StagingBuffer, StagingBuffer | None, Sequence[Stage]]
"""Source, result, confidence if requested, and the work between them."""


class TensorRtEngine:
    """A TensorRT plan with its buffers on one GPU. Not thread-safe, but each call may come from another thread.

    Args:
        plan: from TensorRT's builder, for this TensorRT and this kind of GPU; with one input and fixed shapes.
        device: the GPU, one of `cuda_driver.devices`.
        depth: name of the output with the map; required only if there are several.
        confidence: name of the output with the confidence, or None.

    Attributes:
        layout: "uint8_nhwc" or "float_nchw", as in `Graph.layout`.
        input_size: (height, width) of the network's input.
        resizes_on_device: whether `estimate` resizes on the GPU, else on the processor.
        gives_confidence: whether the plan gives a confidence.

    Raises:
        ModelError: the plan is for another TensorRT or GPU, damaged, or not a depth network with fixed shapes, or CUDA
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
            # One buffer per output for all frames, since frames run one by one and few outputs are read.
            self._others = {name: allocate_device(size, resources) for name, size in self._plan.other_outputs.items()}
            self._stream = call(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
            resources.callback(call, cudart.cudaStreamDestroy, self._stream)
            self._kernels = self._load_kernels(resources)
            self._paths = FramePaths()
            resources.callback(self._paths.close)
            resources.callback(call, cudart.cudaSetDevice, device.index)  # the closing thread may be another one
            # Closed by `close` or with the last reference; neither the callbacks nor this hold a reference to `self`.
            self._close = weakref.finalize(self, resources.pop_all().close)

    @property
    def resizes_on_device(self) -> bool:
        """Whether `estimate` resizes on the GPU."""
        return self._kernels is not None

    def computes_in_half(self) -> bool | None:
        """Return `Plan.computes_in_half`."""
        return self._plan.computes_in_half()

    def inspected(self) -> str:
        """Return `Plan.inspected`."""
        return self._plan.inspected()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run the network.

        Args:
            batch: uint8 (N, H, W, 3) or float32 (N, 3, H, W), exactly like the plan's input.

        Returns:
            float32 (N, h, w): the engine's own buffer, which the next call overwrites.

        Raises:
            ModelError: the batch is invalid, the engine is closed, or CUDA or TensorRT fails.
        """
        path = self._run(batch, with_confidence=False)
        np.copyto(self._maps, path.result.host.reshape(self._maps.shape))
        return self._maps

    def run_both(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run like `run`, for plans with a confidence. Return maps and confidence maps, float32 (N, h', w')."""
        path = self._run(batch, with_confidence=True)
        np.copyto(self._maps, path.result.host.reshape(self._maps.shape))
        assert path.confidence is not None
        np.copyto(self._confidences, path.confidence.host.reshape(self._confidences.shape))
        return self._maps, self._confidences

    def _run(self, batch: np.ndarray, with_confidence: bool) -> FramePath:
        if batch.shape != self._plan.input_shape or batch.dtype != self._plan.input_dtype:
            raise ModelError(
                f"the batch is {batch.dtype} {batch.shape}, "
                f"but the plan takes {self._plan.input_dtype} {self._plan.input_shape}"
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
        """Estimate a map of any size from a camera's image, with a plan of layout "uint8_nhwc" and a batch of one.

        Args:
            image: RGB uint8 (H, W, 3); may be a view of any strides, such as a crop or a BGR image viewed as RGB.
            size: (height, width) of the result; default: the image's.
            out: float32 array of that size, receives the result.
            confidence: float32 array of that size, receives the confidence, if the plan gives one.

        Returns:
            float32 (height, width), ``out`` or a new array.

        Raises:
            ValueError: image, ``size``, ``out`` or ``confidence`` is invalid.
            ModelError: the plan has another layout or batch, the engine is closed, or CUDA or TensorRT fails.
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
        reversed_channels = source.order == "bgr"  # copied unchanged, the GPU swaps
        path = self._enter("image", confidence is not None, image.shape[:2], size, reversed_channels)
        convert(source, {**TO_RGB, "bgr": None}, path.source.host)
        path.work.run()
        if confidence is not None and path.confidence is not None:
            resize_map(path.confidence.host, size, confidence)
        return resize_map(path.result.host, size, out)

    def stages(self, image: np.ndarray) -> tuple[Sequence[Stage], cudart.cudaStream_t]:
        """Return the stages of a frame like this one, in order, and their stream, for measuring each stage.

        ``image`` must be valid for `estimate`, and `estimate` must have run on one like it.
        """
        path = self._enter("image", False, image.shape[:2], image.shape[:2], stored(image).order == "bgr")
        return path.stages, self._stream

    def close(self) -> None:
        """Free the engine's memory on the GPU. It cannot be used afterwards; further calls do nothing."""
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
            log.warning("images are resized on the processor, which costs milliseconds per frame: %s", error)
            return None

    def _enter(self, kind: str, with_confidence: bool, *sizes: Any) -> FramePath:
        """Make the GPU current for this thread, and return the path for such frames, created if it is new."""
        if not self._close.alive:
            raise ModelError("the TensorRT engine is closed")
        call(cudart.cudaSetDevice, self._device.index)
        key = (kind, with_confidence, *sizes)
        return self._paths.obtain(key, lambda: self._new_path(*key))

    def _new_path(self, kind: str, with_confidence: bool, *sizes: Any) -> FramePath:
        with ExitStack() as resources:
            make: Callable[..., _Parts] = self._batch_parts if kind == "batch" else self._image_parts
            source, result, confidence, stages = make(resources, with_confidence, *sizes)
            name = f"frames {(kind, with_confidence, *sizes)}"
            work = RepeatedWork(self._stream, partial(_enqueue, stages, self._stream), name)
            resources.callback(work.close)
            return FramePath(source, result, confidence, stages, work, resources.pop_all())

    def _batch_parts(self, resources: ExitStack, with_confidence: bool) -> _Parts:
        """Build the path from a batch to the network's own outputs.

        A GPU that shares the processor's memory writes results directly to it. Its inputs are still copied, since they
        are read many times and that memory is not cached.
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
        """Build the path from a camera image to maps of the requested size, without leaving the GPU in between."""
        prepared, mapped, others, kernels = self._plan, self._device.integrated, self._others, self._kernels
        assert kernels is not None  # else `estimate` resizes on the processor
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
    """Return (h, w) of maps (N, h, w)."""
    _, height, width = maps.shape
    return height, width


def _enqueue(stages: Sequence[Stage], stream: cudart.cudaStream_t) -> None:
    for stage in stages:
        stage.enqueue(stream)
