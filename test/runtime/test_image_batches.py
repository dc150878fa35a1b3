"""Batches of images from several cameras give the result of each image alone."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds the graphs that are run")

import onnx
from confidence_models import write_free_batch_model
from known_models import write_red_model
from small_graphs import normalized_graph, red_graph, relative_record, save_graph

from depth_anything_ros.runtime.backends.interface import MAX_BATCH
from depth_anything_ros.runtime.estimator import Estimator, ModelError
from depth_anything_ros.zoo.catalog import known_models

SIZE = (24, 32)
bundled = pytest.mark.skipif(not known_models()["tiny"].files, reason="no bundled model")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def free(tmp_path) -> Path:
    return write_free_batch_model(tmp_path / "free.onnx", SIZE)


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3), dtype=np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]


def counted(estimator: Estimator) -> list[int]:
    """Record the number of images of each later run."""
    counts = []
    for network in estimator._networks.values():
        backend, run = network._backend, network._backend.run

        def counting(batch, run=run):
            counts.append(len(batch))
            return run(batch)

        backend.run = counting
    return counts


def assert_as_each_alone(estimator: Estimator, images: list[np.ndarray], tolerance: float = 1e-5) -> None:
    alone = [estimator.estimate(image) for image in images]
    together = estimator.estimate_batch(images)
    assert len(together) == len(images)
    for expected, values in zip(alone, together, strict=True):
        np.testing.assert_allclose(values, expected, atol=tolerance * np.abs(expected).max())


class TestTogether:
    def test_batch_results_equal_single_results(self, free, backend):
        estimator = Estimator(free, backend, precision="fp32")
        assert estimator.batches
        assert_as_each_alone(estimator, [noise((48, 64), 1), noise((60, 80), 2), noise(SIZE, 3)])

    @pytest.mark.parametrize("count", [1, 2, 3, 6])
    def test_batch_runs_in_chunks_of_max_batch(self, free, backend, count):
        estimator = Estimator(free, backend)
        assert estimator.batches
        counts = counted(estimator)
        estimator.estimate_batch([noise(SIZE, seed) for seed in range(count)])
        assert counts == [min(MAX_BATCH, count - start) for start in range(0, count, MAX_BATCH)]

    def test_batch_results_have_requested_sizes_and_buffers(self, free):
        estimator, images = Estimator(free, "onnxruntime"), [noise((48, 64), 1), noise((60, 80), 2)]
        out = np.zeros((10, 20), np.float32)
        results = estimator.estimate_batch(images, sizes=[None, (10, 20)], outs=[None, out])
        assert [values.shape for values in results] == [(48, 64), (10, 20)]
        assert results[1] is out
        np.testing.assert_allclose(out, estimator.estimate(images[1], (10, 20)), atol=1e-6)

    def test_batch_results_are_not_overwritten(self, free, backend):
        estimator = Estimator(free, backend)
        first = estimator.estimate_batch([np.full((*SIZE, 3), value, np.uint8) for value in (51, 102)])
        estimator.estimate_batch([noise(SIZE)] * 2)
        np.testing.assert_allclose([values.mean() for values in first], [0.2, 0.4], rtol=1e-2)

    def test_batch_accepts_views_and_host_normalization(self, tmp_path):
        model = normalized_graph(SIZE, 1, relative_record(input="float_nchw", input_size=SIZE))
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        estimator = Estimator(save_graph(model, tmp_path / "planes.onnx"), "onnxruntime")
        assert estimator.batches
        assert_as_each_alone(estimator, [noise((48, 64))[..., ::-1], noise((90, 64), 2)[3:51], noise(SIZE, 3)])

    @bundled
    def test_bundled_model_batch_equals_single(self, backend):
        estimator = Estimator("tiny", backend, precision="fp32")
        assert estimator.batches
        cameras = [(480, 640), (720, 1280), (480, 640), (375, 1242), (480, 640), (720, 1280)]
        assert_as_each_alone(estimator, [noise(size, seed) for seed, size in enumerate(cameras)], 1e-4)

    @bundled
    def test_pytorch_batch_equals_single(self):
        pytest.importorskip("torch", reason="the backend is optional: the extra `torch`")
        estimator = Estimator("tiny", "torch", threads=1)
        assert estimator.batches
        assert_as_each_alone(estimator, [noise((140, 182), seed) for seed in range(3)], 1e-4)


class TestOneAfterTheOther:
    def test_fixed_batch_graph_runs_one_by_one(self, tmp_path, backend):
        estimator = Estimator(write_red_model(tmp_path / "red.onnx", SIZE), backend, precision="fp32")
        assert not estimator.batches
        counts = counted(estimator)
        assert_as_each_alone(estimator, [noise(SIZE, seed) for seed in range(3)])
        assert set(counts) == {1}

    @pytest.mark.parametrize("claim", ["gives the first image's map to all", "has one image baked in"])
    def test_graph_with_false_batch_claim_warns_and_runs_one_by_one(self, tmp_path, backend, claim, caplog):
        record = relative_record(input_size=SIZE)
        if claim == "has one image baked in":
            model = red_graph(SIZE, record, baked=SIZE)
        else:
            model = _first_for_all(red_graph(SIZE, record))
        estimator = Estimator(save_graph(model, tmp_path / "claims.onnx"), backend, precision="fp32")
        assert_as_each_alone(estimator, [noise(SIZE, seed) for seed in range(3)])
        assert not estimator.batches
        warnings = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
        assert [text.count("one by one") for text in warnings] == [1]

    @bundled
    @pytest.mark.processor
    def test_int8_model_runs_one_by_one(self, backend, with_built_engine):
        if backend == "openvino":
            pytest.importorskip("nncf", reason="what quantizes for OpenVINO: the extra `openvino-int8`")
        with_built_engine(backend)
        estimator = Estimator("tiny", backend, precision="int8", size=(140, 182))
        assert not estimator.batches
        assert_as_each_alone(estimator, [noise((140, 182), seed) for seed in range(2)])


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sizes": [(3, 4)]}, "2 images, 1 sizes and 2 outs"),
            ({"outs": []}, "2 images, 2 sizes and 0 outs"),
            ({"images": [noise(SIZE), noise(SIZE).astype(np.float32)]}, "image 1: image has dtype float32"),
            ({"sizes": [None, (0, 4)]}, r"image 1: size is \(0, 4\)"),
            ({"outs": [np.empty((3, 4), np.float32), None]}, r"image 0: out is float32 \(3, 4\)"),
        ],
    )
    def test_invalid_batch_raises_before_run(self, free, arguments, message):
        estimator = Estimator(free, "onnxruntime")
        counts = counted(estimator)
        with pytest.raises(ValueError, match=message):
            estimator.estimate_batch(**{"images": [noise(SIZE)] * 2, **arguments})
        assert not counts

    def test_empty_batch_returns_empty_list(self, free):
        assert Estimator(free, "onnxruntime").estimate_batch([]) == []

    def test_failing_image_in_batch_raises(self, tmp_path):
        estimator = Estimator(_fragile(tmp_path / "fragile.onnx"), "onnxruntime", gated=False)
        assert estimator.batches
        with pytest.raises(ModelError, match="ONNX Runtime failed"):
            estimator.estimate_batch([noise(SIZE), np.full((*SIZE, 3), 255, np.uint8)])


LARGE = (518, 686)
"""Its map is of 1.4 MB, its pixels of 1.1 MB."""


def test_batch_of_cameras_allocates_nothing_large(tmp_path, backend):
    estimator = Estimator(write_free_batch_model(tmp_path / "free.onnx", LARGE), backend, precision="fp32")
    images = [noise(size, seed) for seed, size in enumerate([(1080, 1440), (1536, 2048), (480, 640), LARGE])]
    outs = [np.empty(image.shape[:2], np.float32) for image in images]
    for count in (4, 2, 4):
        estimator.estimate_batch(images[:count], outs=outs[:count])
    tracemalloc.start()
    try:
        for count in (4, 2, 4):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            estimator.estimate_batch(images[:count], outs=outs[:count])
            assert tracemalloc.get_traced_memory()[1] - before < 1_000_000
    finally:
        tracemalloc.stop()


def test_buffers_per_batch_size_are_bounded(free, backend):
    estimator = Estimator(free, backend)
    backend = next(iter(estimator._networks.values()))._backend
    for count in range(1, 13):
        backend.run(np.zeros((count, *SIZE, 3), np.uint8))
    kept = backend._bound if hasattr(backend, "_bound") else backend._requests
    assert len(kept) <= 2 * MAX_BATCH


def _first_for_all(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph that repeats the first image's map for all images of the batch."""
    last = model.graph.node[-1]
    (scaled,) = last.input
    del model.graph.node[-1]
    helper = onnx.helper
    model.graph.initializer.append(helper.make_tensor("first", onnx.TensorProto.INT64, [1], [0]))
    model.graph.node.extend(
        [
            helper.make_node("Gather", [scaled, "first"], ["alone"], axis=0),
            helper.make_node("Sub", [scaled, scaled], ["nothing"]),
            helper.make_node("Add", ["alone", "nothing"], list(last.output)),
        ]
    )
    return model


def _fragile(path: Path) -> Path:
    """A graph that looks up red in a table that ends at 254."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Gather", ["image", "zero"], ["red"], axis=3),
        helper.make_node("Cast", ["red"], ["index"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["output"], axis=0),
    ]
    table = onnx.numpy_helper.from_array(np.arange(255, dtype=np.float32), "table")
    model = red_graph(SIZE, relative_record(input_size=SIZE))
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([table, helper.make_tensor("zero", onnx.TensorProto.INT64, [], [0])])
    return save_graph(model, path)
