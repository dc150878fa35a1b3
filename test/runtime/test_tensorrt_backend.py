"""TensorRT behind the estimator, with a simulated GPU: wrong engines are replaced, correct ones kept."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("cuda.bindings", reason="the extra `tensorrt`")
pytest.importorskip("onnx", reason="builds the graphs that are run")

from confidence_models import write_confidence_model, write_free_batch_model
from fake_cuda import FakeCuda
from fake_tensorrt import DataType, FakePlan, FakeTensorRt, Tensor, TensorIOMode, image_plan, installed
from host_kernels import HostKernels
from small_graphs import red_graph, relative_record, save_graph

from depth_anything_ros.runtime.backends import tensorrt_backend
from depth_anything_ros.runtime.cuda import driver as cuda_driver
from depth_anything_ros.runtime.cuda.driver import CudaDevice
from depth_anything_ros.runtime.engines.cache import EngineCache
from depth_anything_ros.runtime.errors import UnavailableError
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.record import ModelFile

SIZE = (24, 32)
BUILDER = "depth_anything_ros.runtime.engines.tensorrt_build"


def right(batch: np.ndarray) -> np.ndarray:
    return batch[..., 0]


def nan(batch: np.ndarray) -> np.ndarray:
    return np.full(batch.shape[:3], np.nan)


def scaled(batch: np.ndarray) -> np.ndarray:
    return 1.5 * batch[..., 0]


class Gpu:
    """A simulated machine: the result of its builder for each precision, and the number of builds."""

    def __init__(self, module: FakeTensorRt) -> None:
        self.module = module
        self.makes = {"fp16": right, "mixed": right, "fp32": right}
        self.plan_of = lambda shape, function: image_plan(shape, shape[:3], function)
        self.built: list[str] = []

    def build_plan(self, graph, precision, shape, **options) -> bytes:
        self.built.append(precision)
        plan = f"{precision} {len(self.built)}".encode()
        self.module.plans[plan] = self.plan_of(shape, self.makes[precision])
        return plan


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> HostKernels:
    return HostKernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def gpu(kernels, monkeypatch, tmp_path) -> Iterator[Gpu]:
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    with installed(FakeCuda(kernels), monkeypatch) as (module, _):
        gpu = Gpu(module)
        builder = ModuleType(BUILDER)
        builder.build_plan = gpu.build_plan
        monkeypatch.setitem(sys.modules, BUILDER, builder)
        name_gpu(monkeypatch, "NVIDIA Test")
        yield gpu


def name_gpu(monkeypatch, name: str) -> None:
    device = CudaDevice(0, name, "8.9", integrated=False)
    monkeypatch.setattr(cuda_driver, "devices", lambda: (device,))


@pytest.fixture
def red(tmp_path):
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


def assert_right(estimator: Estimator) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    np.testing.assert_allclose(estimator.estimate(image), image[..., 0], atol=1)


def test_correct_tensorrt_engine_is_built_once(gpu, red):
    first = Estimator(red, "tensorrt")
    assert (first.backend_name, first.precision) == ("tensorrt", "fp16")
    assert_right(first)
    assert_right(Estimator(red, "tensorrt"))
    assert gpu.built == ["fp16"]
    (engine,) = EngineCache().engines()
    assert engine.sidecar["key"]["device"] == "NVIDIA Test 8.9"
    assert "correlation" in engine.sidecar["gate"]


def told(*types: str) -> str:
    """Layers as TensorRT's inspector reports them."""
    return json.dumps({"Layers": [{"Name": name, "Outputs": [{"Format/Datatype": name}]} for name in types]})


