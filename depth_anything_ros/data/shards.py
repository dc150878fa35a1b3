"""Sets packed into WebDataset shards, for disks and networks that like large files; with a manifest of hashes.

A shard is a tar of some thousand samples. A sample is KEY.jpg (or .png, or another of `PICTURE_ENDINGS`: the file as
its owners made it), KEY.depth.png (codes, see `depth_codes`) where the set has depth, KEY.label.png where it has
classes, and KEY.json. Shards are made one by one, each whole or not at all, and a shard is the same, byte by byte,
whenever it is made; so packing may be interrupted and goes on, and a tool that versions data finds what has changed.
manifest.json lists them with sizes and SHA-256, and its ``version`` is a hash of these.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import islice
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
    raise_what_may_pass,
    refusal,
)
from depth_anything_ros.data.image_set import ImageSet
from depth_anything_ros.data.patience import patiently
from depth_anything_ros.runtime.intensity import AUTO
from depth_anything_ros.whole_file import is_abandoned, replacing, write_whole
from depth_anything_ros.zoo.cache import sha256_of

_log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of what lies in a shard."""


@dataclass(frozen=True)
class Shard:
    """One shard: its file's name, how many samples it has, its size and SHA-256, and what could not be packed."""

    name: str
    samples: int
    size: int
    sha256: str
    refused: tuple[str, ...] = ()


def shard_name(index: int) -> str:
    """The file name of a shard."""
    return f"shard-{index:06d}.tar"


def pack(
    declared: ImageSet,
    root: Path,
    output: Path,
    samples_per_shard: int,
    executor: Executor,
    limit: int = 0,
    in_flight: int = 64,
) -> Iterator[Shard]:
    """Packs the set under ``root`` into shards in ``output`` and yields each, in order; then writes the manifest.

    ``limit``: pack that many images at most; 0 for all. ``in_flight``: so many shards are handed to ``executor`` at a
    time, and only their names are held, since sets have tens of millions. Shards that are there already are kept where
    they were made of the same files; those of an earlier packing beyond the last are removed. An image that cannot be
    read is left out and named in the manifest, which is there only while it is true of the shards; its shard is made
    anew the next time. Raises `DataError` where there is no image at all, or ``output`` holds another set; and what
    `pack_shard` raises.
    """
    import webdataset  # noqa: F401 - said here, not by a process of the executor's, where it is not installed

    _check_output(output, declared)
    shards: list[Shard] = []
    jobs: deque[Future[Shard]] = deque()
    names = islice(declared.names(root), limit or None)
    for index, part in enumerate(iter(lambda: list(islice(names, samples_per_shard)), [])):
        if index == 0:
            _prepare(output)
        jobs.append(executor.submit(pack_shard, declared, root, output, index, part))
        while len(jobs) >= in_flight:
            shards.append(jobs.popleft().result())
            yield shards[-1]
    while jobs:
        shards.append(jobs.popleft().result())
        yield shards[-1]
    if not shards:
        raise DataError(declared.why_empty(root))
    _remove_beyond(output, len(shards))
    write_manifest(output, declared, shards)


def _check_output(output: Path, declared: ImageSet) -> None:
    others = _sets_in(output) - {declared.name}
    if others:
        other = ", ".join(sorted(others))
        raise DataError(f"{output} holds shards of {other}: delete it, or pack {declared.name} into another folder")


def _sets_in(output: Path) -> set[str]:
    """What the shards in a folder are of, by its manifest, or by their notes where packing was stopped."""
    try:
        return {read_manifest(output)["set"]}
    except DataError:
        shards = list(output.glob("shard-*.tar"))
    told = {_set_of(path) for path in shards} - {None}
    return told or ({"what no note beside them tells"} if shards else set())


