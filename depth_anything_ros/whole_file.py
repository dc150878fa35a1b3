"""Files that appear whole or not at all, so that a kill or a full disk leaves nothing half-written behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a path in the same folder to write to, and moves it onto ``path`` if the block ends without an error.

    What ``path`` held before stays as it was until then; what was written is removed if the block fails.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.chmod(0o644)  # some writers make files that their owner alone can read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Writes a file whole or not at all. Raises `OSError` when the folder cannot be written."""
    with replacing(path) as partial:
        partial.write_bytes(content)