@pytest.mark.parametrize(
    ("layers", "precision"),
    [
        (told("Row major linear FP32", "Float"), "fp32"),
        (told("Float", "Half"), "fp16"),
        (told("Row major linear FP16 format", "Row major linear FP32"), "fp16"),
        (told("N/A due to dynamic shapes", "Int32"), "fp16"),
        (json.dumps({"Layers": ["names", "alone"]}), "fp16"),
        ("", "fp16"),
    ],
    ids=["float", "half", "FP16", "unknown", "names", "nothing"],
)
def test_engine_with_wrong_layer_precision_is_rejected(gpu, red, caplog, layers, precision):
    """Right depth at half the speed, and nobody would know."""
    gpu.plan_of = lambda shape, function: replace(image_plan(shape, shape[:3], function), layers=layers)
    with caplog.at_level(logging.WARNING):
        assert Estimator(red, "tensorrt").precision == precision
    assert ("no layer in half precision, although fp16 was requested" in caplog.text) == (precision == "fp32")
    built = gpu.built.copy()
    assert Estimator(red, "tensorrt").precision == precision
    assert gpu.built == built  # nor is what was refused built at every start


@pytest.mark.parametrize("damage", [nan, scaled])
def test_wrong_engine_falls_back_to_safer_precision_with_message(gpu, red, caplog, damage):
    gpu.makes.update(fp16=damage, mixed=damage)
    with caplog.at_level(logging.WARNING):
        estimator = Estimator(red, "tensorrt")
    assert estimator.precision == "fp32"
    assert_right(estimator)
    assert "tensorrt fp16 refused" in caplog.text
    assert "tensorrt mixed refused" in caplog.text
    assert_right(Estimator(red, "tensorrt"))
    assert gpu.built == ["fp16", "mixed", "fp32"], "what was refused is not built at every start"


def test_tensorrt_without_correct_precision_raises(gpu, red):
    gpu.makes.update(fp16=nan, mixed=scaled, fp32=scaled)
    with pytest.raises(ModelError, match="gives wrong depth"):
        Estimator(red, "tensorrt")


def test_auto_falls_back_from_wrong_tensorrt_engine(gpu, red):
    gpu.makes.update(fp16=nan, mixed=scaled, fp32=scaled)
    estimator = Estimator(red)
    assert estimator.backend_name != "tensorrt"
    assert "refused: tensorrt fp16" in estimator.provenance
    assert_right(estimator)


def test_tensorrt_outputs_follow_record(gpu, tmp_path):
    path = write_confidence_model(tmp_path / "sure.onnx", SIZE, confidence_first=True)
    tensors = [
        Tensor("image", TensorIOMode.INPUT, DataType.UINT8, (1, *SIZE, 3)),
        Tensor("confidence", TensorIOMode.OUTPUT, DataType.FLOAT, (1, *SIZE)),
        Tensor("inverse_depth", TensorIOMode.OUTPUT, DataType.FLOAT, (1, *SIZE)),
    ]
    gpu.plan_of = lambda shape, function: FakePlan(tensors, lambda batch: (batch[..., 1] / 255, batch[..., 0] / 255))
    estimator = Estimator(path, "tensorrt")
    assert (estimator.backend_name, estimator.precision) == ("tensorrt", "fp16")
    assert estimator.gives_confidence
    image, confidence = (
        np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8),
        np.empty(SIZE, np.float32),
    )
    np.testing.assert_allclose(estimator.estimate(image, confidence=confidence), image[..., 0] / 255, atol=0.01)
    np.testing.assert_allclose(confidence, image[..., 1] / 255, atol=0.01)


def test_tensorrt_runs_batch_one_by_one(gpu, tmp_path):
    estimator = Estimator(write_free_batch_model(tmp_path / "free.onnx", SIZE), "tensorrt", gated=False)
    assert not estimator.batches
    images = [np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8) for seed in range(3)]
    for image, values in zip(images, estimator.estimate_batch(images), strict=True):
        np.testing.assert_array_equal(values, estimator.estimate(image))


def test_auto_prefers_tensorrt(gpu, red):
    assert Estimator(red).backend_name == "tensorrt"


def test_engine_that_became_wrong_is_rejected_at_load(gpu, red):
    Estimator(red, "tensorrt")
    for plan in gpu.module.plans.values():
        plan.function = scaled
    estimator = Estimator(red, "tensorrt")
    assert estimator.precision == "mixed"
    assert_right(estimator)


