"""One shard: which samples it is made of, how it is written, and the note beside it that says so."""

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
"""Stands in a key between the root's label and the image's name, in neither of which it can be: % is %25 there."""


@dataclass(frozen=True)
class Part:
    """What one shard is made of.

    ``number``: of the shard. ``label``: what its root is called, "" for the only one. ``names``: its images; None for
    those that the note of the shard names, but for what is ``gone``. ``prune``: whether samples may be lost.
    """

    number: int
    label: str = ""
    names: Sequence[str] | None = None
    gone: Collection[str] = ()
    prune: bool = False


@dataclass(frozen=True)
class Note:
    """What is known of a shard that is there, or of one that was begun.

    ``names``: all images that it was made of. ``refused``: those that could not be packed. ``shard``: None where the
    file is absent or no note tells of it. ``made_of``: "" where that is not known.
    """

    number: int
    label: str
    names: Sequence[str]
    refused: Collection[str] = ()
    made_of: str = ""
    shard: Shard | None = None


def read_note(output: Path, number: int) -> Note | None:
    """The note of a shard; where there is none, what its own keys tell; None where they tell nothing either.

    Notes of the first release name no images: the shard's keys do, but for those that could not be packed.
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
    told = [_name_of(key) for key in keys]
    is_all = shard is not None and not shard.refused
    return Note(number, told[0][0] if told else "", [name for _, name in told], (), made_of if is_all else "", shard)


def pack_shard(declared: ImageSet, root: Path, output: Path, part: Part) -> Shard:
    """Makes one shard, unless it is there and has all of the same files: then it is as it was.

    Raises `OSError` where the disk or rights keep an image from being read, `ImportError` where a package lacks, and
    `DataError` where an image that was packed can no longer be read; the shard is as it was then, so that packing goes
    on with it once that is mended.
    """
    path, note = output / shard_name(part.number), read_note(output, part.number)
    gone = frozenset(part.gone)
    names = part.names if part.names is not None else [name for name in note.names if name not in gone]
    made_of = made_of_files(declared, root, names, part.label)
    if note is not None and _is_as_it_was(note, made_of, path):
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
                except Exception as error:  # libraries raise whatever they stumble over, and the next may be whole
                    reraise_disk_error(error)
                    refused[name] = skip_reason(f"{declared.name}/{name}", error)
                    continue
                writer.write(sample)
                packed += 1
        file.flush()
        if note is not None and note.shard is not None and not part.prune:
            _check_losses(note, refused, path)
        (output / MANIFEST).unlink(missing_ok=True)  # it is no longer true
        shard = Shard(path.name, packed, partial.stat().st_size, sha256_of(partial), tuple(refused.values()))
        origin = {"root": part.label, "names": list(names), "refused_names": list(refused)}
        noted = {**asdict(shard), "set": declared.name, "made_of": made_of, **origin}
        # Before the shard, which nothing else tells the set of.
        atomic_write(path.with_suffix(".json"), json.dumps(noted, indent=2).encode())
    return shard


def _check_losses(note: Note, refused: Mapping[str, str], path: Path) -> None:
    """Raises `DataError` where an image cannot be read any more of which the shard has a sample."""
    lost = [name for name in note.names if name in refused and name not in note.refused]
    if lost:
        raise DataError(
            f"{path} holds samples of {len(lost)} images that can no longer be read ({refused[lost[0]]}): it stays as "
            "it is. Mend them, or give --prune to pack without"
        )


def _is_as_it_was(note: Note, made_of: str, path: Path) -> bool:
    """Whether a shard is there, whole, and made of the same files.

    Where some were refused it is made anew: what was amiss may be mended, and not by a change of the files.
    """
    is_known = note.shard is not None and not note.refused and note.made_of == made_of
    return is_known and with_retries(sha256_of, path) == note.shard.sha256


def made_of_files(declared: ImageSet, root: Path, names: Sequence[str], label: str = "") -> str:
    """A hash of what a shard is made of: names, and size and time of the files behind them."""
    digest = hashlib.sha256(os.fsencode(f"{FORMAT}\n{declared.name}\n"))
    if declared.input_range != AUTO:
        digest.update(repr(declared.input_range).encode())
    if label:
        digest.update(os.fsencode(f"{label}\n"))
    for name in names:
        try:
            stamp = with_retries(declared.stamp, root, name)
        except Exception as error:  # which packing will name
            reraise_disk_error(error)
            stamp = "damaged"
        digest.update(os.fsencode(f"{name}\n{stamp}\n"))
    return digest.hexdigest()


def make_sample(declared: ImageSet, root: Path, name: str, label: str = "") -> dict[str, Any]:
    """What a shard holds of one image, by extension. Raises `DataError`, naming the file that is amiss."""
    parts = declared.parts(root, name)
    described: dict[str, Any] = {"set": declared.name, "name": name}
    if label:
        described["root"] = label
    ending, content = parts.ending, parts.content
    is_read_as_it_is = declared.input_range == AUTO or decode_picture(content, name).dtype != np.uint16
    if ending not in PICTURE_ENDINGS or not is_read_as_it_is:  # a kind that no reader looks for, or a range of its own
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
    """A sample's key: the image's whole name, what WebDataset takes for more than a name as %2E and %2F.

    Unlike "_" for both, that keeps a.b.jpg and a_b.jpg apart, of which webdataset would make one sample. Of a set of
    several roots the root's label stands before it.
    """
    return _quoted(name) if not label else f"{_quoted(label)}{_ROOT_ENDS}{_quoted(name)}"


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("/", "%2F").replace(".", "%2E")


def _name_of(key: str) -> tuple[str, str]:
    """The root's label and the image's name that a key was made of."""
    label, _, name = (text.replace("%2F", "/").replace("%2E", ".") for text in key.rpartition(_ROOT_ENDS))
    return label.replace("%25", "%"), name.replace("%25", "%")


def writing_samples(file: BinaryIO) -> AbstractContextManager[Any]:
    """Writes samples into a file, the same bytes whoever does it and whenever."""
    import webdataset  # which imports PyTorch: seconds, that processes which only read are spared

    return webdataset.TarWriter(file, mtime=0, user="", group="")


def numbers_in(output: Path) -> Iterator[int]:
    """The numbers of the shards that are there, or that a note tells of, in order."""
    found = (re.fullmatch(r"shard-(\d+)\.(tar|json)", name) for name in os.listdir(output))
    yield from sorted({int(match[1]) for match in found if match})
