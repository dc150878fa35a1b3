"""Images in LMDB as published by LSUN: a key of 40 letters and the bytes of a file per image. Needs lmdb."""

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
    """Images in LMDB databases, called FOLDER_lmdb/data.mdb#KEY; ``images`` is the pattern of the databases."""

    def names(self, root: Path) -> Iterator[str]:
        """Yield the images database by database, in key order."""
        for fields in self._images.find(root):
            path = self._images.path(fields)
            with _reading(root / path) as transaction:
                for key in transaction.cursor().iternext(keys=True, values=False):
                    yield f"{path}#{key.decode()}"

    def read_image(self, root: Path, name: str) -> np.ndarray:
        """Read one image.

        Args:
            root: the set's folder.
            name: the image.

        Returns:
            RGB uint8 (H, W, 3).

        Raises:
            DataError: the database or the image is missing or damaged.
        """
        return decode_image(self._content(root, name), name)

    def read_file(self, root: Path, name: str) -> tuple[str, bytes]:
        """Return the image as stored in the database; most are WebP.

        Args:
            root: the set's folder.
            name: the image.

        Raises:
            DataError: the database or the image is missing or damaged.
        """
        content = self._content(root, name)
        kinds = {b"\xff\xd8": "jpg", b"\x89P": "png", b"RI": "webp"}
        return kinds.get(content[:2], "img"), content

    def file_size(self, root: Path, name: str) -> int:
        """Return the size of the image in its database, bytes.

        Args:
            root: the set's folder.
            name: the image.
        """
        path, _, key = name.partition("#")
        with _reading(root / path, buffers=True) as transaction:
            return len(transaction.get(key.encode(), b""))

    def sources(self, root: Path, name: str) -> tuple[Path, ...]:
        """Return the database.

        Args:
            root: the set's folder.
            name: the image.
        """
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
    """Open a transaction; with ``buffers`` its values are views. Raises `DataError`, naming a damaged database."""
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
    if size < whole:  # the file is mapped: reading beyond its end would kill this process
        database.close()
        raise DataError(f"{path} is truncated: it has {size} of {whole} bytes; fetch it again")
    return database
