"""Export one network at one size as one self-contained .onnx file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx
from onnx import numpy_helper

from depth_anything_ros.export.inference_graph import InferenceGraph
from depth_anything_ros.export.tracing import ExportError, exported_record, inference_copy, take_weight_inputs, trace
from depth_anything_ros.export.verification import verify_graph
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.engines.constant_folding import fold_constants
from depth_anything_ros.system.atomic_file import naming
from depth_anything_ros.zoo.record import ModelRecord
from depth_anything_ros.zoo.seal import write_seal

MAX_FILE_SIZE = 2**31 - 1
"""Bytes. ONNX files are protobuf messages, which are limited to 2 GiB."""


def export_onnx(network: DepthAnything, record: ModelRecord, size: tuple[int, int], path: str | Path) -> float:
    """Export the network and verify the result in ONNX Runtime before it replaces the file.

    The graph takes ``image``, uint8 [N, H, W, 3] RGB at ``size``. It returns float32 [N, H, W] under the name of the
    record's output. The metadata contains the record for this size and the file's own SHA-256 (`zoo.seal`).

    Args:
        network: in any mode, on any device; it is not changed.
        record: must describe the network.
        size: (height, width), multiples of 14.
        path: the file to write.

    Returns:
        The greatest difference from the network's output, as a fraction of its largest value.

    Raises:
        ValueError: ``size`` is not in multiples of 14.
        ExportError: the record describes another network, the file would exceed 2 GiB, or the verification failed. No
            file is left, and an existing one is not changed.
        OSError: the file cannot be written; the error names it.
    """
    path = Path(path)
    network = inference_copy(network)
    record = exported_record(network, record, size)
    graph = InferenceGraph(network, record, size)
    model = trace(graph, record)
    weights = graph.state_dict()
    for name in take_weight_inputs(model):
        model.graph.initializer.append(numpy_helper.from_array(weights[name].numpy(), name))
    fold_constants(model)
    if model.ByteSize() > MAX_FILE_SIZE:
        raise ExportError(
            f"{record.name} has {model.ByteSize() / 2**30:.1f} GiB of weights, but an .onnx file can have only 2 GiB: "
            "export it as a bundle, which stores its weights outside the graphs"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        candidate = Path(folder) / path.name
        onnx.save(model, candidate)
        write_seal(candidate)
        difference = verify_graph(candidate, network, record)
        os.replace(candidate, path)
    return difference
