"""PLY files read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_ply(path: Path) -> np.ndarray:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(header.split(b"element vertex ")[1].split()[0])
    fields = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.frombuffer(body, fields)
    assert len(vertices) == count
    return vertices
