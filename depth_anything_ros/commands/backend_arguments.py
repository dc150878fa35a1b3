"""The options of every command that runs a model."""

from __future__ import annotations

import argparse

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.runtime.backends import BACKENDS, PRECISIONS


def add_backend_arguments(parser: argparse.ArgumentParser, record: bool = True) -> None:
    """Add ``--backend``, ``--precision``, ``--threads`` and ``--record``.

    Args:
        parser: Parser of the command.
        record: False leaves ``--record`` out, for commands that name records in another way.
    """
    if record:
        parser.add_argument(
            "--record", type=parse.existing_file, metavar="FILE", help="JSON record, for an .onnx without metadata"
        )
    parser.add_argument(
        "--backend",
        type=parse.backend,
        default="auto",
        metavar="B",
        help=f"inference backend: auto (default), {', '.join(BACKENDS)}",
    )
    parser.add_argument(
        "--precision",
        type=parse.precision,
        default="auto",
        metavar="P",
        help=f"precision of the backend: auto (default), {', '.join(PRECISIONS)}; if the gate rejects it, the next "
        "safer one is used",
    )
    parser.add_argument(
        "--threads", type=parse.at_least(1), metavar="N", help="threads of a CPU backend (default: its own choice)"
    )
