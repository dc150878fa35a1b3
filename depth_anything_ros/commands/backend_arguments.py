"""The options that every command has which runs a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS


def add_backend_arguments(parser: argparse.ArgumentParser, record: bool = True) -> None:
    """Declares ``--backend``, ``--precision``, ``--threads``, and ``--record`` unless it is named otherwise."""
    if record:
        parser.add_argument("--record", type=Path, metavar="FILE", help="JSON record of an .onnx that carries none")
    parser.add_argument(
        "--backend", default="auto", metavar="B", help=f"what runs the model: auto (default), {', '.join(BACKENDS)}"
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="P",
        help=f"what it computes in: auto (default), {', '.join(PRECISIONS)}; what fails the gate gives way to fp32",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of a CPU backend (default: its own choice)")
