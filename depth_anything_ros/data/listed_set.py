"""Sets whose frames a file of the owners lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from depth_anything_ros.data.depth_set import DepthSet
from depth_anything_ros.data.frame import DataError, read_bytes
from depth_anything_ros.data.path_pattern import PathPattern


@dataclass(frozen=True)
class ListedSet(DepthSet):
    """Frames that a file lists, in its order. A listed frame that does not exist is an error when it is read.

    Attributes:
        listing: the file in the set's folder.
        owners_folder: the folder as the owners name it, relative to the one that contains the sets.
    """

    listing: str = ""
    owners_folder: str = ""

    def folder(self, root: Path) -> Path:
        """Return the set's folder: the one of its own name, or that of the owners if the list is in it.

        Args:
            root: the folder that contains the sets.
        """
        own, owners = root / self.name, root / self.owners_folder
        return owners if not own.is_dir() and (owners / self.listing).is_file() else own

    def names(self, root: Path) -> Iterator[str]:
        """Yield the listed images that are selected. Raises `DataError` if the list is missing or invalid."""
        declared = PathPattern(self.images, self.fields)
        for name in dict.fromkeys(self.listed(root)):
            if declared.match(name) is None:
                raise DataError(f"{root / self.listing} lists {name!r}, which is not {self.images}")
            if self._images.match(name) is not None:
                yield name

    def listed(self, root: Path) -> Iterable[str]:
        """Return the images that the list has.

        Args:
            root: the set's folder.

        Raises:
            DataError: the list is missing or invalid; the message names it.
        """
        raise NotImplementedError

    def empty_message(self, root: Path) -> str:
        """Return the error message for a list without frames."""
        requested = ", ".join(f"{name} {expression!r}" for name, expression in self.selection.items())
        return f"{root / self.listing} lists no image{' with ' + requested if requested else ''}"


def lines_of(path: Path) -> list[str]:
    """Read the lines of a list that are not empty. Raises `DataError`, naming the file."""
    try:
        text = read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def tail_of(path: str, names: int) -> str:
    """Return the last names of a path. Lists of several owners begin with a folder that only they have.

    Args:
        path: the path, with "/" between names.
        names: how many to keep.
    """
    return "/".join(PurePosixPath(path).parts[-names:])
