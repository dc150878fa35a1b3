"""Images in LMDB, as LSUN publishes them: a key of 40 letters and the bytes of a file for each. Needs lmdb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from depth_anything_ros.data.depth_files import import_for
from depth_anything_ros.data.frame import DataError, decode_image
from depth_anything_ros.data.image_set import ImageSet


@dataclass(frozen=True)
class LmdbSet(ImageSet):
    """Images called FOLDER_lmdb/data.mdb#KEY; ``images`` is the pattern of the databases."""

    def names(self, root: Path) -> Iterator[str]:
        """Database by database, in the order of the keys."""
        for fields in self._images.find(root):
            path = self._images.path(fields)
            with _reading(root / path) as transaction:
                for key in transaction.cursor().iternext(keys=True, values=False):
                    yield f"{path}#{key.decode()}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """One image, RGB uint8 (H, W, 3)."""
        return decode_image(self._content(root, name), name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """The image as it lies in the database; most are WebP."""
        content = self._content(root, name)
        kinds = {b"\xff\xd8": "jpg", b"\x89P": "png", b"RI": "webp"}
        return kinds.get(content[:2], "img"), content

    def file_size(self, root: Path, name: str) -> int:
        """Of the image in its database."""
        path, _, key = name.partition("#")
        with _reading(root / path, buffers=True) as transaction:
            return len(transaction.get(key.encode(), b""))

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """The database."""
        return (root / name.partition("#")[0],)

    def _content(self, root: Path, name: str) -> bytes:
        path, _, key = name.partition("#")
        with _reading(root / path) as transaction:
            content = transaction.get(key.encode())
        if content is None:
            raise DataError(f"{root / path} has no image {key}")
        return content


@contextmanager
def _reading(path: Path, buffers: bool = False) -> Iterator[Any]:
    """A transaction; with ``buffers`` its values are views. Raises `DataError`, naming a database that is damaged."""
    try:
        with _open(path).begin(buffers=buffers) as transaction:
            yield transaction
    except import_for("lmdb", path).Error as error:
        raise DataError(f"cannot read {path}: {error}") from error


@lru_cache(maxsize=16)
def _open(path: Path) -> Any:
    lmdb = import_for("lmdb", path)
    try:
        database = lmdb.open(str(path.parent), readonly=True, lock=False, readahead=False, meminit=False)
    except lmdb.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error
    size, whole = path.stat().st_size, database.stat()["psize"] * (database.info()["last_pgno"] + 1)
    if size < whole:  # to read on would end this process: the file is mapped
        database.close()
        raise DataError(f"{path} is truncated: it has {size} bytes of {whole}; fetch it anew")
    return database
