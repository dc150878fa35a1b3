"""8-bit matrix products for ONNX Runtime: weights quantised once, activations by their range at every frame."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from depth_anything_ros.runtime.errors import ModelError, UnavailablePrecisionError


def quantise(graph: Path, path: Path) -> None:
    """Writes to ``path`` the graph with 8-bit weights in its matrix products, a scale for each column.

    Convolutions stay in 32 bits: their 8-bit kernels were measured slower, and dynamic ranges cost accuracy there.

    Raises:
        ModelError: the graph has no matrix products with constant weights.
        UnavailablePrecisionError: the package onnx is not installed. It is needed where an engine is built only.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise UnavailablePrecisionError(
            f"building an INT8 engine needs the package onnx, the extra onnx: {error}"
        ) from error
    folded = path.with_name("folded.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Weights that are cast or scaled in the graph must become constants, or they are not seen as weights.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise ModelError(
            f"{graph}: ONNX Runtime cannot fold its constants into a file beside the engine: "
            f"no space is left there, or the graph is damaged: {error}"
        ) from error
    model = onnx.load(folded)
    folded.unlink()
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # done above; else it warns
    try:
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    except OSError:
        raise  # of the folder, not of the graph
    except Exception as error:  # as above
        raise ModelError(f"{graph}: ONNX Runtime cannot quantise it: {error}") from error
    if not any(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node):
        raise ModelError(f"{graph}: has no matrix products with weights, so that there is nothing to quantise")
