"""PyTorch: runs a checkpoint without an export. No other backend imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from depth_anything_ros.model.checkpoints import load_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.backends.interface import MAX_BATCH, LoadRequest
from depth_anything_ros.runtime.errors import ModelError, UnavailableError
from depth_anything_ros.system.lru_cache import LruCache
from depth_anything_ros.zoo.record import ModelRecord

Options = dict[str, str | int | bool | Callable[..., Any]]

CPU_COMPILATION: Options = {"freezing": True}
CUDA_COMPILATION: Options = {"triton.cudagraphs": True, "max_autotune": True}
"""Options of torch.compile. Both take about a minute at the first frame, and need a C++ compiler or Triton."""


class PixelNetwork(nn.Module):
    """The network with raw pixels as input: uint8 (N, H, W, 3) RGB to float32 maps (N, H, W)."""

    gain: Tensor
    offset: Tensor

    def __init__(self, network: DepthAnything, record: ModelRecord) -> None:
        super().__init__()
        self.network = network
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (record.mean, record.std))
        self.register_buffer("gain", 1 / (255 * std))
        self.register_buffer("offset", mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map uint8 (N, H, W, 3) RGB to float32 (N, H, W)."""
        images = pixels.permute(0, 3, 1, 2).to(self.gain.dtype) * self.gain - self.offset
        return self.network(images).float()


class TorchBackend:
    """A network in PyTorch, on the CPU or a GPU."""

    engine = None
    resizes = False
    gives_confidence = False

    def __init__(self, infer: Callable[[np.ndarray], np.ndarray], name: str, batches: bool = True) -> None:
        self.batches = batches
        self._infer, self._name = infer, name

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `Backend.run`."""
        try:
            with torch.inference_mode():
                return self._infer(batch)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self._name}: PyTorch failed: {error}") from error


def load(request: LoadRequest) -> TorchBackend:
    """Load a checkpoint. Raises `ModelError`, or `UnavailableError` if PyTorch sees no GPU but one is requested."""
    on_gpu = request.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        raise UnavailableError(
            "PyTorch sees no CUDA GPU: it is a CPU build, or the driver is missing; use the backend torch, or install "
            "a PyTorch with CUDA"
        )
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    try:
        network = load_checkpoint(request.graph.path, record=request.record)
    except (OSError, ValueError) as error:
        raise ModelError(str(error)) from error
    module = PixelNetwork(network, request.record).eval().requires_grad_(False)
    name = str(request.graph.path)
    if not on_gpu:
        run = torch.compile(module, options=CPU_COMPILATION) if request.device == "compile" else module
        compiles = request.device == "compile"  # another number of images would compile again, for a minute
        return TorchBackend(lambda batch: run(torch.from_numpy(batch)).numpy(), name, batches=not compiles)
    # TF32 has half precision's ten bits of mantissa, too few for a result labeled fp32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    module = module.to("cuda", torch.float16 if request.choice.precision == "fp16" else torch.float32)
    if request.device == "cuda_compile":
        compiled = torch.compile(module, options=CUDA_COMPILATION)
        return TorchBackend(lambda batch: compiled(torch.from_numpy(batch).cuda()).cpu().numpy(), name, batches=False)
    return TorchBackend(CudaGraphs(module), name)


class CudaGraphs:
    """A module that is recorded once per batch shape and then replayed: one launch per frame instead of hundreds."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._recorded: LruCache[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]]
        self._recorded = LruCache(MAX_BATCH)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return the maps of a batch, in pinned memory that the next call overwrites."""
        graph, pixels, maps, host = self._recorded.obtain(batch.shape, lambda: self._record(batch))
        pixels.copy_(torch.from_numpy(batch))
        graph.replay()
        host.copy_(maps)
        return host.numpy()

    def _record(self, batch: np.ndarray) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]:
        pixels = torch.from_numpy(batch).cuda()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # the first calls allocate and tune, which a recording does not allow
            for _ in range(3):
                self._module(pixels)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            maps = self._module(pixels)
        return graph, pixels, maps, torch.empty(maps.shape, pin_memory=True)
