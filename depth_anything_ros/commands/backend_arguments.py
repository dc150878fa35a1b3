"""The options that every command has which runs a model."""

from __future__ import annotations

import argparse

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS


def add_backend_arguments(parser: argparse.ArgumentParser, record: bool = True) -> None:
    """Declares ``--backend``, ``--precision``, ``--threads``, and ``--record`` unless it is named otherwise."""
    if record:
        parser.add_argument(
            "--record", type=parse.existing_file, metavar="FILE", help="JSON record of an .onnx that carries none"
        )
    parser.add_argument(
        "--backend",
        type=parse.backend,
        default="auto",
        metavar="B",
        help=f"what runs the model: auto (default), {', '.join(BACKENDS)}",
    )
    parser.add_argument(
        "--precision",
        type=parse.precision,
        default="auto",
        metavar="P",
        help=f"what it computes in: auto (default), {', '.join(PRECISIONS)}; what fails the gate gives way to fp32",
    )
    parser.add_argument(
        "--threads", type=parse.at_least(1), metavar="N", help="threads of a CPU backend (default: its own choice)"
    )