def test_plan_rejected_by_tensorrt_is_rebuilt(gpu, red, caplog):
    Estimator(red, "tensorrt")
    gpu.module.plans.clear()
    assert_right(Estimator(red, "tensorrt"))
    assert gpu.built == ["fp16", "fp16"]
    assert "TensorRT rejects it" in caplog.text


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content + b"x"])
def test_damaged_plan_file_is_rebuilt(gpu, red, damage):
    Estimator(red, "tensorrt")
    (engine,) = EngineCache().engines()
    path = engine.path(tensorrt_backend.PLAN)
    path.write_bytes(damage(path.read_bytes()))
    assert_right(Estimator(red, "tensorrt"))
    assert gpu.built == ["fp16", "fp16"]


def test_tensorrt_version_with_known_defect_warns_at_every_start(gpu, tmp_path, caplog):
    record = relative_record(input_size=SIZE, encoder="vits", version="v2")
    transformer = save_graph(red_graph(SIZE, record), tmp_path / "vits.onnx")
    for _ in range(2):
        caplog.clear()
        Estimator(transformer, "tensorrt")
        assert "TensorRT 10.3.0 computes vision transformers wrongly" in caplog.text


def test_too_old_tensorrt_is_unavailable_with_required_version(gpu, red, monkeypatch):
    monkeypatch.setattr(gpu.module, "__version__", "8.5.3.1", raising=False)
    with pytest.raises(UnavailableError, match=r"TensorRT 8\.5\.3\.1 is too old.*pip install tensorrt-cu13"):
        Estimator(red, "tensorrt")
    assert Estimator(red).backend_name != "tensorrt"


def test_other_gpu_or_version_builds_its_own_engine(gpu, red, monkeypatch):
    Estimator(red, "tensorrt")
    name_gpu(monkeypatch, "NVIDIA Other")
    Estimator(red, "tensorrt")
    monkeypatch.setattr(gpu.module, "__version__", "10.13.3", raising=False)
    Estimator(red, "tensorrt")
    assert gpu.built == ["fp16"] * 3
    assert len(EngineCache().engines()) == 3


def test_changed_weights_build_new_engine(gpu, red):
    Estimator(red, "tensorrt")
    save_graph(red_graph(SIZE, relative_record(input_size=SIZE), gain=0.5), red)
    gpu.makes["fp16"] = lambda batch: 0.5 * batch[..., 0]
    Estimator(red, "tensorrt")
    assert gpu.built == ["fp16"] * 2


