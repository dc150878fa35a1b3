"""Quantize matrix products to 8 bits for ONNX Runtime: weights once, activations by their range in every frame."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnxruntime

from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.errors import ModelError, UnavailablePrecisionError


def quantize(graph: Path, path: Path) -> None:
    """Write the graph with 8-bit weights in its matrix products, with one scale per column.

    If this processor's sums of 8-bit products saturate, weights have 7 bits: -64 to 64 times 0 to 255, twice, fits into
    16 bits. Unsigned weights do not saturate either, but were measured slower, with VNNI and without. Convolutions stay
    in 32 bits: their 8-bit kernels were measured slower, and dynamic ranges cost accuracy there.

    Args:
        graph: the .onnx file.
        path: for the result.

    Raises:
        ModelError: the graph has no matrix products with constant weights.
        UnavailablePrecisionError: the package onnx is not installed. Only the build needs it.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise UnavailablePrecisionError(
            f"building an INT8 engine needs the package onnx, the extra onnx: {error}"
        ) from error
    # ONNX Runtime leaves its own files next to the graph that it quantizes.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        folded = Path(folder) / "folded.onnx"
        _fold(graph, folded)
        model = onnx.load(folded)
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # prevents a false warning
        onnx.save(model, folded)
        try:
            quantize_dynamic(
                folded,  # earlier releases take only a file, not a model in memory
                path,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=processor().int8_saturates,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        except OSError:
            raise  # an error of the folder, not of the graph
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise ModelError(f"{graph}: ONNX Runtime cannot quantize it: {error}") from error
    if not any(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node):
        raise ModelError(f"{graph}: has no matrix products with weights, so int8 cannot speed it up; use fp32")


def _fold(graph: Path, folded: Path) -> None:
    """Write the graph with its constants computed: weights behind a cast or a scale are not recognized as weights."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    try:
        onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(
            f"{graph}: ONNX Runtime cannot write the graph with folded constants next to the engine: "
            f"the disk is full, or the graph is damaged: {error}"
        ) from error
