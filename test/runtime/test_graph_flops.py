"""FLOPs of a graph, compared with a manual count and with PyTorch on the exported network."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="reads graphs")

from onnx import TensorProto, helper, numpy_helper, save

from depth_anything_ros.bench.flops import count_flops
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER
from depth_anything_ros.zoo.record import ModelRecord


def weight(name: str, *shape: int):
    count = 1
    for side in shape:
        count *= side
    return helper.make_tensor(name, TensorProto.FLOAT, shape, [0.5] * count)


def save_model(tmp_path, nodes, weights, output):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    graph = helper.make_graph(nodes, "test", [image], [output], weights)
    path = tmp_path / "graph.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_flops_of_small_graph_match_manual_count(tmp_path):
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["conv"], strides=[2, 2]),  # to (1, 6, 4, 5)
        helper.make_node("ConvTranspose", ["conv", "spread"], ["large"], strides=[2, 2], group=2),  # to (1, 4, 8, 10)
        helper.make_node("Flatten", ["large"], ["rows"], axis=3),  # to (32, 10)
        helper.make_node("Gemm", ["rows", "matrix"], ["gemm"], transA=1),  # (10, 32) by (32, 7)
        helper.make_node("MatMul", ["left", "right"], ["constant"]),  # weights alone: not counted
        helper.make_node("MatMul", ["gemm", "constant"], ["output"]),  # (10, 7) by (7, 2)
    ]
    weights = [weight("kernel", 6, 3, 2, 2), weight("spread", 6, 2, 2, 2), weight("matrix", 32, 7)]
    weights += [weight("left", 7, 3), weight("right", 3, 2)]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [10, 2])
    path = save_model(tmp_path, nodes, weights, output)
    convolution, transposed = 6 * 4 * 5 * 3 * 2 * 2, 6 * 4 * 5 * 2 * 2 * 2
    products = 10 * 7 * 32 + 10 * 2 * 7
    assert count_flops(path, (1, 3, 8, 10)) == 2 * (convolution + transposed + products)


def test_data_dependent_shape_raises(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["image"], ["found"]),
        helper.make_node("Cast", ["found"], ["where"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["matrix", "where"], ["output"]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [2, "count"])
    path = save_model(tmp_path, nodes, [weight("matrix", 2, 4)], output)
    with pytest.raises(ValueError, match="unknown before the graph runs"):
        count_flops(path, (1, 3, 8, 10))


def counted_by_torch(network, *inputs) -> int:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops()


@pytest.mark.parametrize(("height", "width"), [(140, 182), (126, 224)])
def test_flops_of_exported_graph_match_pytorch(height, width):
    torch = pytest.importorskip("torch", reason="the network is a PyTorch one")
    from depth_anything_ros.export.inference_graph import InferenceGraph
    from depth_anything_ros.model.checkpoints import load_checkpoint

    network = load_checkpoint(BUNDLED_FOLDER / "tiny.safetensors")
    graph = InferenceGraph(network, ModelRecord.read(BUNDLED_FOLDER / "record.json"), (height, width))
    expected = counted_by_torch(graph, torch.zeros(1, height, width, 3, dtype=torch.uint8))
    # The position embedding depends on weights alone: a runtime computes it once.
    expected -= counted_by_torch(graph._constant_tokens, network.pretrained)
    assert count_flops(BUNDLED_FOLDER / f"tiny_{height}x{width}.onnx", (1, height, width, 3)) == expected


def test_flops_of_vits_match_published_number(tmp_path):
    """45.1 GFLOP at 308 x 406; a little less here, since 1 x 1 convolutions come before the enlargements."""
    pytest.importorskip("torch", reason="traces a network")
    from random_models import random_model

    from depth_anything_ros.export.inference_graph import InferenceGraph
    from depth_anything_ros.export.tracing import take_weight_inputs, trace
    from depth_anything_ros.runtime.engines.constant_folding import fold_constants

    size = (308, 406)
    record = ModelRecord("vits", "inverse_depth", "none", "vits", "v2", input_size=size)
    graph = InferenceGraph(random_model("vits"), record, size)
    model, weights = trace(graph, record), graph.state_dict()
    for name in take_weight_inputs(model):
        model.graph.initializer.append(numpy_helper.from_array(weights[name].numpy(), name))
    fold_constants(model)
    save(model, tmp_path / "vits.onnx")
    assert count_flops(tmp_path / "vits.onnx", (1, *size, 3)) == pytest.approx(45.1e9, rel=0.01)
