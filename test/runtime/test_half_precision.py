"""Half-precision graphs against their originals: results and element types."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="rewrites ONNX graphs")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from depth_anything_ros.runtime import gate
from depth_anything_ros.runtime.engines.half_precision import float32_nodes, typed_graph
from depth_anything_ros.runtime.errors import ModelError

BUNDLED = sorted((Path(__file__).parents[2] / "depth_anything_ros" / "zoo" / "bundled").glob("*.onnx"))
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model) if isinstance(model, Path) else model.SerializeToString(), options)


def batch_for(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    """An image in the layout of the graph's input."""
    sides = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    if sides[3] == 3:
        return cv2.resize(image, (sides[2], sides[1]))[None]
    return (cv2.resize(image, (sides[3], sides[2])).transpose(2, 0, 1)[None] / 255).astype(np.float32)


def assert_same_depth(path: Path, precision: str) -> onnx.ModelProto:
    model = typed_graph(path, precision)
    onnx.checker.check_model(model, full_check=True)
    before, after = session(path), session(model)
    for image in gate.images()[:2]:
        feed = {before.get_inputs()[0].name: batch_for(model, image)}
        expected, given = (one.run(None, feed)[0].squeeze() for one in (before, after))
        assert given.dtype == np.float32
        verdict = gate.compare(expected, given, gate.LIMITS["fp16"])
        assert verdict.passed, verdict
    return model


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def save(path: Path, nodes, shape=(1, 3, 8, 8), output=(1, 3, 8, 8), initializers=(), opset=17, inputs=FLOAT) -> Path:
    """A graph from ``x`` to ``y``; the initializers are NumPy arrays by name."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", inputs, shape)],
        [helper.make_tensor_value_info("y", FLOAT, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(initializers).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, {"key": "kept"})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("precision", ["fp16", "mixed"])
class TestNetworks:
    @pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
    def test_bundled_model_keeps_depth_in_half_precision(self, path, precision):
        model = assert_same_depth(path, precision)
        before = onnx.load(path, load_external_data=False)
        assert model.metadata_props == before.metadata_props
        assert model.graph.input == before.graph.input
        assert model.graph.output == before.graph.output
        assert not any(tensor.external_data for tensor in model.graph.initializer)

    def test_fastdepth_keeps_depth_in_half_precision(self, shared, precision):
        model = assert_same_depth(shared / "models" / "fastdepth_nyu_224x224.onnx", precision)
        assert [value.name for value in model.graph.input] == ["0"]  # its weights were inputs, too

    def test_export_keeps_depth_in_half_precision(self, exported, precision):
        assert_same_depth(exported, precision)


def test_fp16_passes_gate_with_rounding_after_each_operator():
    """ONNX Runtime on a CPU fuses operators and rounds less; ONNX's reference rounds after each."""
    path = next(path for path in BUNDLED if "140x140" in path.name)
    original, model = typed_graph(path, "fp32"), typed_graph(path, "fp16")
    feed = {"image": batch_for(model, gate.images()[0])}
    expected, given = (ReferenceEvaluator(one).run(None, feed)[0].squeeze() for one in (original, model))
    verdict = gate.compare(expected, given, gate.LIMITS["fp16"])
    assert verdict.passed, verdict


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    pytest.importorskip("torch", reason="exports are made from PyTorch networks")
    from random_models import random_model

    from depth_anything_ros.export.onnx import export_onnx
    from depth_anything_ros.zoo.record import ModelRecord

    path = tmp_path_factory.mktemp("half") / "tiny.onnx"
    record = ModelRecord("tiny", "depth", "MIT", encoder="tiny", version="v2", max_depth=20.0)
    export_onnx(random_model("tiny", max_depth=20.0), record, (84, 112), path)
    return path


@pytest.fixture(scope="module")
def types_of() -> dict[str, tuple[onnx.ModelProto, dict[str, int]]]:
    """The bundled network by precision, with the element types of its tensors."""
    models = {precision: typed_graph(BUNDLED[0], precision) for precision in ("fp32", "fp16", "mixed")}
    return {precision: (model, element_types(model)) for precision, model in models.items()}