class TestSizes:
    """One engine is built, for the camera's size, because a build takes minutes on a Jetson."""

    @pytest.fixture
    def free(self, tmp_path):
        record = relative_record(input_size=(24, 24), input_multiple=2)
        return save_graph(red_graph(None, record), tmp_path / "free.onnx")

    @pytest.fixture
    def folder(self, tmp_path):
        """A model of three shapes; the bundled one has five."""
        folder = tmp_path / "model"
        folder.mkdir()
        sizes = ((24, 32), (18, 32), (12, 40))
        for height, width in sizes:
            save_graph(red_graph((height, width)), folder / f"red_{height}x{width}.onnx")
        files = tuple(ModelFile(f"red_{height}x{width}.onnx", None, (height, width)) for height, width in sizes)
        (folder / "record.json").write_text(relative_record(input_size=SIZE, files=files).to_json())
        return folder

    @pytest.mark.parametrize("camera", [(48, 64), (36, 64), (64, 48)])
    def test_graph_of_free_size_builds_engine_for_first_image(self, gpu, free, camera):
        estimator = Estimator(free, "tensorrt")
        assert (gpu.built, estimator.waits_for_image) == ([], True)
        assert "built and checked at the first image" in estimator.provenance
        assert not estimator.batches
        assert not estimator.gives_confidence
        assert estimator.engines() == []
        image = np.full((*camera, 3), 90, np.uint8)
        np.testing.assert_allclose(estimator.estimate(image), 90, atol=1)
        assert (gpu.built, estimator.waits_for_image) == (["fp16"], False)
        (engine,) = estimator.engines()
        assert tuple(engine.sidecar["key"]["shape"]) == (1, *estimator.input_size_for(*camera), 3)
        estimator.estimate(image)
        assert estimator.gate_result.startswith("passed")
        assert gpu.built == ["fp16"]

    def test_false_free_size_claim_is_rejected_without_engine(self, gpu, tmp_path):
        model = red_graph(None, relative_record(input_size=SIZE), baked=SIZE)
        with pytest.raises(ModelError, match=r"gave an output of \(24, 32\)"):
            Estimator(save_graph(model, tmp_path / "baked.onnx"), "tensorrt")
        assert gpu.built == []

    def test_free_size_claim_is_checked_once(self, gpu, free, caplog):
        Estimator(free, "tensorrt")
        caplog.clear()
        with caplog.at_level(logging.INFO):
            Estimator(free, "tensorrt")
        assert "computing the reference" not in caplog.text

    def test_model_of_several_sizes_builds_engine_for_camera(self, gpu, folder):
        estimator = Estimator(folder, "tensorrt")
        assert gpu.built == []
        estimator.estimate(np.zeros((36, 64, 3), np.uint8) + np.arange(64, dtype=np.uint8)[:, None])
        (engine,) = EngineCache().engines()
        assert engine.sidecar["key"]["shape"] == [1, 18, 32, 3]

    def test_requested_size_is_built_at_once(self, gpu, folder, free):
        Estimator(folder, "tensorrt", size=(12, 40))
        assert gpu.built == ["fp16"]
        estimator = Estimator(free, "tensorrt")
        estimator.load_for(480, 640)
        assert gpu.built == ["fp16"] * 2
        assert not estimator.waits_for_image

    def test_load_all_sizes_builds_all_engines(self, gpu, folder, free):
        estimator = Estimator(folder, "tensorrt")
        estimator.load_all_sizes()
        assert {tuple(engine.sidecar["key"]["shape"]) for engine in estimator.engines()} == {
            (1, 24, 32, 3),
            (1, 18, 32, 3),
            (1, 12, 40, 3),
        }
        estimator = Estimator(free, "tensorrt")
        estimator.load_all_sizes()
        assert len(estimator.engines()) == 1

    def test_cpu_fallback_at_first_image_warns(self, gpu, free, monkeypatch, caplog):
        monkeypatch.setitem(sys.modules, BUILDER, None)
        estimator = Estimator(free)
        assert (estimator.waits_for_image, estimator.unused_gpu) == (True, "")
        for _ in range(2):
            np.testing.assert_allclose(estimator.estimate(np.full((48, 64, 3), 90, np.uint8)), 90, atol=1)
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        (idle,) = (text for text in warnings if text.startswith("NVIDIA Test is idle"))
        assert "tensorrt fp16: backend 'tensorrt' cannot be imported" in idle
        assert estimator.unused_gpu == idle

    def test_wrong_engine_falls_back_at_first_image(self, gpu, free):
        gpu.makes.update(fp16=nan, mixed=scaled, fp32=scaled)
        estimator = Estimator(free)
        assert estimator.backend_name == "tensorrt"
        np.testing.assert_allclose(estimator.estimate(np.full((48, 64, 3), 90, np.uint8)), 90, atol=1)
        assert estimator.backend_name != "tensorrt"
        assert "refused: tensorrt fp16" in estimator.provenance

    def test_tensorrt_without_gpu_is_unavailable(self, gpu, free, monkeypatch):
        monkeypatch.setattr(cuda_driver, "devices", lambda: ())
        with pytest.raises(UnavailableError, match="needs an NVIDIA GPU"):
            Estimator(free, "tensorrt")
        estimator = Estimator(free)
        assert estimator.backend_name != "tensorrt"
        assert not estimator.waits_for_image
