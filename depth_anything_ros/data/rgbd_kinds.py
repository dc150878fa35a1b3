"""The kind of a file from the words in its path: image or depth, and which files are of the same kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from depth_anything_ros.data.frame import PICTURE_ENDINGS
from depth_anything_ros.data.rgbd_matching import ROLES, File, words_of
from depth_anything_ros.data.stored_depth import ARRAY_ENDINGS

DEPTH_ENDINGS = (*(ending for ending in PICTURE_ENDINGS if ending not in ("jpg", "jpeg")), *ARRAY_ENDINGS)
ENDINGS = frozenset((*PICTURE_ENDINGS, *ARRAY_ENDINGS))
_OTHERS = frozenset(
    words_of(
        "right mask masks valid vis viz visual visualization preview previews thumb thumbs thumbnails colored coloured "
        "colormap jet label labels seg semantic semantics segmentation normal normals conf confidence disp disparity "
        "disparities flow ir infra infrared pose poses intrinsic intrinsics extrinsic extrinsics calib calibration"
    )
)
"""Words of files that are neither images nor depth."""
_QUALIFIERS = frozenset(
    words_of(
        "raw aligned registered rectified undistorted filled filtered sync synced png exr npy npz tif tiff map maps to "
        "data frame frames camera cam sensor metric mm"
    )
)
"""Qualifiers in names. They make another kind: depth_raw and depth_filled."""
_RANKS = {"rgb": 0, "image": 1, "left": 2, "depth": 0, "": 3}


@dataclass(frozen=True)
class Kind:
    """A kind of files.

    Attributes:
        role: "rgb", "image", "left", "depth", or "" for pictures without such a word.
        words: the common words of their names or folders.
        ending: the ending of their names if kinds differ only by it, else "".
    """

    role: str
    words: tuple[str, ...]
    ending: str = ""

    @property
    def is_depth(self) -> bool:
        """Return whether they are depth, not images."""
        return self.role == "depth"

    @property
    def rank(self) -> tuple[int, int]:
        """Return a sort key, smaller for more explicit words."""
        is_explicit = not self.is_depth or any(ROLES.get(word) == "depth" for word in self.words)
        return _RANKS[self.role] + (not is_explicit), len(self.words)


def kind_of(path: str) -> tuple[Kind, File] | None:
    """Return the kind of a file from the words in its path, or None if it is neither image nor depth."""
    *folders, _ = path.split("/")
    file, ending = file_of(path), ending_of(path)
    words, in_folders = words_of(file.stem), [words_of(folder) for folder in folders]
    if _is_other_file(words) or any(map(_is_other_folder, in_folders)):
        return None
    role_folder = _role_folder(in_folders)
    role, role_words = _role(words), words
    if role_folder is not None and role != "depth":
        role, role_words = _role(in_folders[role_folder]), in_folders[role_folder]
    if ending in ARRAY_ENDINGS and role != "rgb":
        role = "depth"
    elif ending not in (DEPTH_ENDINGS if role == "depth" else PICTURE_ENDINGS):
        return None
    kind = Kind(role, tuple(word for word in role_words if word in ROLES or word in _QUALIFIERS))
    return kind, File(path, _where(folders, in_folders, role_folder), file.stem)


def file_of(path: str) -> File:
    """Return the file with its folders and its stem as identity."""
    *folders, name = path.split("/")
    return File(path, _shared(tuple(folders)), name.rpartition(".")[0])


@lru_cache(maxsize=1024)
def _shared(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return these folders as one shared copy."""
    return folders


def ending_of(path: str) -> str:
    """Return the ending of a name in lower case."""
    return path.rpartition(".")[2].lower()


def _where(folders: Sequence[str], in_folders: Sequence[Sequence[str]], role_folder: int | None) -> tuple[str, ...]:
    """Return the folders without pure role folders, and the other words of the folder with the role."""
    kept = []
    for number, (folder, words) in enumerate(zip(folders, in_folders, strict=True)):
        if number == role_folder:
            parts = re.findall(r"\d+|[^\W\d_]+", folder.lower())
            kept.append("_".join(part for part in parts if part not in ROLES and part not in _QUALIFIERS))
        elif not (_role(words) and _is_only_role(words)):
            kept.append(folder)
    return _shared(tuple(filter(None, kept)))


def _role_folder(in_folders: Sequence[Sequence[str]]) -> int | None:
    """Return the index of the folder that determines the role, given the words of each.

    Folders with no other words come first, then the nearest. The words rgb and depth have priority over image and left,
    which may also name a camera.
    """
    order = [
        (_is_only_role(words), _role(words) in ("rgb", "depth"), number)
        for number, words in enumerate(in_folders)
        if _role(words)
    ]
    return max(order)[2] if order else None


def _role(words: Sequence[str]) -> str:
    """Return the role from words, or "": depth, unless rgb comes before it; else the first role."""
    roles = [ROLES[word] for word in words if word in ROLES]
    if "depth" in roles and "rgb" not in roles[: roles.index("depth")]:
        return "depth"
    return roles[0] if roles else ""


def _is_other_folder(words: Sequence[str]) -> bool:
    return any(word in _OTHERS for word in words) and _is_only_role(words)


def _is_other_file(words: Sequence[str]) -> bool:
    return bool(words) and (words[-1] in _OTHERS or _is_other_folder(words))


def _is_only_role(words: Sequence[str]) -> bool:
    """Return whether the words contain only roles and qualifiers, no name of a scene."""
    return all(word in ROLES or word in _OTHERS or word in _QUALIFIERS for word in words)
