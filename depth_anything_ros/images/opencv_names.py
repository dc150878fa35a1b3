"""Names of files as OpenCV can take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def name_for_opencv(path: Path) -> Iterator[str]:
    """A name under which OpenCV can open a file while the context lasts. Raises `OSError`.

    It takes text alone, and ends the process with a segmentation fault where the name has bytes that are none.
    """
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        yield name
