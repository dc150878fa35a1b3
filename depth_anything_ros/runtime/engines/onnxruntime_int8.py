"""8-bit matrix products for ONNX Runtime: weights quantized once, activations by their range at every frame."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.errors import ModelError, UnavailablePrecisionError


def quantize(graph: Path, path: Path) -> None:
    """Writes to ``path`` the graph with 8-bit weights in its matrix products, a scale for each column.

    Where this processor's sums of 8-bit products saturate, weights have 7 bits: -64 to 64 times 0 to 255, twice, stays
    in 16 bits. Unsigned weights do not saturate either, and were measured slower, with VNNI and without. Convolutions
    stay in 32 bits: their 8-bit kernels were measured slower, and dynamic ranges cost accuracy there.

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
    # ONNX Runtime leaves files of its own beside what it quantizes.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        folded = Path(folder) / "folded.onnx"
        _fold(graph, folded)
        model = onnx.load(folded)
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # done above; else it warns
        onnx.save(model, folded)
        try:
            quantize_dynamic(
                folded,  # a file: a model in memory is taken by later releases only
                path,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=processor().int8_saturates,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        except OSError:
            raise  # of the folder, not of the graph
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise ModelError(f"{graph}: ONNX Runtime cannot quantize it: {error}") from error
    if not any(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node):
        raise ModelError(f"{graph}: has no matrix products with weights, so that there is nothing to quantize")


def _fold(graph: Path, folded: Path) -> None:
    """Writes the graph with its constants computed: weights that it casts or scales are not seen as weights."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(
            f"{graph}: ONNX Runtime cannot fold its constants into a file beside the engine: "
            f"no space is left there, or the graph is damaged: {error}"
        ) from error
