"""The layout of the user's own images with depth: declared, or found from names."""

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
from depth_anything_ros.data.rgbd_lists import LISTS, STAMPED, listed_names, listed_pairs, select_images, stamped_pairs
from depth_anything_ros.data.rgbd_matching import File, Pair, match


@dataclass(frozen=True)
class Layout:
    """The pairs of a folder.

    Attributes:
        depth_of: depth by image, paths in the folder, in order.
        unpaired: files without a partner, each with the reason.
        description: the layout in words.
        is_guessed: whether only names determine it.
        is_tum: whether it comes from lists in the TUM format.
    """

    depth_of: Mapping[str, str]
    unpaired: Sequence[str]
    description: str
    is_guessed: bool
    is_tum: bool = False


def find_layout(root: Path, declared: Declaration, fields: Mapping[str, str]) -> Layout:
    """Find images and depth in a folder.

    Args:
        root: the folder.
        declared: the declaration.
        fields: limits of the fields of a declared pattern.

    Raises:
        DataError: nothing is found, or the layout is ambiguous; the message gives the fix.
    """
    if declared.pairs is not None:
        if not (root / declared.pairs).is_file():
            raise DataError(f"pairs: there is no file {declared.pairs}, neither here nor in {root}")
        if names := listed_names(root, declared.pairs):
            return _selected(_found(root, None), names, root / declared.pairs)
        depth_of, refused = listed_pairs(root, declared.pairs, ENDINGS)
        return Layout(depth_of, refused, f"pairs of {declared.pairs}", False, _is_tum(declared.pairs))
    if declared.images is not None:
        return _paired(root, *_declared(root, declared, fields), declared.match, is_guessed=False)
    if fields:
        raise DataError(f"fields need images and depths as patterns, such as {{split}}/rgb/{{frame}}.png, in {FILE}")
    return _found(root, declared.match)


def _found(root: Path, how: str | None) -> Layout:
    files = list(_files_below(root))
    return _by_lists(root, files) or _by_names(root, files, how)


def _selected(layout: Layout, names: Sequence[str], file: Path) -> Layout:
    """Return the part of a layout that a list names. Raises `DataError` if there is none."""
    chosen, rejected = select_images(names, layout.depth_of, file.name)
    if not chosen:
        raise DataError(f"{file} names no image: {rejected[0]}; the folder has {layout.description}")
    depth_of = {image: layout.depth_of[image] for image in chosen}
    return replace(layout, depth_of=depth_of, unpaired=rejected, description=f"{layout.description}, as {file} lists")


def _files_below(root: Path) -> Iterator[str]:
    """Yield the visible files below a folder, in order. Links are followed once."""
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
    """Return the declared images and depth files. Raises `DataError` if there are none."""
    if "{" in declared.images:
        patterns = PathPattern(declared.images, fields), PathPattern(declared.depths, fields)
        shared = patterns[0].names & patterns[1].names
        if not shared or not fields.keys() <= patterns[0].names:
            requested = "common field" if fields.keys() <= patterns[0].names else f"field {' and '.join(fields)}"
            raise DataError(f"images {declared.images} and depths {declared.depths} have no {requested}")
        images, depths = (_of_pattern(root, pattern, shared) for pattern in patterns)
    else:
        images = _of_folder_or_glob(root, declared.images, PICTURE_ENDINGS)
        depths = _of_folder_or_glob(root, declared.depths, DEPTH_ENDINGS)
    both = {file.path for file in images} & {file.path for file in depths}
    if both:  # one is inside the other
        keep = [file for file in max(images, depths, key=len) if file.path not in both]
        images, depths = (keep, depths) if len(images) > len(depths) else (images, keep)
    for files, location in ((images, declared.images), (depths, declared.depths)):
        if not files:
            raise DataError(f"{root} contains no picture or array at {location}")
    return images, depths


def _of_pattern(root: Path, pattern: PathPattern, shared: Collection[str]) -> list[File]:
    return [
        File(pattern.path(values), (), tuple((name, values[name]) for name in sorted(shared)))
        for values in pattern.find(root)
    ]


def _of_folder_or_glob(root: Path, location: str, endings: Collection[str]) -> list[File]:
    """Return the files of a folder and its subfolders, or of a glob."""
    if any(map(_is_wild, location)):
        return _of_glob(root, location)
    if not (root / location).is_dir():
        raise DataError(f"there is no folder {root / location}; for one per scene give '*/{location}/*'")
    files = [file_of(path) for path in _files_below(root / location) if ending_of(path) in endings]
    return [replace(file, path=os.path.normpath(f"{location}/{file.path}").replace(os.sep, "/")) for file in files]