class TestTypes:
    """Element types of the bundled network's tensors."""

    def test_fp16_keeps_only_output_and_scales_in_float32(self, types_of):
        model, types = types_of["fp16"]
        scales = {node.input[2] for node in model.graph.node if node.op_type == "Resize"} - {""}
        floats = {name for name, element_type in types.items() if element_type == FLOAT}
        assert floats == scales | {model.graph.output[0].name}
        assert Counter(node.op_type for node in model.graph.node)["Cast"] == 2  # of the pixels and of the depth

    def test_pixels_are_cast_before_transpose(self, types_of):
        first = types_of["fp16"][0].graph.node[0]
        assert (first.op_type, first.input[0]) == ("Cast", "image")
        assert helper.get_node_attr_value(first, "to") == HALF

    @pytest.mark.parametrize("operator", ["LayerNormalization", "Softmax"])
    def test_mixed_normalizes_in_float32(self, types_of, operator):
        model, types = types_of["mixed"]
        nodes = [node for node in model.graph.node if node.op_type == operator]
        assert nodes
        assert {types[name] for node in nodes for name in (*node.input, *node.output)} == {FLOAT}

    def test_mixed_computes_head_in_float32(self, types_of):
        model, types = types_of["mixed"]
        convolutions = [types[node.output[0]] for node in model.graph.node if node.op_type == "Conv"]
        assert convolutions[-3:] == [HALF, FLOAT, FLOAT]
        assert set(convolutions[:-2]) == {HALF}
        assert {types[node.output[0]] for node in model.graph.node if node.op_type == "MatMul"} == {HALF}

    def test_fp32_has_no_half_tensors(self, types_of):
        assert HALF not in types_of["fp32"][1].values()

    def test_weights_are_rounded_once(self, types_of):
        """What is computed from weights alone is computed in float32."""
        single = {tensor.name: tensor for tensor in types_of["fp32"][0].graph.initializer}
        for tensor in types_of["fp16"][0].graph.initializer:
            if tensor.data_type == HALF:
                expected = numpy_helper.to_array(single[tensor.name.removesuffix("/half")]).astype(np.float16)
                np.testing.assert_array_equal(numpy_helper.to_array(tensor), expected)


class TestNodes:
    """Graphs of a few nodes each."""

    def run(self, model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
        onnx.checker.check_model(model, full_check=True)
        return ReferenceEvaluator(model).run(None, {"x": x})[0]

    def test_metadata_and_outer_types_are_kept(self, tmp_path):
        model = typed_graph(save(tmp_path / "g.onnx", [helper.make_node("Relu", ["x"], ["y"])]), "fp16")
        assert {entry.key: entry.value for entry in model.metadata_props} == {"key": "kept"}
        assert [node.op_type for node in model.graph.node] == ["Cast", "Relu", "Cast"]
        np.testing.assert_array_equal(self.run(model, np.full((1, 3, 8, 8), 1 / 3, np.float32)), np.float16(1 / 3))

    def test_sizes_above_2048_are_exact(self, tmp_path):
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["float_shape"], to=FLOAT),
            helper.make_node("Mul", ["float_shape", "one"], ["scaled"]),
            helper.make_node("Cast", ["scaled"], ["sizes"], to=TensorProto.INT64),
            helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
        ]
        path = save(tmp_path / "g.onnx", nodes, (1, 2049), ("rows", "columns"), {"one": np.float32(1)})
        (given,) = session(typed_graph(path, "fp16")).run(None, {"x": np.zeros((1, 2049), np.float32)})
        assert given.shape == (1, 2049)

    def test_tensor_of_both_types_is_cast_once(self, tmp_path):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Softmax", ["a"], ["b"]),
            helper.make_node("LogSoftmax", ["a"], ["c"]),
            helper.make_node("Add", ["b", "c"], ["d"]),
            helper.make_node("Mul", ["d", "a"], ["y"]),
        ]
        model = typed_graph(save(tmp_path / "g.onnx", nodes), "mixed")
        assert sum(node.op_type == "Cast" and node.input[0] == "a/half" for node in model.graph.node) == 1
        self.run(model, np.ones((1, 3, 8, 8), np.float32))

    def test_tensor_name_with_half_suffix_is_no_conflict(self, tmp_path):
        nodes = [helper.make_node("Relu", ["x"], ["x/half"]), helper.make_node("Mul", ["x", "x/half"], ["y"])]
        model = typed_graph(save(tmp_path / "g.onnx", nodes), "fp16")
        np.testing.assert_array_equal(self.run(model, np.full((1, 3, 8, 8), 3, np.float32)), 9)

    @pytest.mark.parametrize("value", [None, 2.5])
    def test_constant_of_shape_is_converted(self, tmp_path, value):
        attributes = {} if value is None else {"value": helper.make_tensor("v", FLOAT, [1], [value])}
        nodes = [
            helper.make_node("Shape", ["x"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["filled"], **attributes),
            helper.make_node("Add", ["x", "filled"], ["y"]),
        ]
        model = typed_graph(save(tmp_path / "g.onnx", nodes), "fp16")
        assert element_types(model)["filled/half"] == HALF
        np.testing.assert_array_equal(self.run(model, np.ones((1, 3, 8, 8), np.float32)), 1 + (value or 0.0))

    def test_constant_nodes_are_converted(self, tmp_path):
        nodes = [
            helper.make_node("Constant", [], ["a"], value_float=2.0),
            helper.make_node("Constant", [], ["b"], value=helper.make_tensor("v", FLOAT, [1], [3.0])),
            helper.make_node("Mul", ["x", "a"], ["c"]),
            helper.make_node("Add", ["c", "b"], ["y"]),
        ]
        model = typed_graph(save(tmp_path / "g.onnx", nodes), "fp16")
        assert {tensor.data_type for tensor in model.graph.initializer} == {HALF}
        np.testing.assert_array_equal(self.run(model, np.ones((1, 3, 8, 8), np.float32)), 5)

    def test_decomposed_layernorm_overflows_only_in_fp16(self, tmp_path):
        nodes = [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[-1]),
            helper.make_node("Sub", ["x", "mean"], ["centered"]),
            helper.make_node("Pow", ["centered", "two"], ["square"]),
            helper.make_node("ReduceMean", ["square"], ["variance"], axes=[-1]),
            helper.make_node("Add", ["variance", "epsilon"], ["positive"]),
            helper.make_node("Sqrt", ["positive"], ["deviation"]),
            helper.make_node("Div", ["centered", "deviation"], ["y"]),
        ]
        constants = {"two": np.float32(2), "epsilon": np.float32(1e-6)}
        path = save(tmp_path / "g.onnx", nodes, (1, 8), (1, 8), constants)
        x = 600 * np.arange(-3.5, 4).astype(np.float32)[None]
        expected = x / np.sqrt((x**2).mean())
        np.testing.assert_allclose(self.run(typed_graph(path, "mixed"), x), expected, rtol=2e-3)
        with np.errstate(over="ignore"):
            assert np.abs(self.run(typed_graph(path, "fp16"), x) - expected).max() > 0.5

    def test_head_output_is_finer_than_half_precision(self, tmp_path):
        nodes = [
            helper.make_node("Resize", ["x", "", "scales"], ["large"], mode="nearest"),
            helper.make_node("Conv", ["large", "weight"], ["depth"]),
            helper.make_node("Mul", ["depth", "range"], ["y"]),
        ]
        constants = {
            "scales": np.array([1, 1, 2, 2], np.float32),
            "weight": np.full((1, 1, 1, 1), 0.123, np.float32),
            "range": np.float32(80),
        }
        path = save(tmp_path / "g.onnx", nodes, (1, 1, 4, 4), (1, 1, 8, 8), constants)
        x = np.full((1, 1, 4, 4), 8, np.float32)
        np.testing.assert_allclose(self.run(typed_graph(path, "mixed"), x), 8 * 0.123 * 80, rtol=1e-6)
        assert np.abs(self.run(typed_graph(path, "fp16"), x) - 8 * 0.123 * 80).max() > 0.01

    def test_head_without_resize_starts_at_last_convolution(self, tmp_path):
        nodes = [
            helper.make_node("Conv", ["x", "weight"], ["a"], name="first"),
            helper.make_node("Conv", ["a", "weight"], ["b"], name="last"),
            helper.make_node("Relu", ["b"], ["y"], name="behind"),
        ]
        path = save(tmp_path / "g.onnx", nodes, initializers={"weight": np.ones((3, 3, 1, 1), np.float32)})
        assert float32_nodes(typed_graph(path, "fp32")) == {"last", "behind"}


