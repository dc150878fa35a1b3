"""TensorRT on a real GPU matches ONNX Runtime, for batches and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")
pytest.importorskip("cuda.bindings", reason="the extra `tensorrt`")

from small_graphs import open_graph, red_graph, relative_record, save_graph

from depth_anything_ros.images.resizing import resize_image, resize_map
from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.cuda.driver import devices
from depth_anything_ros.runtime.estimator import Estimator
from depth_anything_ros.runtime.model_files import find_model_files
from depth_anything_ros.zoo.catalog import known_models

pytestmark = pytest.mark.gpu

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def engine_of():
    """Build a graph for the first GPU and load it; close it after the test."""
    pytest.importorskip("tensorrt", reason="comes with JetPack, or in NVIDIA's own packages")
    build = pytest.importorskip("depth_anything_ros.runtime.engines.tensorrt_build")
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine

    engines = []

    def make(graph: Path, precision: str = "fp32", shape: tuple[int, ...] = (1, *SIZE, 3)) -> TensorRtEngine:
        engines.append(TensorRtEngine(build.build_plan(graph, precision, shape), devices()[0]))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def red(tmp_path) -> Path:
    return save_graph(red_graph(SIZE, relative_record(input_size=SIZE)), tmp_path / "red.onnx")


def test_gpu_batches_match_onnxruntime(engine_of, red):
    engine, reference = engine_of(red), open_graph(red)
    generator = np.random.default_rng(0)
    for _ in range(5):  # the first is enqueued, the later ones are launches of a CUDA graph
        batch = generator.integers(0, 256, (1, *SIZE, 3), dtype=np.uint8)
        np.testing.assert_allclose(engine.run(batch), reference.run(batch), atol=1e-3)


@pytest.mark.parametrize("camera", [(480, 640), (720, 1280), (17, 20), SIZE])
@pytest.mark.parametrize("view", [slice(None), slice(None, None, -1)], ids=["rgb", "bgr seen as rgb"])
def test_gpu_images_match_cpu(engine_of, red, camera, view):
    engine = engine_of(red)
    assert engine.resizes_on_device, "NVRTC is not installed beside this GPU"
    rows, columns = np.meshgrid(*(np.linspace(0, 3, side) for side in camera), indexing="ij")
    for phase in range(4):
        planes = [127 + 120 * np.sin(rows * gain + columns + phase) for gain in (0.3, 0.7, 1.0)]
        image = np.stack(planes, axis=-1).astype(np.uint8)[..., view]
        batch = np.empty((*SIZE, 3), np.uint8)
        resize_image(image, batch)
        expected = resize_map(batch[..., 0].astype(np.float32), camera)
        np.testing.assert_allclose(engine.estimate(image), expected, atol=2.0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gpu_bundled_model_passes_gate(engine_of, precision):
    if not known_models()["tiny"].files:
        pytest.skip("no bundled model")
    reference = Estimator("tiny", backend="onnxruntime")
    for size, graph in find_model_files("tiny").graphs.items():
        backend = open_graph(graph)
        height, width = size or reference.record.input_size
        engine = engine_of(graph, precision, (1, height, width, 3))
        for image in gate.images():
            batch = np.empty((height, width, 3), np.uint8)
            resize_image(image, batch)
            (expected,) = backend.run(batch[np.newaxis])
            verdict = gate.compare(expected, engine.run(batch[np.newaxis])[0], gate.LIMITS[precision])
            assert verdict.passed, str(verdict)
            on_device = engine.estimate(image, (height, width))
            assert gate.compare(expected, on_device, gate.LIMITS["int8"]).passed  # resizing differs by gray levels


def test_gpu_damaged_plan_raises_model_error(engine_of, red):
    from depth_anything_ros.runtime.backends.tensorrt_engine import TensorRtEngine
    from depth_anything_ros.runtime.errors import ModelError

    engine_of(red)
    with pytest.raises(ModelError, match="rebuild it"):
        TensorRtEngine(b"no plan", devices()[0])


def test_gpu_engines_may_be_created_repeatedly(engine_of, red):
    image = np.full((48, 64, 3), 200, np.uint8)
    for _ in range(3):
        engine = engine_of(red)
        np.testing.assert_allclose(engine.estimate(image), 200, rtol=1e-4)
        engine.close()
