"""File names that OpenCV can open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def name_for_opencv(path: Path) -> Iterator[str]:
    """Yield a name by which OpenCV can open a file inside the context. Raises `OSError`.

    OpenCV takes only text, and a name with undecodable bytes crashes the process.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        yield name
