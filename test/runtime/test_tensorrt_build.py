"""Engines from TensorRT's real parser and builder, if a TensorRT is installed that builds without a GPU."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="builds from ONNX graphs")
pytest.importorskip("tensorrt", reason="TensorRT is not installed")

import onnx
import tensorrt as trt
from onnx import TensorProto, helper, numpy_helper
from small_graphs import red_graph, relative_record, save_graph
from waiting import limit

from depth_anything_ros.runtime.backends.tensorrt_messages import warn_of_known_defects
from depth_anything_ros.runtime.engines import tensorrt_build
from depth_anything_ros.runtime.engines.half_precision import typed_graph
from depth_anything_ros.runtime.engines.tensorrt_build import build_plan, float32_layers
from depth_anything_ros.runtime.errors import ModelError

PRECISIONS = ("fp32", "fp16", "mixed")
BUNDLED = sorted((Path(__file__).parents[2] / "depth_anything_ros" / "zoo" / "bundled").glob("*.onnx"))
SMALLEST = next(path for path in BUNDLED if "140x140" in path.name)
FASTDEPTH = "fastdepth_nyu_224x224.onnx"

try:
    trt.Builder(tensorrt_build.MESSAGES)
except TypeError:
    pytest.skip("TensorRT builds nothing without a GPU here", allow_module_level=True)


def shape_of(path: Path) -> tuple[int, ...]:
    sides = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    return tuple(side.dim_value or 1 for side in sides)


def save(path: Path, nodes, inputs: str = "x", initializers=()) -> Path:
    """A graph of small images to ``y``."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 8, 8]) for name in (*inputs, "y")
    }
    graph = helper.make_graph(nodes, "test", [values[name] for name in inputs], [values["y"]], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def convolution(tmp_path) -> Path:
    """A network that builds quickly."""
    weight = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "weight")
    node = helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])
    return save(tmp_path / "convolution.onnx", [node], initializers=[weight])


def build(path: Path, precision: str = "fp16", **options) -> bytes:
    return build_plan(path, precision, shape_of(path), **options)


