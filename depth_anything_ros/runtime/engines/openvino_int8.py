"""Quantize weights and activations to 8 bits for OpenVINO, with NNCF's post-training quantization."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino

from depth_anything_ros.runtime.backends.interface import LoadRequest
from depth_anything_ros.runtime.cpu_features import processor
from depth_anything_ros.runtime.engines import calibration
from depth_anything_ros.runtime.errors import ModelError, UnavailablePrecisionError

if TYPE_CHECKING:
    import nncf

IR = "model.xml"
"""The engine's file that OpenVINO reads. The weights are in a file next to it."""

CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData")


def build(request: LoadRequest, model: openvino.Model, folder: Path) -> None:
    """Quantize a model for this processor, and write it.

    Ranges are symmetric: with zero points the bundled model has twice the error in its worst image, and is not faster.
    If sums of 8-bit products saturate, weights use half of their range (NNCF's overflow fix).

    Args:
        request: gives the calibration images.
        model: of fixed shape.
        folder: for the engine's files.

    Raises:
        ModelError: NNCF cannot quantize the model.
        UnavailablePrecisionError: NNCF is not installed. Only the build needs it.
    """
    try:
        import nncf
    except ImportError as error:
        raise UnavailablePrecisionError(
            f"building an INT8 engine needs NNCF, the extra openvino-int8 (pip install nncf): {error}"
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    data: list[np.ndarray] = list(calibration.batches(request))
    try:
        quantized = nncf.quantize(
            model,
            nncf.Dataset(data),
            subset_size=len(data),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=kept_in_32_bits(model)),
            advanced_parameters=_halved_weights() if processor().int8_saturates else None,
        )
    except Exception as error:  # NNCF's passes raise any type
        raise ModelError(f"{request.graph.path}: NNCF cannot quantize it: {error}") from error
    openvino.save_model(quantized, folder / IR, compress_to_fp16=False)


def _halved_weights() -> nncf.AdvancedQuantizationParameters:
    """Return settings for half of the range in all weights. By default, NNCF halves only the first convolution's."""
    import nncf
    from nncf.quantization.advanced_parameters import OverflowFix

    return nncf.AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE)


def kept_in_32_bits(model: openvino.Model) -> list[str]:
    """Return the names of operations that are not quantized: in a transformer, all except products with weights.

    Quantized products of activations in attention and quantized convolutions of the decoder cost most of the accuracy
    (AbsRel of the bundled model at the gate: 0.089 instead of 0.019) and save only a tenth of the time. A convolutional
    network is quantized completely.
    """
    operations = model.get_ordered_ops()
    dependent = {value.get_node().get_friendly_name() for value in model.inputs}
    attention, convolutions, has_weights = [], [], False
    for operation in operations:
        name, kind = operation.get_friendly_name(), operation.get_type_name()
        sources = [
            value.get_source_output().get_node().get_friendly_name() in dependent for value in operation.inputs()
        ]
        if any(sources):
            dependent.add(name)
        if kind == "MatMul" and all(sources):
            attention.append(name)
        elif kind == "MatMul" and any(sources):
            has_weights = True
        elif kind in CONVOLUTIONS:
            convolutions.append(name)
    return attention + convolutions if has_weights else attention
