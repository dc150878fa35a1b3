"""Where images and their depth lie in a folder of one's own: as it is declared, or as names tell."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from depth_anything_ros.data.frame import PICTURE_ENDINGS, DataError
from depth_anything_ros.data.path_pattern import PathPattern, folder_identity
from depth_anything_ros.data.rgbd_declaration import FILE, Declaration
from depth_anything_ros.data.rgbd_kinds import DEPTH_ENDINGS, ENDINGS, Kind, ending_of, file_of, kind_of
from depth_anything_ros.data.rgbd_lists import LISTS, STAMPED, listed_pairs, stamped_pairs
from depth_anything_ros.data.rgbd_matching import File, Pair, match


@dataclass(frozen=True)
class Layout:
    """What a folder was found to hold.

    ``depth_of``: depth by image, both paths in the folder, in order. ``unpaired``: what lacks its partner, each with
    the reason. ``description``: where both were found. ``is_guessed``: whether that was told by names alone.
    ``is_tum``: whether lists as TUM has them say so.
    """

    depth_of: Mapping[str, str]
    unpaired: Sequence[str]
    description: str
    is_guessed: bool
    is_tum: bool = False


def find_layout(root: Path, declared: Declaration, fields: Mapping[str, str]) -> Layout:
    """Where images and depth lie under ``root``. ``fields`` narrow those of a declared pattern.

    Raises `DataError` where nothing is found, or it could be more than one thing; the message says what settles it.
    """
    if declared.pairs is not None:
        depth_of, refused = listed_pairs(root, declared.pairs, ENDINGS)
        return Layout(depth_of, refused, f"pairs of {declared.pairs}", False, _is_tum(declared.pairs))
    if declared.images is not None:
        return _paired(root, *_declared(root, declared, fields), declared.match, is_guessed=False)
    if fields:
        raise DataError(f"fields need images and depths as patterns, such as {{split}}/rgb/{{frame}}.png, in {FILE}")
    files = list(_files_below(root))
    return _by_lists(root, files) or _by_names(root, files, declared.match)


def _files_below(root: Path) -> Iterator[str]:
    """All files, by their paths in the folder, in order, but hidden ones; links are followed, though not in circles."""
    seen = set()
    for folder, folders, files in os.walk(root, onerror=_refuse, followlinks=True):
        identity = folder_identity(folder)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if inside == "." else f"{inside}/"
        yield from (prefix + name for name in sorted(files) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot list {error.filename}: {error.strerror}") from error


def _declared(root: Path, declared: Declaration, fields: Mapping[str, str]) -> tuple[list[File], list[File]]:
    """The images and the depth files that are declared. Raises `DataError` where there are none."""
    if "{" in declared.images:
        patterns = PathPattern(declared.images, fields), PathPattern(declared.depths, fields)
        shared = patterns[0].names & patterns[1].names
        if not shared or not fields.keys() <= patterns[0].names:
            requested = "a field of both" if fields.keys() <= patterns[0].names else " and ".join(fields)
            raise DataError(f"images {declared.images} and depths {declared.depths} lack {requested}")
        images, depths = (_of_pattern(root, pattern, shared) for pattern in patterns)
    else:
        images = _of_place(root, declared.images, PICTURE_ENDINGS)
        depths = _of_place(root, declared.depths, DEPTH_ENDINGS)
    both = {file.path for file in images} & {file.path for file in depths}
    if both:  # one lies in the other
        keep = [file for file in max(images, depths, key=len) if file.path not in both]
        images, depths = (keep, depths) if len(images) > len(depths) else (images, keep)
    for files, place in ((images, declared.images), (depths, declared.depths)):
        if not files:
            raise DataError(f"{root} holds no picture or array at {place}")
    return images, depths


def _of_pattern(root: Path, pattern: PathPattern, shared: Collection[str]) -> list[File]:
    return [
        File(pattern.path(values), (), tuple((name, values[name]) for name in sorted(shared)))
        for values in pattern.find(root)
    ]


def _of_place(root: Path, place: str, endings: Collection[str]) -> list[File]:
    """The files of a folder, with those below it, or of a glob."""
    if any(map(_is_wild, place)):
        return _of_glob(root, place)
    if not (root / place).is_dir():
        raise DataError(f"there is no folder {root / place}; for one in each scene give '*/{place}/*'")
    files = [file_of(path) for path in _files_below(root / place) if ending_of(path) in endings]
    return [replace(file, path=os.path.normpath(f"{place}/{file.path}").replace(os.sep, "/")) for file in files]


def _of_glob(root: Path, pattern: str) -> list[File]:
    """The files of a glob; the folders that wildcards stand for tell them from each other."""
    wild = [any(map(_is_wild, part)) for part in os.path.normpath(pattern).split(os.sep)[:-1]]
    lead = wild.index(True) if True in wild else len(wild)
    trail = wild[::-1].index(True) if True in wild else 0
    files = []
    for found in sorted(glob.glob(os.path.join(root, pattern), recursive=True)):
        if os.path.isfile(found):
            file = file_of(os.path.relpath(found, root).replace(os.sep, "/"))
            is_aligned = len(file.where) == len(wild)  # else ** stands for more folders than one, or none
            where = (
                tuple(part for part, kept in zip(file.where, wild, strict=True) if kept)
                if is_aligned
                else file.where[lead : len(file.where) - trail]
            )
            files.append(replace(file, where=where))
    return files


def _is_wild(mark: str) -> bool:
    return mark in "*?["


def _by_lists(root: Path, files: Sequence[str]) -> Layout | None:
    """By lists of pairs, or by the lists of stamps that TUM has; None where there are none."""
    lists = [path for path in files if path.rpartition("/")[2].lower() in LISTS]
    folders = [os.path.dirname(path) for path in files if os.path.basename(path) == STAMPED[0]]
    folders = [folder for folder in folders if (root / folder / STAMPED[1]).is_file()]
    if lists:
        found = [listed_pairs(root, path, ENDINGS) for path in lists]
        description = "pairs of " + _some(lists)
    elif folders:
        found = [stamped_pairs(root, folder) for folder in folders]
        description = f"the nearest stamps of {' and '.join(STAMPED)}"
    else:
        return None
    depth_of = {image: depth for pairs, _ in found for image, depth in pairs.items()}
    refused = [text for _, texts in found for text in texts]
    return Layout(depth_of, refused, description, is_guessed=True, is_tum=not lists or _is_tum(lists[0]))


def _is_tum(file: str) -> bool:
    return os.path.basename(file).lower().startswith("assoc")


def _some(paths: Sequence[str]) -> str:
    """The first, and how many more."""
    return paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _by_names(root: Path, files: Sequence[str], how: str | None) -> Layout:
    """By the words in the names of files and folders."""
    usable = [path for path in files if ending_of(path) in ENDINGS]
    kinds = _kinds(usable)
    images, depths = ([kind for kind in kinds if kind.is_depth == is_depth] for is_depth in (False, True))
    if not images or not depths:
        raise DataError(_what_lacks(root, [file.path for kind in images for file in kinds[kind]], bool(depths)))
    image, depth = _likeliest(root, kinds, [(image, depth) for image in images for depth in depths], how)
    layout = _paired(root, kinds[image], kinds[depth], how, is_guessed=True)
    chosen = {file.path for kind in (image, depth) for file in kinds[kind]}
    others = [path for path in usable if path not in chosen]
    if not others:
        return layout
    return replace(layout, description=f"{layout.description} (not looked at: {_some(others)})")


def _kinds(paths: Sequence[str]) -> dict[Kind, list[File]]:
    """The files by their kind; of the same name in two formats, each format is a kind of its own."""
    kinds: dict[Kind, list[File]] = {}
    for path in paths:
        if (found := kind_of(path)) is not None:
            kinds.setdefault(found[0], []).append(found[1])
    apart: dict[Kind, list[File]] = {}
    for kind, files in kinds.items():
        is_twofold = len({(file.where, file.stem) for file in files}) < len(files)
        for file in files:
            apart.setdefault(replace(kind, ending=ending_of(file.path)) if is_twofold else kind, []).append(file)
    return apart


def _likeliest(
    root: Path, kinds: Mapping[Kind, Sequence[File]], choices: Sequence[tuple[Kind, Kind]], how: str | None
) -> tuple[Kind, Kind]:
    """Of those kinds of images and depth that pair about as many as any, the ones with the plainest names.

    Raises `DataError` where there are several.
    """
    if len(choices) == 1:
        return choices[0]
    pairs = [len(match(kinds[image], kinds[depth], how)[1]) for image, depth in choices]
    likely = [choice for choice, count in zip(choices, pairs, strict=True) if count >= max(pairs) / 2]
    plainest = min((image.rank, depth.rank) for image, depth in likely)
    chosen = [(image, depth) for image, depth in likely if (image.rank, depth.rank) == plainest]
    if len(chosen) > 1 and max(pairs):
        examples = "; ".join(f"{kinds[image][0].path} with {kinds[depth][0].path}" for image, depth in chosen)
        raise DataError(
            f"{root} holds more than one kind of images or depth ({examples}): say which with --images and --depths, "
            "two folders or patterns such as 'rgb/*.png', or with images and depths in rgbd.yaml"
        )
    return chosen[0]


def _what_lacks(root: Path, images: Sequence[str], has_depth: bool) -> str:
    looked_for = (
        "files that end with npy, npz, exr or pfm, or whose name or folder has the word depth (JPEG is none); --images "
        "and --depths (images and depths in rgbd.yaml) say where else"
    )
    if images:
        return f"{root} holds {len(images)} images such as {images[0]}, and depth of none; looked for {looked_for}"
    if has_depth:
        return f"{root} holds depth, but no images beside it"
    return f"{root} holds no images and no depth; looked for pictures, and for {looked_for}"


def _paired(root: Path, images: Sequence[File], depths: Sequence[File], how: str | None, is_guessed: bool) -> Layout:
    found, pairs = match(images, depths, how)
    if not pairs:
        raise DataError(
            f"{root}: none of {len(images)} images such as {images[0].path} matches one of {len(depths)} depth files "
            f"such as {depths[0].path} by {how or 'name, number or time'}; give --pairs, a file with an image and its "
            "depth a line"
        )
    image, depth = pairs[0]
    return Layout(
        {image.path: depth.path for image, depth in pairs},
        _left_over(images, depths, pairs),
        f"images such as {image.path}, depth such as {depth.path}, matched by {found}",
        is_guessed,
    )


def _left_over(images: Sequence[File], depths: Sequence[File], pairs: Sequence[Pair]) -> list[str]:
    paired = {file.path for pair in pairs for file in pair}
    left_over = [f"{file.path} has no depth" for file in images if file.path not in paired]
    return left_over + [f"{file.path} has no image" for file in depths if file.path not in paired]