class Parsed:
    """A graph as TensorRT's parser reads it in a strongly typed network."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.builder = trt.Builder(tensorrt_build.MESSAGES)
        self.network = self.builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self.parser = trt.OnnxParser(self.network, tensorrt_build.MESSAGES)
        assert self.parser.parse(model.SerializeToString())

    def types(self, layer_type) -> list:
        """The output types of the layers of one kind, in their order."""
        layers = [self.network.get_layer(index) for index in range(self.network.num_layers)]
        return [layer.get_output(0).dtype for layer in layers if layer.type == layer_type]


class TestBundled:
    @pytest.mark.parametrize(
        ("path", "precision"),
        [*((path, "fp16") for path in BUNDLED), (SMALLEST, "fp32"), (SMALLEST, "mixed")],
        ids=lambda value: value if isinstance(value, str) else value.stem,
    )
    def test_tensorrt_builds_bundled_graphs(self, path, precision):
        """In every size, and in every precision: the same network."""
        plan = build(path, precision)
        weights = path.parent / "tiny.safetensors"  # in half precision
        assert len(plan) > (2 if precision == "fp32" else 1) * weights.stat().st_size
        assert len(plan) < (3 if precision == "fp32" else 1.5) * weights.stat().st_size

    @pytest.mark.parametrize("size", [(24, 32), None])
    def test_tensorrt_builds_graph_of_gpu_tests(self, tmp_path, size):
        """Which is known here already, and not only there."""
        path = save_graph(
            red_graph(size, relative_record(input_size=(24, 32), input_multiple=2)), tmp_path / "red.onnx"
        )
        assert build_plan(path, "fp16", (1, 24, 32, 3))

    def test_tensorrt_builds_batch_of_two(self):
        assert build_plan(SMALLEST, "fp16", (2, 140, 140, 3))

    @pytest.mark.parametrize(
        ("precision", "products", "normalized"),
        [
            ("fp32", trt.DataType.FLOAT, trt.DataType.FLOAT),
            ("fp16", trt.DataType.HALF, trt.DataType.HALF),
            ("mixed", trt.DataType.HALF, trt.DataType.FLOAT),
        ],
    )
    def test_layer_types_follow_precision(self, precision, products, normalized):
        parsed = Parsed(typed_graph(SMALLEST, precision))
        assert set(parsed.types(trt.LayerType.MATRIX_MULTIPLY)) == {products}
        assert set(parsed.types(trt.LayerType.SOFTMAX)) == {normalized}
        assert set(parsed.types(trt.LayerType.NORMALIZATION)) == {normalized}
        convolutions = parsed.types(trt.LayerType.CONVOLUTION)
        assert set(convolutions[:-2]) == {products}
        assert convolutions[-2:] == [normalized] * 2
        assert parsed.network.get_input(0).dtype == trt.DataType.UINT8
        assert parsed.network.get_output(0).dtype == trt.DataType.FLOAT

    def test_weakly_typed_network_keeps_layers_in_float32(self):
        """What TensorRT 8 is told, on a network of this version."""
        model = typed_graph(SMALLEST, "fp32")
        parsed = Parsed(model)
        layers = float32_layers(parsed.network, model)
        kinds = [layer.type for layer in layers]
        blocks = sum(node.op_type == "Softmax" for node in model.graph.node)
        assert kinds.count(trt.LayerType.SOFTMAX) == blocks
        assert kinds.count(trt.LayerType.NORMALIZATION) == sum(
            node.op_type == "LayerNormalization" for node in model.graph.node
        )
        assert kinds.count(trt.LayerType.CONVOLUTION) == 2
        assert trt.LayerType.MATRIX_MULTIPLY not in kinds


class TestOthers:
    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_tensorrt_builds_fastdepth(self, shared, precision):
        path = shared / "models" / FASTDEPTH
        assert len(build(path, precision)) > (5e6 if precision == "fp32" else 2.5e6)

    def test_tensorrt_builds_vits(self, tmp_path):
        pytest.importorskip("torch", reason="exports are made from PyTorch networks")
        from random_models import random_model

        from depth_anything_ros.export.onnx import export_onnx
        from depth_anything_ros.zoo.record import ModelRecord

        record = ModelRecord("vits", "depth", "MIT", encoder="vits", version="v2", max_depth=20.0)
        path = tmp_path / "vits.onnx"
        export_onnx(random_model("vits", max_depth=20.0), record, (28, 42), path)
        parsed = Parsed(typed_graph(path, "mixed"))
        assert set(parsed.types(trt.LayerType.SOFTMAX)) == {trt.DataType.FLOAT}
        assert set(parsed.types(trt.LayerType.MATRIX_MULTIPLY)) == {trt.DataType.HALF}
        assert 4e7 < len(build(path, "fp16")) < 6e7


class TestProgress:
    def test_build_progress_grows_from_0_to_1(self):
        told = []
        build(SMALLEST, report=lambda phase, fraction: told.append((phase, fraction)))
        fractions = [fraction for _, fraction in told]
        assert fractions == sorted(fractions)
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
        assert len(fractions) > 10
        assert len({phase for phase, _ in told}) > 3

    def test_interrupt_stops_build(self):
        told, sent, arrived = [], threading.Event(), threading.Event()

        def interrupt(*arguments) -> None:
            arrived.set()
            signal.default_int_handler(*arguments)

        def report(phase: str, fraction: float) -> None:
            told.append(fraction)
            if fraction > 0.2 and not sent.is_set():
                sent.set()
                os.kill(os.getpid(), signal.SIGINT)
                arrived.wait(limit(30))  # a small engine would be whole before the main thread's turn comes

        previous = signal.signal(signal.SIGINT, interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                build(SMALLEST, report=report)
        finally:
            signal.signal(signal.SIGINT, previous)
        assert told[-1] < 1.0
        assert "build" not in [thread.name for thread in threading.enumerate()]
        assert build(SMALLEST)  # the next one is not stopped

    def test_exception_in_report_stops_build(self):
        def report(phase: str, fraction: float) -> None:
            if fraction > 0.2:
                raise OSError(f"stopped in {phase}")

        with pytest.raises(OSError, match="stopped in"):
            build(SMALLEST, report=report)


class TestTimingCache:
    """Without a driver TensorRT measures nothing, so its cache is valid but empty."""

    def test_timing_cache_is_written_and_reused(self, convolution, tmp_path, caplog):
        path = tmp_path / "new" / "timing"
        build(convolution, timing_cache=path)
        assert path.read_bytes()
        with caplog.at_level(logging.WARNING):
            build(convolution, timing_cache=path)
        assert not caplog.records
        assert [file.name for file in path.parent.iterdir()] == ["timing"]

    @pytest.mark.parametrize(
        "damage", [lambda whole: b"foreign" * 40, lambda whole: whole[:50]], ids=["foreign", "cut"]
    )
    def test_damaged_timing_cache_is_replaced(self, convolution, tmp_path, caplog, damage):
        path = tmp_path / "timing"
        build(convolution, timing_cache=path)
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        with caplog.at_level(logging.WARNING):
            assert build(convolution, timing_cache=path)
        assert "damaged" in caplog.text
        assert len(path.read_bytes()) == len(whole)


class TestRefusals:
    def test_too_small_workspace_raises(self):
        with pytest.raises(ModelError, match=r"built no engine.*Memory"):
            build(SMALLEST, workspace=1)

    def test_missing_driver_raises(self, convolution, monkeypatch):
        def refuse(messages):
            messages.log(trt.ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

        monkeypatch.setattr(trt, "Builder", refuse)  # what TensorRT 8.6 does; the one installed needs no driver
        with pytest.raises(ModelError, match=r"no NVIDIA driver.*error: 35"):
            build(convolution)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 3, 8)])
    def test_shape_that_graph_rejects_raises(self, convolution, shape):
        with pytest.raises(ModelError, match="does not allow"):
            build_plan(convolution, "fp16", shape)

    def test_build_of_invalid_file_raises(self, tmp_path):
        path = tmp_path / "notes.onnx"
        path.write_text("no graph")
        with pytest.raises(ModelError, match=r"notes\.onnx"):
            build_plan(path, "fp16", (1, 3, 8, 8))

    def test_build_of_two_inputs_raises(self, tmp_path):
        path = save(tmp_path / "two.onnx", [helper.make_node("Add", ["a", "b"], ["y"])], "ab")
        with pytest.raises(ModelError, match="has 2 inputs"):
            build(path)

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_unknown_operators_are_all_named(self, tmp_path, precision):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Bernoulli", ["a"], ["b"], name="first_odd"),
            helper.make_node("Bernoulli", ["b"], ["y"], name="second_odd"),
        ]
        with pytest.raises(ModelError, match=r"first_odd \(Bernoulli\).*second_odd \(Bernoulli\)"):
            build(save(tmp_path / "odd.onnx", nodes), precision)

    def test_build_with_unknown_precision_raises(self, convolution):
        with pytest.raises(ValueError, match="int8"):
            build(convolution, "int8")


class TestKnownDefects:
    @pytest.mark.parametrize("version", ["10.3.0", "10.3.0.30", "10.4.0"])
    def test_defective_tensorrt_version_warns(self, version, caplog):
        warn_of_known_defects(version, vision_transformer=True)
        assert version in caplog.text
        assert "10.12" in caplog.text

    @pytest.mark.parametrize(
        ("version", "transformer"), [("10.3.0", False), ("10.12.0", True), ("8.6.2", True), ("10.30.1", True)]
    )
    def test_version_without_defect_does_not_warn(self, version, transformer, caplog):
        warn_of_known_defects(version, vision_transformer=transformer)
        assert not caplog.records


def test_build_version_is_tensorrt_version():
    assert tensorrt_build.version() == trt.__version__