class TestRefusals:
    @pytest.mark.parametrize("precision", ["fp16", "mixed"])
    def test_weight_above_half_range_is_named(self, tmp_path, precision):
        constants = {"huge": np.full(8, 7e4, np.float32)}
        path = save(tmp_path / "g.onnx", [helper.make_node("Mul", ["x", "huge"], ["y"])], initializers=constants)
        with pytest.raises(ModelError, match=r"g\.onnx: tensor 'huge' holds 70000"):
            typed_graph(path, precision)
        typed_graph(path, "fp32")

    def test_weight_below_half_range_becomes_zero(self, tmp_path):
        constants = {"small": np.full(8, 1e-12, np.float32)}
        path = save(tmp_path / "g.onnx", [helper.make_node("Add", ["x", "small"], ["y"])], initializers=constants)
        (tensor,) = typed_graph(path, "fp16").graph.initializer
        assert not numpy_helper.to_array(tensor).any()

    def test_control_flow_is_rejected(self, tmp_path):
        branch = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["z"])], "b", [], [helper.make_empty_tensor_value_info("z")]
        )
        node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
        path = save(tmp_path / "g.onnx", [node], initializers={"yes": np.array(True)})
        with pytest.raises(ModelError, match="control flow"):
            typed_graph(path, "fp16")

    @pytest.mark.parametrize("content", [b"", b"no graph", None], ids=["empty", "foreign", "absent"])
    def test_invalid_file_raises_with_name(self, tmp_path, content):
        path = tmp_path / "g.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match=r"g\.onnx"):
            typed_graph(path, "fp16")

    def test_missing_weights_raise_with_name(self, tmp_path):
        path = tmp_path / BUNDLED[0].name
        path.write_bytes(BUNDLED[0].read_bytes())
        with pytest.raises(ModelError, match=BUNDLED[0].stem):
            typed_graph(path, "fp16")

    def test_unknown_precision_raises(self):
        with pytest.raises(ValueError, match="int4"):
            typed_graph(BUNDLED[0], "int4")
