"""Compares resizing on the host with OpenCV and resizing in the graph by ONNX Runtime.

    python benchmarks/preprocessing.py [--image 480x640] [--network 252x336] [--repeats 100] [--json FILE]

Measures both directions, without the network between them: camera pixels to the network's uint8 input, and the
network's float map to the camera's size. Needs the `onnx` package, to write the compared graphs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from depth_anything_ros.bench.timing import as_json, table, take_turns
from depth_anything_ros.images.resizing import resize_image, resize_map

if TYPE_CHECKING:
    import onnxruntime

Size = tuple[int, int]

HOST_DOWN, GRAPH_DOWN = "image to network, host", "image to network, graph"
GRAPH_DOWN_ANTIALIAS = "image to network, graph, antialiased"
HOST_UP, GRAPH_UP = "map to image, host", "map to image, graph"


def main() -> int:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--image", type=_size, default=(480, 640), metavar="HxW", help="size of the camera's image")
    parser.add_argument("--network", type=_size, default=(252, 336), metavar="HxW", help="network input")
    parser.add_argument("--repeats", type=int, default=100, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of OpenCV and of ONNX Runtime (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    timings = take_turns(_calls(args.image, args.network, args.threads), args.repeats)
    down = {name: timing for name, timing in timings.items() if name.startswith("image")}
    up = {name: timing for name, timing in timings.items() if name.startswith("map")}
    print(table(down, HOST_DOWN), table(up, HOST_UP), sep="\n\n")
    if args.json:
        args.json.write_text(json.dumps(as_json(timings), indent=2))
    return 0


def _size(text: str) -> Size:
    height, width = (int(side) for side in text.split("x"))
    return height, width


def _calls(image_size: Size, network_size: Size, threads: int) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*image_size, 3), dtype=np.uint8)
    values = random.random(network_size, dtype=np.float32)
    pixels = np.empty((*network_size, 3), np.uint8)
    resized = np.empty(image_size, np.float32)
    down = _session(image_size, network_size, channels=3, antialias=False, threads=threads)
    down_antialias = _session(image_size, network_size, channels=3, antialias=True, threads=threads)
    up = _session(network_size, image_size, channels=1, antialias=False, threads=threads)
    batch = image[np.newaxis]
    maps = values[np.newaxis, np.newaxis]
    return {
        HOST_DOWN: lambda: resize_image(image, pixels),
        GRAPH_DOWN: lambda: down.run(None, {"input": batch}),
        GRAPH_DOWN_ANTIALIAS: lambda: down_antialias.run(None, {"input": batch}),
        HOST_UP: lambda: resize_map(values, image_size, resized),
        GRAPH_UP: lambda: up.run(None, {"input": maps}),
    }


def _session(source: Size, target: Size, channels: int, antialias: bool, threads: int) -> onnxruntime.InferenceSession:
    """Return a graph that only resizes: uint8 (1, H, W, 3) to float planes, or one float plane to another size."""
    from_pixels = channels == 3
    sizes = numpy_helper.from_array(np.array([1, channels, *target], np.int64), "sizes")
    planes = "planes" if from_pixels else "input"
    nodes = [helper.make_node("Resize", [planes, "", "", "sizes"], ["output"], mode="linear", antialias=int(antialias))]
    if from_pixels:
        nodes.insert(0, helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]))
        nodes.insert(0, helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT))
    shape = [1, *source, channels] if from_pixels else [1, channels, *source]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("input", TensorProto.UINT8 if from_pixels else TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, channels, *target])],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    import onnxruntime  # after the package, which disables its telemetry

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    sys.exit(main())
