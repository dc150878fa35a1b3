"""A simulated GPU: CUDA's calls on the CPU's memory, in streams that run only when waited for.

Every call is bound to the signature of the real function of cuda-bindings; types, enums and constants are the real
ones, and a name that cuda-bindings does not have fails.
"""

# ruff: noqa: N802

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import count
from time import perf_counter
from types import ModuleType

import numpy as np
from cuda.bindings import driver
from cuda.bindings import runtime as cudart

from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda import graph as cuda_graph
from depth_anything_ros.runtime.cuda import memory as cuda_memory
from depth_anything_ros.runtime.cuda import resize as cuda_resize

ALLOCATIONS = (
    "cudaMalloc",
    "cudaHostAlloc",
    "cudaStreamCreateWithFlags",
    "cudaGraphInstantiateWithFlags",
    "cuModuleLoadData",
)
WORDS = {2: b"out of memory", 700: b"an illegal memory access was encountered", 900: b"operation not permitted"}
MEMORY = 1 << 30
SUCCESS = cudart.cudaError_t.cudaSuccess
DRIVER_SUCCESS = driver.CUresult.CUDA_SUCCESS


class FakeCuda:
    """The state of a GPU.

    ``calls`` are the names of the called functions. ``failures`` maps a function's name to the error code that it
    returns. ``live`` holds the allocations that are not freed, by (kind, handle).
    """

    def __init__(self, kernels) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, int] = {}
        self.live: dict[tuple[str, int], object] = {}
        self._kernels = kernels
        self._handles = count(0x1000)
        self._names: dict[int, str] = {}
        self._pending: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None

    def install(self, monkeypatch, *users: ModuleType) -> None:
        """Replace cuda-bindings in the modules that use it."""
        for module in (cuda_memory, cuda_graph, cuda_resize, *users):
            for name, real in (("cudart", cudart), ("driver", driver)):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, _Facade(self, real))
        monkeypatch.setattr(cuda_resize, "compile_kernels", lambda compute_capability: b"cubin")
        monkeypatch.setattr(cuda_driver, "driver_version", lambda: (99, 0))

    def enqueue(self, operation: Callable[[], None]) -> None:
        """Append an operation to the stream, or to the graph that is being captured."""
        (self._pending if self.captured is None else self.captured).append(operation)

    def memory(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes at an address; all of them must be allocated."""
        for (kind, start), buffer in self.live.items():
            if kind in ("device", "host", "mapped") and start <= address and address + nbytes <= start + buffer.nbytes:
                return buffer[address - start : address - start + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address:#x} are not allocated")

    def _keep(self, kind: str, value: object = None) -> int:
        handle = next(self._handles)
        self.live[kind, handle] = value
        return handle

    def _allocate(self, kind: str, size: int) -> int:
        assert size > 0
        buffer = np.full(size, 0xA5, np.uint8)  # nobody may count on zeros
        self.live[kind, buffer.ctypes.data] = buffer
        return buffer.ctypes.data

    def cudaSetDevice(self, device):
        assert device == 0
        return (SUCCESS,)

    def cudaMalloc(self, size):
        return SUCCESS, self._allocate("device", size)

    def cudaFree(self, address):
        del self.live["device", address]
        return (SUCCESS,)

    def cudaHostAlloc(self, size, flags):
        return SUCCESS, self._allocate("mapped" if flags & cudart.cudaHostAllocMapped else "host", size)

    def cudaFreeHost(self, address):
        del self.live["mapped" if ("mapped", address) in self.live else "host", address]
        return (SUCCESS,)

    def cudaHostGetDevicePointer(self, address, flags):
        assert ("mapped", address) in self.live
        assert flags == 0
        return SUCCESS, address

    def cudaMemcpyAsync(self, target, source, nbytes, kind, stream):
        kinds = cudart.cudaMemcpyKind
        source_kind, target_kind = {
            kinds.cudaMemcpyHostToDevice: ("host", "device"),
            kinds.cudaMemcpyDeviceToHost: ("device", "host"),
        }[kind]
        assert (source_kind, source) in self.live
        assert (target_kind, target) in self.live
        self._check_stream(stream)
        self.enqueue(lambda: np.copyto(self.memory(target, nbytes), self.memory(source, nbytes)))
        return (SUCCESS,)

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == cudart.cudaStreamNonBlocking
        return SUCCESS, cudart.cudaStream_t(self._keep("stream"))

    def cudaStreamDestroy(self, stream):
        del self.live["stream", int(stream)]
        return (SUCCESS,)

    def cudaStreamSynchronize(self, stream):
        self._check_stream(stream)
        assert self.captured is None, "waiting is not allowed while capturing"
        pending, self._pending = self._pending, []
        for operation in pending:
            operation()
        return (SUCCESS,)

    def cudaStreamBeginCapture(self, stream, mode):
        self._check_stream(stream)
        assert isinstance(mode, cudart.cudaStreamCaptureMode)
        assert self.captured is None
        self.captured = []
        return (SUCCESS,)

    def cudaStreamEndCapture(self, stream):
        self._check_stream(stream)
        captured, self.captured = self.captured, None
        return SUCCESS, cudart.cudaGraph_t(self._keep("graph", captured))

    def cudaGraphInstantiateWithFlags(self, graph, flags):
        assert flags == 0
        return SUCCESS, cudart.cudaGraphExec_t(self._keep("executable", self.live["graph", int(graph)]))

    def cudaGraphDestroy(self, graph):
        del self.live["graph", int(graph)]
        return (SUCCESS,)

    def cudaGraphLaunch(self, executable, stream):
        self._check_stream(stream)
        self._pending += self.live["executable", int(executable)]
        return (SUCCESS,)

    def cudaGraphExecDestroy(self, executable):
        del self.live["executable", int(executable)]
        return (SUCCESS,)

    def cudaEventCreate(self):
        return SUCCESS, cudart.cudaEvent_t(self._keep("event", []))

    def cudaEventDestroy(self, event):
        del self.live["event", int(event)]
        return (SUCCESS,)

    def cudaEventRecord(self, event, stream):
        self._check_stream(stream)
        reached = self.live["event", int(event)]
        self.enqueue(lambda: reached.append(perf_counter()))
        return (SUCCESS,)

    def cudaEventElapsedTime(self, start, end):
        began, ended = (self.live["event", int(event)][-1] for event in (start, end))
        return SUCCESS, 1e3 * (ended - began)

    def cudaMemGetInfo(self):
        used = sum(buffer.nbytes for (kind, _), buffer in self.live.items() if kind == "device")
        return SUCCESS, MEMORY - used, MEMORY

    def cuModuleLoadData(self, image):
        assert image == b"cubin"
        return DRIVER_SUCCESS, driver.CUmodule(self._keep("module"))

    def cuModuleUnload(self, module):
        del self.live["module", int(module)]
        return (DRIVER_SUCCESS,)

    def cuModuleGetFunction(self, module, name):
        assert ("module", int(module)) in self.live
        function = driver.CUfunction(next(self._handles))
        self._names[int(function)] = name.decode()
        return DRIVER_SUCCESS, function

    def cuLaunchKernel(self, function, columns, rows, layers, width, height, depth, shared, stream, arguments, extra):
        assert (layers, depth, shared, extra) == (1, 1, 0, 0)
        assert width * height <= 1024
        self._check_stream(stream)
        name = self._names[int(function)]
        self.enqueue(self._kernels.launch(name, (columns, rows), (width, height), arguments))
        return (DRIVER_SUCCESS,)

    def cudaGetErrorString(self, error):
        assert isinstance(error, cudart.cudaError_t)
        return SUCCESS, WORDS[int(error)]

    def cuGetErrorString(self, error):
        assert isinstance(error, driver.CUresult)
        return DRIVER_SUCCESS, WORDS[int(error)]

    def _check_stream(self, stream) -> None:
        assert not self.live or ("stream", int(stream)) in self.live


class _Facade:
    """One module of cuda-bindings with simulated functions; everything else is real."""

    def __init__(self, fake: FakeCuda, real: ModuleType) -> None:
        self._fake, self._real = fake, real

    def __getattr__(self, name: str):
        real = getattr(self._real, name)
        if not hasattr(FakeCuda, name):
            assert isinstance(real, (type, int)), f"{name} is not faked"
            return real
        signature = inspect.signature(real)

        def function(*arguments):
            signature.bind(*arguments)
            self._fake.calls.append(name)
            if name in self._fake.failures:
                return (self._fake.failures[name], None)
            return getattr(self._fake, name)(*arguments)

        function.__name__ = name
        return function
