"""Reading an .onnx file: the same description as the libraries give, and never a crash."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="builds the graphs that are read")

import onnx
import onnxruntime
from confidence_models import write_confidence_model
from onnx import numpy_helper
from small_graphs import normalized_graph, red_graph, relative_record, save_graph

from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.runtime.graph import read_graph
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER

SIZE = (24, 32)


@pytest.mark.parametrize(
    ("model", "layout", "size"),
    [
        (red_graph(SIZE, relative_record()), "uint8_nhwc", SIZE),
        (red_graph(None, relative_record()), "uint8_nhwc", None),
        (normalized_graph(SIZE, 1), "float_nchw", SIZE),
    ],
    ids=["fixed", "free", "float"],
)
def test_read_graph_matches_onnxruntime(model, layout, size, tmp_path):
    path = save_graph(model, tmp_path / "graph.onnx")
    graph = read_graph(path)
    assert (graph.layout, graph.input_size, graph.weights) == (layout, size, ())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert graph.metadata == session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("path", sorted(BUNDLED_FOLDER.glob("*.onnx")), ids=lambda path: path.stem)
def test_bundled_graphs_name_their_weights(path):
    graph = read_graph(path)
    assert graph.weights == (BUNDLED_FOLDER / "tiny.safetensors",)
    height, width = path.stem.split("_")[1].split("x")
    assert graph.input_size == (int(height), int(width))


def test_batch_shape_follows_layout(tmp_path):
    pixels = read_graph(save_graph(red_graph(SIZE), tmp_path / "a.onnx"))
    planes = read_graph(save_graph(normalized_graph(SIZE, 0), tmp_path / "b.onnx"))
    assert pixels.batch_shape(SIZE, 2) == (2, 24, 32, 3)
    assert planes.batch_shape(SIZE) == (1, 3, 24, 32)


def test_batch_and_outputs_are_read(tmp_path):
    free = read_graph(save_graph(red_graph(SIZE), tmp_path / "a.onnx"))
    fixed = read_graph(save_graph(normalized_graph(SIZE, 0), tmp_path / "b.onnx"))
    assert (free.batch, fixed.batch) == (None, 1)
    assert free.outputs == fixed.outputs == ("output",)
    both = read_graph(write_confidence_model(tmp_path / "c.onnx", SIZE))
    assert (both.batch, both.outputs, both.input_size) == (1, ("inverse_depth", "confidence"), SIZE)


def test_initializer_listed_as_input_is_ignored(tmp_path):
    model = red_graph(SIZE)
    model.graph.input.append(onnx.helper.make_tensor_value_info("gain", onnx.TensorProto.FLOAT, []))
    assert read_graph(save_graph(model, tmp_path / "old.onnx")).input_size == SIZE


def test_graph_with_two_inputs_is_rejected(tmp_path):
    model = red_graph(SIZE)
    model.graph.input.append(onnx.helper.make_tensor_value_info("prompt", onnx.TensorProto.FLOAT, [1]))
    with pytest.raises(ModelError, match="has 2 inputs"):
        read_graph(save_graph(model, tmp_path / "two.onnx"))


def test_float16_input_is_rejected(tmp_path):
    model = red_graph(SIZE)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    with pytest.raises(ModelError, match=r"its input is float16 .* must keep a float32 input"):
        read_graph(save_graph(model, tmp_path / "half.onnx"))


def test_hashes_of_graph_and_weights_are_independent(tmp_path):
    def write(folder: str, weights: float, gain: float):
        model = red_graph(SIZE, gain=gain)
        model.graph.initializer.append(numpy_helper.from_array(np.full(4, weights, np.float32), "unused"))
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "graph.onnx"
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=8)
        return read_graph(path)

    first, other_weights, other_graph = write("a", 1, 1), write("b", 2, 1), write("c", 1, 2)
    assert first.sha256 == other_weights.sha256 != other_graph.sha256
    assert first.weights_sha256 == other_graph.weights_sha256 != other_weights.weights_sha256


@settings(max_examples=300)
@given(data=st.data())
def test_damaged_graph_raises_model_error_or_is_read(data, tmp_path_factory):
    whole = red_graph(SIZE, relative_record()).SerializeToString()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged = bytearray(whole)
        for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=8)):
            damaged[position] = data.draw(st.integers(0, 255))
    path: Path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged)
    with contextlib.suppress(ModelError):
        assert read_graph(path).layout in ("uint8_nhwc", "float_nchw")


@pytest.mark.parametrize("number", [5, 11, 12])
def test_graph_part_of_wrong_type_raises(tmp_path, number):
    path = tmp_path / "damaged.onnx"
    graph = bytes([number << 3, 1])  # a varint, where messages belong
    path.write_bytes(bytes([7 << 3 | 2, len(graph)]) + graph)
    with pytest.raises(ModelError, match="not a readable ONNX file, truncated or damaged"):
        read_graph(path)


def test_missing_graph_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.onnx: no such file"):
        read_graph(tmp_path / "nothing.onnx")


@pytest.mark.parametrize(
    "place", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "", "..", "a\\..\\b", "C:/w"]
)
def test_weights_outside_folder_are_rejected(tmp_path, place):
    model = red_graph(SIZE)
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "unused")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    model.graph.initializer.append(tensor)
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    (tmp_path / "inside").mkdir()
    path = save_graph(model, tmp_path / "inside" / "graph.onnx")
    with pytest.raises(ModelError, match="outside its own folder, which is not allowed"):
        read_graph(path)


def test_missing_weights_file_is_named(tmp_path):
    model = red_graph(SIZE)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "unused"))
    path = tmp_path / "graph.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=8)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"its weights are in weights\.bin, which is missing in its folder"):
        read_graph(path)