def _set_of(shard: Path) -> str | None:
    try:
        return json.loads(shard.with_suffix(".json").read_text())["set"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _prepare(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for partial in output.glob(".*.partial"):  # by a process that was killed, or it is still being written
        if is_abandoned(partial):
            partial.unlink(missing_ok=True)


def _remove_beyond(output: Path, count: int) -> None:
    """Removes shards of an earlier packing, from number ``count`` on, which whoever reads ``*.tar`` would read too."""
    stale = [path for path in sorted(output.glob("shard-*.tar")) if path.name >= shard_name(count)]
    if stale:
        _log.warning("%s: removing %s to %s, of an earlier packing", output, stale[0].name, stale[-1].name)
        (output / MANIFEST).unlink(missing_ok=True)
    for path in stale:
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)


def pack_shard(declared: ImageSet, root: Path, output: Path, index: int, names: Sequence[str]) -> Shard:
    """Makes one shard of these images, unless it is there and has all of the same files: then it is as it was.

    Raises `OSError` where the disk or rights keep an image from being read, and `ImportError` where a package lacks;
    there is nothing new of the shard then, so that packing goes on with it once that is mended.
    """
    path = output / shard_name(index)
    note = path.with_suffix(".json")
    made_of = _made_of(declared, root, names)
    if path.exists() and note.exists():
        noted = json.loads(note.read_text())
        is_whole = not noted["refused"]  # else what was amiss may be mended, and not by a change of the files
        if noted["made_of"] == made_of and is_whole and patiently(sha256_of, path) == noted["sha256"]:
            return Shard(noted["name"], noted["samples"], noted["size"], noted["sha256"])
    (output / MANIFEST).unlink(missing_ok=True)  # it is no longer true
    refused, packed = [], 0
    with replacing(path) as partial, partial.open("wb") as file:
        with writing_samples(file) as writer:
            for name in names:
                try:
                    sample = patiently(make_sample, declared, root, name)
                except (ImportError, MemoryError):
                    raise
                except Exception as error:  # libraries raise whatever they stumble over, and the next may be whole
                    raise_what_may_pass(error)
                    refused.append(refusal(f"{declared.name}/{name}", error))
                    continue
                writer.write(sample)
                packed += 1
        file.flush()
        shard = Shard(path.name, packed, partial.stat().st_size, sha256_of(partial), tuple(refused))
        noted = {**asdict(shard), "set": declared.name, "made_of": made_of}
        write_whole(note, json.dumps(noted, indent=2).encode())  # before the shard, which nothing else tells the set of
    return shard


def _made_of(declared: ImageSet, root: Path, names: Sequence[str]) -> str:
    """A hash of what a shard is made of: names, and size and time of the files behind them."""
    digest = hashlib.sha256(os.fsencode(f"{FORMAT}\n{declared.name}\n"))
    if declared.input_range != AUTO:
        digest.update(repr(declared.input_range).encode())
    for name in names:
        try:
            stamp = patiently(declared.stamp, root, name)
        except Exception as error:  # which packing will name
            raise_what_may_pass(error)
            stamp = "damaged"
        digest.update(os.fsencode(f"{name}\n{stamp}\n"))
    return digest.hexdigest()


def make_sample(declared: ImageSet, root: Path, name: str) -> dict[str, Any]:
    """What a shard holds of one image, by extension. Raises `DataError`, naming the file that is amiss."""
    parts = declared.parts(root, name)
    described: dict[str, Any] = {"set": declared.name, "name": name}
    ending, content = parts.ending, parts.content
    is_read_as_it_is = declared.input_range == AUTO or decode_picture(content, name).dtype != np.uint16
    if ending not in PICTURE_ENDINGS or not is_read_as_it_is:  # a kind that no reader looks for, or a range of its own
        image = decode_image(content, name, declared.as_stored, input_range=declared.input_range)
        ending, content = "png", as_png(image)
    sample: dict[str, Any] = {"__key__": key_of(name), ending: content}
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


def key_of(name: str) -> str:
    """A sample's key: the image's whole name, what WebDataset takes for more than a name as %2E and %2F.

    Unlike "_" for both, that keeps a.b.jpg and a_b.jpg apart, of which webdataset would make one sample.
    """
    return name.replace("%", "%25").replace("/", "%2F").replace(".", "%2E")


def write_manifest(output: Path, declared: ImageSet, shards: Iterable[Shard]) -> None:
    """Writes the manifest of shards that are all there."""
    described: dict[str, Any] = {"set": declared.name, "title": declared.title, "terms": declared.terms}
    if declared.chosen:
        described["fields"] = dict(declared.chosen)
    write_whole(output / MANIFEST, json.dumps(as_manifest(described, list(shards)), indent=2).encode())


def as_manifest(described: dict[str, Any], shards: Sequence[Shard]) -> dict[str, Any]:
    """The content of a manifest: what is said of the whole, and the shards."""
    version = hashlib.sha256("\n".join(f"{shard.name} {shard.sha256}" for shard in shards).encode()).hexdigest()
    return {
        "format": FORMAT,
        **described,
        "version": version,
        "samples": sum(shard.samples for shard in shards),
        "refused": sum(len(shard.refused) for shard in shards),
        "shards": [asdict(shard) for shard in shards],
    }


def writing_samples(file: BinaryIO) -> AbstractContextManager[Any]:
    """Writes samples into a file, the same bytes whoever does it and whenever."""
    import webdataset  # which imports PyTorch: seconds, that processes which only read are spared

    return webdataset.TarWriter(file, mtime=0, user="", group="")


def read_manifest(folder: Path, made_by: str = "data pack") -> dict[str, Any]:
    """The manifest of a folder of shards. Raises `DataError`, naming the command that makes it, where there is none."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        version = manifest.get("format")
    except FileNotFoundError as error:
        scenes = " (of rendered scenes, with `scenes --pack`)" if made_by == "data pack" else ""
        raise DataError(f"{folder} holds no {MANIFEST}; make it with `depth_anything_ros {made_by}`{scenes}") from error
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: JSON, but no object
        raise DataError(f"{path} cannot be read: {error}; pack the set anew") from error
    if version != FORMAT:
        raise DataError(f"{path} is of format {version}, must be {FORMAT}; pack the set anew")
    return manifest


def verify_shards(folder: Path) -> Iterator[tuple[str, str]]:
    """Each shard's name, and what is wrong with it, "" for nothing; those of the manifest, then what lies beside."""
    shards = read_manifest(folder)["shards"]
    for shard in shards:
        path = folder / shard["name"]
        if not path.exists():
            yield shard["name"], "is absent"
        elif path.stat().st_size != shard["size"]:
            yield shard["name"], f"has {path.stat().st_size} bytes, must have {shard['size']}"
        else:
            yield shard["name"], "" if sha256_of(path) == shard["sha256"] else "has another SHA-256"
    for name in sorted({path.name for path in folder.glob("shard-*.tar")} - {shard["name"] for shard in shards}):
        yield name, "is not in the manifest"