def _of_glob(root: Path, pattern: str) -> list[File]:
    """Return the files of a glob. The folders that match wildcards identify a file."""
    wild = [any(map(_is_wild, part)) for part in os.path.normpath(pattern).split(os.sep)[:-1]]
    lead = wild.index(True) if True in wild else len(wild)
    trail = wild[::-1].index(True) if True in wild else 0
    files = []
    for found in sorted(glob.glob(os.path.join(root, pattern), recursive=True)):
        if os.path.isfile(found):
            file = file_of(os.path.relpath(found, root).replace(os.sep, "/"))
            is_aligned = len(file.where) == len(wild)  # otherwise ** matches several folders, or none
            where = (
                tuple(part for part, kept in zip(file.where, wild, strict=True) if kept)
                if is_aligned
                else file.where[lead : len(file.where) - trail]
            )
            files.append(replace(file, where=where))
    return files


def _is_wild(character: str) -> bool:
    return character in "*?["


def _by_lists(root: Path, files: Sequence[str]) -> Layout | None:
    """Return the layout from lists of pairs or TUM's lists of stamps, or None without lists."""
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
    """Return the first path, and the number of others."""
    return paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _by_names(root: Path, files: Sequence[str], how: str | None) -> Layout:
    """Return the layout from the words in names of files and folders."""
    usable = [path for path in files if ending_of(path) in ENDINGS]
    kinds = _kinds(usable)
    images, depths = ([kind for kind in kinds if kind.is_depth == is_depth] for is_depth in (False, True))
    if not images or not depths:
        raise DataError(_missing_message(root, [file.path for kind in images for file in kinds[kind]], bool(depths)))
    image, depth = _likeliest(root, kinds, [(image, depth) for image in images for depth in depths], how)
    layout = _paired(root, kinds[image], kinds[depth], how, is_guessed=True)
    chosen = {file.path for kind in (image, depth) for file in kinds[kind]}
    ignored = [path for path in usable if path not in chosen]
    if not ignored:
        return layout
    return replace(layout, description=f"{layout.description} (ignored: {_some(ignored)})")


def _kinds(paths: Sequence[str]) -> dict[Kind, list[File]]:
    """Group the files by kind. If a name exists in two formats, each format is a separate kind."""
    kinds: dict[Kind, list[File]] = {}
    for path in paths:
        if (found := kind_of(path)) is not None:
            kinds.setdefault(found[0], []).append(found[1])
    separate: dict[Kind, list[File]] = {}
    for kind, files in kinds.items():
        is_twofold = len({(file.where, file.stem) for file in files}) < len(files)
        for file in files:
            separate.setdefault(replace(kind, ending=ending_of(file.path)) if is_twofold else kind, []).append(file)
    return separate


def _likeliest(
    root: Path, kinds: Mapping[Kind, Sequence[File]], choices: Sequence[tuple[Kind, Kind]], how: str | None
) -> tuple[Kind, Kind]:
    """Return the image and depth kinds with the plainest names, of those with at least half of the most pairs.

    Raises `DataError` if several are left.
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
            f"{root} contains several kinds of images or depth ({examples}): choose with --images and --depths, two "
            "folders or patterns such as 'rgb/*.png', or with images and depths in rgbd.yaml"
        )
    return chosen[0]


def _missing_message(root: Path, images: Sequence[str], has_depth: bool) -> str:
    expected = (
        "files that end with npy, npz, exr or pfm, or with the word depth in their name or folder (never JPEG); "
        "otherwise give --images and --depths (images and depths in rgbd.yaml)"
    )
    if images:
        return f"{root} contains {len(images)} images such as {images[0]}, but no depth. Depth is {expected}"
    if has_depth:
        return f"{root} contains depth, but no images"
    return f"{root} contains no images and no depth. Depth is {expected}"


def _paired(root: Path, images: Sequence[File], depths: Sequence[File], how: str | None, is_guessed: bool) -> Layout:
    found, pairs = match(images, depths, how)
    if not pairs:
        raise DataError(
            f"{root}: none of {len(images)} images such as {images[0].path} matches one of {len(depths)} depth files "
            f"such as {depths[0].path} by {how or 'name, number or time'}; give --pairs, a file with an image and its "
            "depth per line"
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
