"""Export one network at several sizes as a folder: one file of weights, and a small graph per size."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, numpy_helper

from depth_anything_ros.export.inference_graph import InferenceGraph
from depth_anything_ros.export.tracing import ExportError, exported_record, inference_copy, take_weight_inputs, trace
from depth_anything_ros.export.verification import verify_graph
from depth_anything_ros.model.checkpoints import save_checkpoint
from depth_anything_ros.model.depth_anything import DepthAnything
from depth_anything_ros.runtime.engines.constant_folding import fold_constants
from depth_anything_ros.runtime.graph import WEIGHTS_KEY
from depth_anything_ros.system.atomic_file import naming
from depth_anything_ros.zoo.cache import sha256_of
from depth_anything_ros.zoo.record import ModelFile, ModelRecord
from depth_anything_ros.zoo.seal import safetensors_header, write_seal

NETWORK_PREFIX = "network."
"""Prefix of a checkpoint's keys in `InferenceGraph`."""


@dataclass(frozen=True)
class TensorLocation:
    """The position of a tensor's bytes in a file."""

    offset: int
    length: int
    shape: tuple[int, ...]


def export_bundle(
    network: DepthAnything, record: ModelRecord, sizes: Sequence[tuple[int, int]], folder: str | Path
) -> ModelRecord:
    """Write `NAME.safetensors`, `NAME_HxW.onnx` for every size, and `record.json`.

    The weights are stored once, in half precision under the official names, so that training or another export can
    start from them. Each graph refers to them as ONNX external data. It converts them to float32 and to the form it
    needs (transposed, multiplied by LayerScale). A runtime does that once, when it loads the graph.

    Args:
        network: in any mode, on any device; it is not changed.
        record: must describe the network; its ``input_size`` and ``files`` are replaced.
        sizes: (height, width) of the graphs, multiples of 14, the default one first.
        folder: created if needed; files of the same names are replaced.

    Returns:
        The written record, with names, sizes and hashes of the files.

    Raises:
        ValueError: a size is not in multiples of 14, or there is none.
        ExportError: the record describes another network, a weight overflows in half precision, or a graph failed the
            verification against the rounded network. The folder is not changed.
        OSError: the folder cannot be written; the error names it.
    """
    if not sizes:
        raise ValueError("a bundle needs at least one size")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    network = rounded_to_half(network)
    name = f"{record.name}.safetensors"
    with naming(folder / name), tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
        weights = Path(temporary) / name
        save_checkpoint(network, exported_record(network, record, sizes[0]), weights, torch.float16)
        locations = tensor_locations(weights)
        files = [ModelFile(weights.name, sha256_of(weights))]
        for height, width in sizes:
            path = Path(temporary) / f"{record.name}_{height}x{width}.onnx"
            sized = exported_record(network, record, (height, width))
            model = _graph_on_weights(network, sized, weights.name, locations)
            model.metadata_props.add(key=WEIGHTS_KEY, value=json.dumps({weights.name: files[0].sha256}))
            onnx.save(model, path)
            write_seal(path)
            verify_graph(path, network, sized)
            files.append(ModelFile(path.name, sha256_of(path), (height, width)))
        record = replace(exported_record(network, record, sizes[0]), files=tuple(files))
        (Path(temporary) / "record.json").write_text(record.to_json() + "\n")
        for name in (*(file.name for file in files), "record.json"):
            os.replace(Path(temporary) / name, folder / name)
    return record


def rounded_to_half(network: DepthAnything) -> DepthAnything:
    """Return a float32 copy of the network with weights rounded to half precision. Raises `ExportError` on overflow."""
    network = inference_copy(network).half().float()
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all():
            raise ExportError(f"{name} is not finite in half precision; export single .onnx files instead")
    return network


def tensor_locations(path: Path) -> dict[str, TensorLocation]:
    """Return the location of each tensor in a safetensors file, relative to the start of the file."""
    header, position = safetensors_header(path)
    header.pop("__metadata__", None)
    locations = {}
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        locations[name] = TensorLocation(position + start, end - start, tuple(tensor["shape"]))
    return locations


def _graph_on_weights(
    network: DepthAnything, record: ModelRecord, weights: str, locations: dict[str, TensorLocation]
) -> onnx.ModelProto:
    """Return the graph for the record's size, with its weights as external data in the file ``weights``."""
    graph = InferenceGraph(network, record, record.input_size)
    model = trace(graph, record)
    buffers = graph.state_dict()
    casts = []
    for name in take_weight_inputs(model):
        key = name.removeprefix(NETWORK_PREFIX)
        if key == name:  # one of the graph's own small tables
            model.graph.initializer.append(numpy_helper.from_array(buffers[name].numpy(), name))
        else:
            model.graph.initializer.append(_external_tensor(key, weights, locations[key]))
            casts.append(onnx.helper.make_node("Cast", [key], [name], name=f"{key}.float", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    fold_constants(model)
    return model


def _external_tensor(name: str, file: str, location: TensorLocation) -> TensorProto:
    """Return a half-precision initializer whose bytes are in another file of the same folder."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=location.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", location.offset), ("length", location.length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
