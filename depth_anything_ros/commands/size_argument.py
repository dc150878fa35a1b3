"""Sizes on the command line."""

from __future__ import annotations

import argparse


def parse_size(text: str) -> tuple[int, int]:
    """Parses "HxW", such as 252x336, for argparse."""
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, such as 252x336") from error
    return height, width
