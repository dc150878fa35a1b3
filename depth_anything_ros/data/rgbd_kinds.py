"""What the words in a path say of the file: whether it is an image, or depth, and which others are of its kind."""

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
"""Words beside those that say what a file is. They make it another kind: depth_raw and depth_filled."""
_RANKS = {"rgb": 0, "image": 1, "left": 2, "depth": 0, "": 3}


@dataclass(frozen=True)
class Kind:
    """Files of one kind: ``role`` is "rgb", "image", "left", "depth", or "" for pictures whose names say nothing.

    ``words``: what their names or folders have in common that says so. ``ending``: of their names, where others differ
    from them in that alone, else "".
    """

    role: str
    words: tuple[str, ...]
    ending: str = ""

    @property
    def is_depth(self) -> bool:
        """Whether they are depth, else images."""
        return self.role == "depth"

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller where the words are plainer."""
        is_told = not self.is_depth or any(ROLES.get(word) == "depth" for word in self.words)
        return _RANKS[self.role] + (not is_told), len(self.words)


def kind_of(path: str) -> tuple[Kind, File] | None:
    """The kind of a file by the words in its path; None for what is neither an image nor depth."""
    *folders, _ = path.split("/")
    file, ending = file_of(path), ending_of(path)
    words, in_folders = words_of(file.stem), [words_of(folder) for folder in folders]
    if _is_other_file(words) or any(map(_is_other_folder, in_folders)):
        return None
    telling = _telling_folder(in_folders)
    role, told_by = _role(words), words
    if telling is not None and role != "depth":
        role, told_by = _role(in_folders[telling]), in_folders[telling]
    if ending in ARRAY_ENDINGS and role != "rgb":
        role = "depth"
    elif ending not in (DEPTH_ENDINGS if role == "depth" else PICTURE_ENDINGS):
        return None
    kind = Kind(role, tuple(word for word in told_by if word in ROLES or word in _QUALIFIERS))
    return kind, File(path, _where(folders, in_folders, telling), file.stem)


def file_of(path: str) -> File:
    """A file that its folders and its stem tell from others."""
    *folders, name = path.split("/")
    return File(path, _shared(tuple(folders)), name.rpartition(".")[0])


@lru_cache(maxsize=1024)
def _shared(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The same folders, in the one copy that all of their files have."""
    return folders


def ending_of(path: str) -> str:
    """What a name ends with, in lower case."""
    return path.rpartition(".")[2].lower()


def _where(folders: Sequence[str], in_folders: Sequence[Sequence[str]], telling: int | None) -> tuple[str, ...]:
    """The folders without those that only say what lies in them; of the telling one, what else its name says."""
    kept = []
    for number, (folder, words) in enumerate(zip(folders, in_folders, strict=True)):
        if number == telling:
            parts = re.findall(r"\d+|[^\W\d_]+", folder.lower())
            kept.append("_".join(part for part in parts if part not in ROLES and part not in _QUALIFIERS))
        elif not (_role(words) and _says_nothing_else(words)):
            kept.append(folder)
    return _shared(tuple(filter(None, kept)))


def _telling_folder(in_folders: Sequence[Sequence[str]]) -> int | None:
    """Which folder says what a file is, given the words of each: one that says nothing else, and the nearest.

    The words rgb and depth go before image and left, which may also say of which camera.
    """
    order = [
        (_says_nothing_else(words), _role(words) in ("rgb", "depth"), number)
        for number, words in enumerate(in_folders)
        if _role(words)
    ]
    return max(order)[2] if order else None


def _role(words: Sequence[str]) -> str:
    """What the words say, "" where they say nothing: depth, unless rgb goes before it; else the first."""
    roles = [ROLES[word] for word in words if word in ROLES]
    if "depth" in roles and "rgb" not in roles[: roles.index("depth")]:
        return "depth"
    return roles[0] if roles else ""


def _is_other_folder(words: Sequence[str]) -> bool:
    return any(word in _OTHERS for word in words) and _says_nothing_else(words)


def _is_other_file(words: Sequence[str]) -> bool:
    return bool(words) and (words[-1] in _OTHERS or _is_other_folder(words))


def _says_nothing_else(words: Sequence[str]) -> bool:
    """Whether words say only what lies there, and not of which scene, say."""
    return all(word in ROLES or word in _OTHERS or word in _QUALIFIERS for word in words)
