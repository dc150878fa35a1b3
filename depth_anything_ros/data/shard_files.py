"""One shard: its samples, its writing, and the note next to it that describes it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from depth_anything_ros.data.depth_codes import encode_depth, to_png
from depth_anything_ros.data.frame import (
    PICTURE_ENDINGS,
    DataError,
    as_png,
    decode_image,
    decode_picture,
    reraise_disk_error,
    skip_reason,
)
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.manifest import FORMAT, MANIFEST, Shard, shard_name
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.tar_members import tar_members
from depth_anything_ros.images.intensity import AUTO
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.zoo.cache import sha256_of

_ROOT_ENDS = "%3A"
"""Separates the root's label from the image's name in a key. Neither can contain it, because "%" is "%25" there."""


@dataclass(frozen=True)
class Part:
    """The content of one shard to pack.

    Attributes:
        number: of the shard.
        label: of its root, "" for a single root.
        names: its images; None for those of the shard's note without ``gone``.
        gone: images that no longer exist.
        prune: whether samples may be removed.
    """

    number: int
    label: str = ""
    names: Sequence[str] | None = None
    gone: Collection[str] = ()
    prune: bool = False


@dataclass(frozen=True)
class Note:
    """The recorded content of a shard, complete or not.

    Attributes:
        number: of the shard.
        label: of its root.
        names: all images that it was made from.
        refused: images that could not be packed.
        made_of: the hash from `made_of_files`, "" if unknown.
        shard: None if the file is missing or no note describes it.
    """

    number: int
    label: str
    names: Sequence[str]
    refused: Collection[str] = ()
    made_of: str = ""
    shard: Shard | None = None


def read_note(output: Path, number: int) -> Note | None:
    """Read the note of a shard.

    Without a note, the keys of the shard give the names. Notes of the first release list no names either; then images
    that could not be packed are unknown.

    Args:
        output: the folder of shards.
        number: the shard.

    Returns:
        The note, or None if neither note nor shard is readable.
    """
    path = output / shard_name(number)
    try:
        noted = json.loads(path.with_suffix(".json").read_text())
        shard = Shard(*(noted[name] for name in ("name", "samples", "size", "sha256")), tuple(noted["refused"]))
        made_of, names, label = noted["made_of"], noted.get("names"), noted.get("root", "")
        refused = frozenset(noted.get("refused_names", ()))
    except (OSError, ValueError, KeyError, TypeError):
        shard, made_of, names, label, refused = None, "", None, "", frozenset()
    if names is not None:
        return Note(number, label, names, refused, made_of, shard if path.exists() else None)
    try:
        keys = dict.fromkeys(member.partition(".")[0] for member in tar_members(path))
    except DataError:
        return None
    labels_and_names = [name_of(key) for key in keys]
    is_all = shard is not None and not shard.refused
    first_label = labels_and_names[0][0] if labels_and_names else ""
    all_names = [name for _, name in labels_and_names]
    return Note(number, first_label, all_names, (), made_of if is_all else "", shard)


def pack_shard(declared: ImageSet, root: Path, output: Path, part: Part) -> Shard:
    """Pack one shard. An existing shard stays if it is complete and its files are unchanged.

    If an error is raised, the existing shard stays, and packing can continue once the problem is fixed.

    Args:
        declared: the set.
        root: its folder.
        output: the folder of shards.
        part: the content.

    Returns:
        The shard.

    Raises:
        OSError: a disk error or missing permissions.
        ImportError: a package is missing.
        DataError: an image of an existing sample can no longer be read.
    """
    path, note = output / shard_name(part.number), read_note(output, part.number)
    gone = frozenset(part.gone)
    names = part.names if part.names is not None else [name for name in note.names if name not in gone]
    made_of = made_of_files(declared, root, names, part.label)
    if note is not None and _is_current(note, made_of, path):
        return note.shard
    refused: dict[str, str] = {}
    packed = 0
    with atomic_path(path) as partial, partial.open("wb") as file:
        with writing_samples(file) as writer:
            for name in names:
                try:
                    sample = with_retries(make_sample, declared, root, name, part.label)
                except (ImportError, MemoryError):
                    raise
                except Exception as error:  # libraries raise errors of any kind, and the next image may be intact
                    reraise_disk_error(error)
                    refused[name] = skip_reason(f"{declared.name}/{name}", error)
                    continue
                writer.write(sample)
                packed += 1
        file.flush()
        if note is not None and note.shard is not None and not part.prune:
            _check_losses(note, refused, path)
        (output / MANIFEST).unlink(missing_ok=True)  # it is outdated now
        shard = Shard(path.name, packed, partial.stat().st_size, sha256_of(partial), tuple(refused.values()))
        origin = {"root": part.label, "names": list(names), "refused_names": list(refused)}
        noted = {**asdict(shard), "set": declared.name, "made_of": made_of, **origin}
        # Written before the shard: nothing else records the set of a shard.
        atomic_write(path.with_suffix(".json"), json.dumps(noted, indent=2).encode())
    return shard


def _check_losses(note: Note, refused: Mapping[str, str], path: Path) -> None:
    """Raise `DataError` if an image of an existing sample can no longer be read."""
    lost = [name for name in note.names if name in refused and name not in note.refused]
    if lost:
        raise DataError(
            f"{path} has samples of {len(lost)} images that can no longer be read ({refused[lost[0]]}). The shard "
            "stays unchanged. Repair the images, or remove their samples with --prune"
        )


def _is_current(note: Note, made_of: str, path: Path) -> bool:
    """Return whether a shard is complete, intact and made from the same files.

    A shard with skipped images is packed again, because the cause may be gone although the files are unchanged.
    """
    is_known = note.shard is not None and not note.refused and note.made_of == made_of
    return is_known and with_retries(sha256_of, path) == note.shard.sha256


def made_of_files(declared: ImageSet, root: Path, names: Sequence[str], label: str = "") -> str:
    """Return a hash of the names of the images, and the sizes and times of their files.

    Args:
        declared: the set.
        root: its folder.
        names: the images of the shard.
        label: of the root.

    Raises:
        OSError: a disk error.
    """
    digest = hashlib.sha256(os.fsencode(f"{FORMAT}\n{declared.name}\n"))
    if declared.input_range != AUTO:
        digest.update(repr(declared.input_range).encode())
    if label:
        digest.update(os.fsencode(f"{label}\n"))
    for name in names:
        try:
            stamp = with_retries(declared.stamp, root, name)
        except Exception as error:  # packing reports it
            reraise_disk_error(error)
            stamp = "damaged"
        digest.update(os.fsencode(f"{name}\n{stamp}\n"))
    return digest.hexdigest()


def make_sample(declared: ImageSet, root: Path, name: str, label: str = "") -> dict[str, Any]:
    """Return the content of a sample by extension.

    Args:
        declared: the set.
        root: its folder.
        name: the image.
        label: of the root.

    Raises:
        DataError: a file is missing or damaged; the message names it.
    """
    parts = declared.parts(root, name)
    described: dict[str, Any] = {"set": declared.name, "name": name}
    if label:
        described["root"] = label
    ending, content = parts.ending, parts.content
    is_kept = declared.input_range == AUTO or decode_picture(content, name).dtype != np.uint16
    if ending not in PICTURE_ENDINGS or not is_kept:  # no ending of a shard, or another range
        image = decode_image(content, name, declared.as_stored, input_range=declared.input_range)
        ending, content = "png", as_png(image)
    sample: dict[str, Any] = {"__key__": key_of(name, label), ending: content}
    if parts.frame is not None:
        codes, code_range = encode_depth(parts.frame.depth)
        sample["depth.png"] = to_png(codes)
        described |= {"depth": code_range.to_dictionary(), "is_metric": declared.is_metric}
        if parts.frame.camera is not None:
            camera = parts.frame.camera
            described["camera"] = [camera.fx, camera.fy, camera.cx, camera.cy]
    if parts.labels is not None:
        sample["label.png"] = to_png(parts.labels)
    sample["json"] = json.dumps(described, sort_keys=True).encode()
    return sample


def key_of(name: str, label: str = "") -> str:
    """Return the key of a sample: the name of the image, with "." as %2E and "/" as %2F.

    WebDataset would split a name at these characters. Replacing both with "_" would merge a.b.jpg and a_b.jpg. If there
    are several roots, the label comes first.

    Args:
        name: the image.
        label: of the root.
    """
    return _quoted(name) if not label else f"{_quoted(label)}{_ROOT_ENDS}{_quoted(name)}"


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("/", "%2F").replace(".", "%2E")


def name_of(key: str) -> tuple[str, str]:
    """Return the root's label and the image's name from a key."""
    label, _, name = (text.replace("%2F", "/").replace("%2E", ".") for text in key.rpartition(_ROOT_ENDS))
    return label.replace("%25", "%"), name.replace("%25", "%")


def writing_samples(file: BinaryIO) -> AbstractContextManager[Any]:
    """Open a writer of samples. The same samples give the same bytes."""
    import webdataset  # imports PyTorch, which takes seconds; readers do not need it

    return webdataset.TarWriter(file, mtime=0, user="", group="")


def numbers_in(output: Path) -> Iterator[int]:
    """Yield the numbers of the shards that have a file or a note, in order."""
    found = (re.fullmatch(r"shard-(\d+)\.(tar|json)", name) for name in os.listdir(output))
    yield from sorted({int(match[1]) for match in found if match})
