"""Measures the cost of an image before the network, by encoding and size: median milliseconds.

    python benchmarks/conversion.py [--sizes 720x1280 1080x1920] [--network 126x224] [--repeats 50] [--json FILE]
                                    [--encodings bgr8 mono8 ...] [--threads N]

conversion: message to pixels; most 8-bit encodings need no copy. to network: these pixels to RGB at the network's size.
rectified: the same pixels through the maps of a lens. colors: the cloud's B, G, R and padding. ROS is not needed: any
object with a message's fields will do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from depth_anything_ros.bench.timing import Timing, take_turns
from depth_anything_ros.geometry.rectification import Rectifier
from depth_anything_ros.images.image_messages import ENCODINGS, ImageDecoder
from depth_anything_ros.images.pixel_layout import TO_BGRA, convert, stored
from depth_anything_ros.images.raw_images import PIXEL_BYTES, SEMI_PLANAR_YUV
from depth_anything_ros.images.resizing import resize_image

USUAL = (
    *("rgb8", "bgr8", "mono8", "bgra8", "rgba8", "mono16", "rgb16"),
    *("yuv422_yuy2", "nv12", "bayer_rggb8", "bayer_rggb16"),
)
STEPS = ("conversion", "to network", "rectified", "colors")


def main() -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sizes", nargs="+", type=_size, default=[(720, 1280), (1080, 1920)], metavar="HxW", help="of the image"
    )
    parser.add_argument("--network", type=_size, default=(126, 224), metavar="HxW", help="network input")
    parser.add_argument("--encodings", nargs="+", choices=ENCODINGS, default=USUAL, metavar="E", help="of the image")
    parser.add_argument("--repeats", type=int, default=50, help="timed runs (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of OpenCV (default: its own choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    args = parser.parse_args()
    if args.threads:
        cv2.setNumThreads(args.threads)
    report = {}
    print(f"{'encoding':<14}{'size':>11}" + "".join(f"{step:>13}" for step in STEPS))
    for height, width in args.sizes:
        for encoding in args.encodings:
            timings = take_turns(_calls(encoding, (height, width), args.network), args.repeats)
            report[f"{encoding} {width}x{height}"] = {step: timings[step].p50 for step in STEPS}
            print(f"{encoding:<14}{f'{width}x{height}':>11}" + "".join(_cell(timings[step]) for step in STEPS))
    if args.json:
        args.json.write_text(json.dumps({"milliseconds": report, "network": args.network}, indent=2))
    return 0


def _cell(timing: Timing) -> str:
    return f"{timing.p50:>13.3f}"


def _size(text: str) -> tuple[int, int]:
    height, width = (int(side) for side in text.split("x"))
    return height, width


def _calls(encoding: str, size: tuple[int, int], network: tuple[int, int]) -> dict[str, Callable[[], object]]:
    message = _message(encoding, *size)
    decoder = ImageDecoder()
    rgb = decoder.decode(message)
    pixels, out, halves = stored(rgb).pixels, np.empty((*network, 3), np.uint8), []
    rectified, colors = np.empty(pixels.shape, np.uint8), np.empty((*size, 4), np.uint8)
    matrix = np.array([[size[1], 0, size[1] / 2], [0, size[1], size[0] / 2], [0, 0, 1]])
    lens = Rectifier("plumb_bob", matrix, np.array([-0.1, 0.02, 0, 0, 0]), np.eye(3), matrix, size)
    return {
        "conversion": lambda: decoder.decode(message),
        "to network": lambda: resize_image(rgb, out, halves),
        "rectified": lambda: lens.remap(pixels, rectified),
        "colors": lambda: convert(stored(rgb), TO_BGRA, colors),
    }


def _message(encoding: str, height: int, width: int) -> SimpleNamespace:
    """Return an Image of noise; 16-bit encodings use 12 bits."""
    step = width * PIXEL_BYTES[encoding]
    rows = height * 3 // 2 if encoding in SEMI_PLANAR_YUV else 3 * height if encoding == "nv24" else height
    data = np.random.default_rng(0).integers(0, 256, rows * step, np.uint8)
    if "16" in encoding:
        data[1::2] &= 15
    return SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding, is_bigendian=0, data=memoryview(data.tobytes())
    )


if __name__ == "__main__":
    sys.exit(main())
