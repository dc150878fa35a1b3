"""The GPU time of each stage of a frame, by CUDA events."""

from __future__ import annotations

import statistics

import numpy as np

from depth_anything_ros.runtime.cuda import memory as cuda_memory
from depth_anything_ros.runtime.cuda.memory import call


def stage_ms(engine: object, image: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each stage, over frames that are enqueued stage by stage.

    Args:
        engine: a `TensorRtEngine` that has processed a frame like ``image`` before.
        image: RGB uint8 (H, W, 3).
        rounds: number of frames.
    """
    stages, stream = engine.stages(image)
    cudart = cuda_memory.cudart
    events = [call(cudart.cudaEventCreate) for _ in range(len(stages) + 1)]
    taken: dict[str, list[float]] = {stage.name: [] for stage in stages}
    try:
        for _ in range(rounds):
            call(cudart.cudaEventRecord, events[0], stream)
            for stage, event in zip(stages, events[1:], strict=True):
                stage.enqueue(stream)
                call(cudart.cudaEventRecord, event, stream)
            call(cudart.cudaStreamSynchronize, stream)
            for stage, began, ended in zip(stages, events, events[1:], strict=False):
                taken[stage.name].append(call(cudart.cudaEventElapsedTime, began, ended))
    finally:
        for event in events:
            call(cudart.cudaEventDestroy, event)
    return {name: statistics.median(values) for name, values in taken.items()}


def enqueue_all(engine: object, image: np.ndarray) -> None:
    """Run a frame without a CUDA graph.

    Args:
        engine: a `TensorRtEngine` that has processed a frame like ``image`` before.
        image: RGB uint8 (H, W, 3).
    """
    stages, stream = engine.stages(image)
    for stage in stages:
        stage.enqueue(stream)
    call(cuda_memory.cudart.cudaStreamSynchronize, stream)


def device_bytes_free() -> int:
    """Return the free bytes of GPU memory."""
    free, _ = call(cuda_memory.cudart.cudaMemGetInfo)
    return free
