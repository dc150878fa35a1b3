"""A simulated TensorRT over `fake_cuda`: plans are NumPy functions that run on the addresses that they get."""

# ruff: noqa: N802

from __future__ import annotations

import enum
import importlib
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from fake_cuda import FakeCuda

from depth_anything_ros.runtime.cuda.driver import CudaDevice


class DataType(enum.Enum):
    UINT8 = "uint8"
    FLOAT = "float32"
    HALF = "float16"


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@dataclass(frozen=True)
class Tensor:
    name: str
    mode: TensorIOMode
    dtype: DataType
    shape: tuple[int, ...]


@dataclass
class FakePlan:
    """The content of a plan: its tensors, and the NumPy function from the input array to the output, or to a tuple."""

    tensors: list[Tensor]
    function: Callable[[np.ndarray], np.ndarray] = field(default=lambda batch: batch)
    has_memory: bool = True
    layers: str = ""  # as the inspector tells them; "" for one that tells nothing


def image_plan(input_shape, output_shape, function, dtype=DataType.UINT8, output_dtype=DataType.FLOAT) -> FakePlan:
    return FakePlan(
        [
            Tensor("image", TensorIOMode.INPUT, dtype, tuple(input_shape)),
            Tensor("depth", TensorIOMode.OUTPUT, output_dtype, tuple(output_shape)),
        ],
        function,
    )


class _Context:
    def __init__(self, module: FakeTensorRt, plan: FakePlan) -> None:
        self._module, self._plan = module, plan
        self._addresses: dict[str, int] = {}
        self._warm = False

    def __del__(self) -> None:
        self._module.freed.append("context")

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert isinstance(address, int)
        self._addresses[name] = address
        return name in {tensor.name for tensor in self._plan.tensors}

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert isinstance(stream_handle, int)
        cuda = self._module.cuda
        if cuda.captured is not None:
            assert self._warm, "TensorRT must be enqueued once before it is captured"
            if self._module.refuses_capture:
                self._module.logger.log(ILogger.ERROR, "operation not permitted when stream is capturing")
                return False
        self._warm = True
        tensors = self._plan.tensors
        addresses = [self._addresses[tensor.name] for tensor in tensors]

        def operation() -> None:
            arrays = []
            for tensor, address in zip(tensors, addresses, strict=True):
                nbytes = int(np.prod(tensor.shape)) * np.dtype(tensor.dtype.value).itemsize
                arrays.append(cuda.memory(address, nbytes).view(tensor.dtype.value).reshape(tensor.shape))
            results = self._plan.function(arrays[0])
            for array, result in zip(arrays[1:], results if len(arrays) > 2 else (results,), strict=True):
                array[...] = result

        cuda.enqueue(operation)
        return True


class LayerInformationFormat(enum.Enum):
    ONELINE = 0
    JSON = 1


@dataclass(frozen=True)
class _Inspector:
    layers: str

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        assert format is LayerInformationFormat.JSON
        return self.layers


class _Engine:
    def __init__(self, module: FakeTensorRt, plan: FakePlan) -> None:
        self._module, self._plan = module, plan
        self._by_name = {tensor.name: tensor for tensor in plan.tensors}
        self.num_io_tensors = len(plan.tensors)

    def __del__(self) -> None:
        self._module.freed.append("engine")

    def get_tensor_name(self, index: int) -> str:
        return self._plan.tensors[index].name

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._by_name[name].mode

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._by_name[name].dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._by_name[name].shape

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector(self._plan.layers)

    def create_execution_context(self) -> _Context | None:
        return _Context(self._module, self._plan) if self._plan.has_memory else None


MODULES = (
    "depth_anything_ros.runtime.backends.tensorrt_messages",
    "depth_anything_ros.runtime.backends.tensorrt_plan",
    "depth_anything_ros.runtime.backends.tensorrt_engine",
)
"""The modules that import TensorRT, each after the one that it needs."""


@contextmanager
def installed(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeTensorRt, ModuleType]]:
    """Install both simulations; yield the one of TensorRT, and `tensorrt_engine` imported again over them."""
    module = FakeTensorRt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    tensorrt_engine = importlib.import_module(MODULES[-1])  # `from` would take what an earlier test imported
    cuda.install(monkeypatch, tensorrt_engine)
    engines = weakref.WeakSet()

    class TensorRtEngine(tensorrt_engine.TensorRtEngine):
        """The engine under test, closed before the simulations are removed."""

        def __init__(self, plan: bytes, device: CudaDevice, *outputs: str | None) -> None:
            super().__init__(plan, device, *outputs)
            engines.add(self)

    monkeypatch.setattr(tensorrt_engine, "TensorRtEngine", TensorRtEngine)
    yield module, tensorrt_engine
    cuda.failures.clear()
    for engine in engines:
        engine.close()
    for name in MODULES:
        sys.modules.pop(name, None)


class FakeTensorRt(ModuleType):
    """The module `tensorrt`; ``plans`` maps serialized plans to their content."""

    __version__ = "10.3.0"

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__("tensorrt")
        self.__spec__ = ModuleSpec("tensorrt", None)
        self.cuda = cuda
        self.plans: dict[bytes, FakePlan] = {}
        self.freed: list[str] = []
        self.starts = True
        self.refuses_capture = False
        self.DataType, self.TensorIOMode, self.ILogger = DataType, TensorIOMode, ILogger
        self.LayerInformationFormat = LayerInformationFormat

    def Runtime(self, logger):
        if not self.starts:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self.logger = logger
        return _Runtime(self)


class _Runtime:
    def __init__(self, module: FakeTensorRt) -> None:
        self._module = module

    def __del__(self) -> None:
        self._module.freed.append("runtime")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> _Engine | None:
        if serialized_engine not in self._module.plans:
            self._module.logger.log(ILogger.ERROR, "Version tag does not match")
            return None
        return _Engine(self._module, self._module.plans[serialized_engine])
