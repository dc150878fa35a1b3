"""A folder of labels beside one of images: which shards are done, how one is written, and the manifest of all.

For every shard of images there is one of labels of the same name, with a note beside it that says what it was made of
and what its labels are like. Both appear whole or not at all, the note last, so that a shard with a note that fits is
done, whoever was killed when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import Shard, read_manifest, write_manifest
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.shard_files import writing_samples
from depth_anything_ros.data.shard_samples import keys_of
from depth_anything_ros.pseudo_labels.chunks import PREDICTION, Chunk, Label, Part, Refusal, Trouble, split
from depth_anything_ros.pseudo_labels.statistics import Statistics
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write, is_left_behind
from depth_anything_ros.system.output_folder import LABELS, FolderError, Made, OutputFolder, claimed
from depth_anything_ros.training.teachers.identity import Teacher
from depth_anything_ros.zoo.cache import sha256_of

FORMAT = 1
"""Version of what lies in a shard of labels."""
SETTINGS = "labels.json"
PARTS = ".parts"
MIN_TO_JUDGE = 10
"""A shard of so many images without a single finite prediction is the network's fault."""

Stamp = tuple[int, int]
"""Tells a file from the one that replaces it."""


class LabelingError(ValueError):
    """Labeling cannot go on; the message says why, and what to do."""


class _ShardError(Exception):
    """A shard cannot be labeled: nothing of it is kept."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


@dataclass(frozen=True)
class Labeling:
    """What is labeled, by whom and how; small, so that it can be sent to where it is done.

    Args:
        images: the folder of packed images.
        output: the folder of labels.
        teacher: who labels.
        device: "cpu" or "cuda", where it computes.
        batch: most images at once.
        chunk: samples that are decoded, and labeled, together.
        at_image_size: whether labels have the image's size; else the size that the network gave them.
        limit: the first so many shards alone; 0 for all.

    Raises:
        DataError: there is no manifest in ``images``.
    """

    images: Path
    output: Path
    teacher: Teacher
    device: str = "cpu"
    batch: int = 4
    chunk: int = 32
    at_image_size: bool = True
    limit: int = 0

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Of the images."""
        return read_manifest(self.images)

    @cached_property
    def _entries(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.manifest["shards"]}

    @cached_property
    def shards(self) -> dict[str, dict[str, Any]]:
        """The entries of all shards to label, by name."""
        return dict(islice(self._entries.items(), self.limit or None))

    @property
    def settings(self) -> dict[str, Any]:
        """What all labels of a folder have in common."""
        return {
            "format": FORMAT,
            "teacher": self.teacher.identity,
            "resolution": "image" if self.at_image_size else "network",
        }

    def made_of(self, shard: str) -> str:
        """A hash of all that decides a shard's labels, but for how many images were computed at once, and where."""
        fingerprint = {**self.settings, "images": self._entries[shard]["sha256"]}
        return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()

    def note(self, shard: str) -> Path:
        """The file that says what a shard of labels is made of."""
        return self.output / f"{Path(shard).stem}.json"

    def parts(self, shard: str) -> Path:
        """The folder of a shard's labeled chunks, where they are made in several places; another for other labels."""
        made_of = hashlib.sha256(f"{self.made_of(shard)} {self.chunk} {self.batch} {self.device}".encode()).hexdigest()
        return self.output / PARTS / f"{Path(shard).stem}.{made_of[:16]}"

    def part(self, shard: str, number: int) -> Path:
        """The file of one labeled chunk."""
        return self.parts(shard) / f"{number:06d}"

    def read_note(self, shard: str) -> dict[str, Any] | None:
        """The note of a shard whose labels are there as noted, or that could not be labeled; None where none fits.

        Hashes are not computed again: `data verify` does that.
        """
        try:
            noted = json.loads(self.note(shard).read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(noted, dict) or noted.get("made_of") != self.made_of(shard):
            return None
        path = self.output / shard
        is_there = "trouble" in noted or (path.is_file() and path.stat().st_size == noted["size"])
        return noted if is_there else None

    def is_done(self, shard: str) -> bool:
        """Whether a shard's labels are there as noted."""
        noted = self.read_note(shard)
        return noted is not None and "trouble" not in noted

    @contextmanager
    def claimed(self, rank: int = 0, processes: int = 1) -> Iterator[OutputFolder]:
        """Keeps others from the folder of labels while the block runs, but for the processes of this one run.

        Raises `FolderError` where others are at work there, or where it holds something else, such as labels of other
        images; and `DataError` where there are no images. Nothing is written then.
        """
        made = Made(LABELS, f"labels of {self.manifest['set']}", "label")
        with claimed(self.output, made, rank, processes) as folder:
            noted = folder.found.sources.get("") if folder.found is not None else None
            has_labels = any(self.output.glob("shard-*.tar"))
            if noted != str(self.images) and has_labels and not any(map(self.read_note, self._entries)):
                raise FolderError(
                    f"{self.output} holds {folder.found}; {self.images} holds other images, of which it has no labels: "
                    "give another folder"
                )
            folder.note({"": str(self.images)})
            yield folder

    def begin(self, rank: int = 0, processes: int = 1) -> list[str]:
        """The names of the shards that are left to this process; removes what killed ones have left half-written.

        Others may be at work, on these shards too: what they write stays. Raises `LabelingError` where the folder
        holds labels of another kind, and `DataError` where there are no images; nothing is written then.
        """
        shards = list(self.shards)
        self.output.mkdir(parents=True, exist_ok=True)
        self._check_settings(write=rank == 0)
        for path in self.output.glob(".*.partial"):
            if is_left_behind(path):
                path.unlink(missing_ok=True)
        return [shard for shard in shards[rank::processes] if not self.is_done(shard)]

    def _check_settings(self, write: bool) -> None:
        path = self.output / SETTINGS
        is_begun = any(any(self.output.glob(pattern)) for pattern in ("*.tar", ".*.tar.*.partial"))
        if path.exists() and is_begun:  # a command that failed before binds nobody
            found = json.loads(path.read_text())
            if found != self.settings:
                raise LabelingError(
                    f"{self.output} holds labels made with {_in_words(found)}; asked for is "
                    f"{_in_words(self.settings)}{_other_record(found, self.settings)}: give another folder, or delete "
                    "that one"
                )
        elif write or path.exists():
            atomic_write(path, (json.dumps(self.settings, indent=2) + "\n").encode())

    def split(self, shard: str) -> list[Chunk] | Trouble:
        """A shard's chunks, after a check that it is the one its manifest names."""
        entry, path = self.shards[shard], self.images / shard
        try:
            size = with_retries(path.stat).st_size
            if size != entry["size"]:
                return Trouble(shard, f"{path} has {size} bytes, must have {entry['size']}")
            if with_retries(sha256_of, path) != entry["sha256"]:
                return Trouble(shard, f"{path} has another SHA-256 than its manifest says")
            return split(shard, path, tuple(with_retries(keys_of, path)), self.chunk)
        except (OSError, DataError) as error:
            return Trouble(shard, f"{path} cannot be read: {error}")

    def write(self, shard: str, parts: Iterable[Part | Trouble]) -> Trouble | None:
        """Writes a shard of labels, part by part as they come, and its note; what was the matter, if anything was.

        Raises `OSError` where the disk is full, say, `LabelingError` where the network gives nothing.
        """
        path, refused, statistics = self.output / shard, [], Statistics()
        try:
            with atomic_path(path) as partial:
                with partial.open("wb") as file, writing_samples(file) as writer:
                    for part in parts:
                        if isinstance(part, Trouble):
                            raise _ShardError(part)
                        for label in part.labels:
                            writer.write(_sample(label))
                            statistics.add(label.key, label.described)
                        refused += part.refused
                if trouble := self._without_any(shard, statistics.labels, refused):
                    raise _ShardError(trouble)  # `return` would move a shard without any label into place
                size, sha256 = partial.stat().st_size, sha256_of(partial)
        except _ShardError as error:
            return self._note_trouble(error.trouble)
        except DataError as error:
            return self._note_trouble(Trouble(shard, str(error)))
        made = Shard(shard, statistics.labels, size, sha256, tuple(refusal.text for refusal in refused))
        statistics.count_refused(refusal.kind for refusal in refused)
        self._write_note(shard, {**asdict(made), "statistics": statistics.to_dictionary()})
        return None

    def _note_trouble(self, trouble: Trouble) -> Trouble:
        self._write_note(trouble.shard, {"name": trouble.shard, "trouble": trouble.text, "lasts": trouble.lasts})
        (self.output / trouble.shard).unlink(missing_ok=True)
        return trouble

    def _write_note(self, shard: str, values: dict[str, Any]) -> None:
        computed = {"device": self.device, "precision": self.teacher.precision(self.device), "batch": self.batch}
        values = {**values, "made_of": self.made_of(shard), "computed": computed}
        atomic_write(self.note(shard), (json.dumps(values, indent=2) + "\n").encode())

    def _without_any(self, shard: str, labels: int, refused: Sequence[Refusal]) -> Trouble | None:
        if labels or not refused:
            return None
        bad = sum(refusal.kind == PREDICTION for refusal in refused)
        if bad >= MIN_TO_JUDGE:
            raise LabelingError(
                f"{self.teacher.identity['name']} gives no finite depth for any of the {bad} images of {shard}: its "
                "weights are damaged, or overflow in this precision"
            )
        text = f"{self.images / shard}: none of its {len(refused)} images can be labeled, the first: {refused[0].text}"
        return Trouble(shard, text, lasts=True)

    def noted_troubles(self) -> dict[str, Stamp]:
        """The shards that are noted as damaged, and which note it is; `unsettled` asks for it."""
        return {shard: _stamp(self.note(shard)) for shard in self.shards if "trouble" in (self.read_note(shard) or {})}

    def unsettled(self, earlier: Mapping[str, Stamp]) -> list[str]:
        """The shards that are neither done nor known to be damaged.

        ``earlier``: the `noted_troubles` when this process began. Such a note may be of an earlier run, and the process
        that the shard belongs to about to label it, now that it is mended: the shard counts as damaged if it still is.
        A note written since is of this run.
        """
        return [shard for shard in self.shards if not self._is_settled(shard, earlier)]

    def _is_settled(self, shard: str, earlier: Mapping[str, Stamp]) -> bool:
        noted = self.read_note(shard)
        if noted is None or "trouble" not in noted:
            return noted is not None
        is_new = shard not in earlier or _stamp(self.note(shard)) != earlier[shard]
        return is_new or noted.get("lasts", False) or isinstance(self.split(shard), Trouble)

    def finish(self) -> Iterator[dict[str, Any]]:
        """Writes the manifest, for which no shard may be unsettled, and gives the notes that it is made from.

        What is known of shards beyond the limit stays in it. Notes are read one by one: all of them would be gigabytes.
        """
        shards, damaged = [], []
        for noted in self._notes():
            if "trouble" in noted:
                damaged.append({"shard": noted["name"], "trouble": noted["trouble"]})
            else:
                shards.append(self._entry(noted))
        described = {
            **{name: self.manifest[name] for name in ("set", "title", "terms")},
            "labels_of": self.manifest["version"],
            **{name: self.settings[name] for name in ("teacher", "resolution")},
            "damaged": damaged,
        }
        write_manifest(self.output, described, shards)
        return self._notes()

    def _notes(self) -> Iterator[dict[str, Any]]:
        return (noted for noted in map(self.read_note, self._entries) if noted is not None)

    def _entry(self, noted: dict[str, Any]) -> dict[str, Any]:
        """What the manifest says of a shard: also of which images it holds labels, by the SHA-256 of their shard."""
        entry = {name: noted[name] for name in ("name", "samples", "size", "sha256", "refused")}
        return {**entry, "labels_of": self._entries[noted["name"]]["sha256"]}


def _stamp(note: Path) -> Stamp:
    try:
        found = note.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _sample(label: Label) -> dict[str, Any]:
    return {
        "__key__": label.key,
        "depth.png": label.png,
        "json": json.dumps(label.described, sort_keys=True).encode(),
    }


def _in_words(settings: dict[str, Any]) -> str:
    teacher = settings.get("teacher", {})
    return (
        f"{teacher.get('name')} (SHA-256 {str(teacher.get('sha256'))[:12]}…) at {teacher.get('sizes')}, stored at the "
        f"{settings.get('resolution')}'s size"
    )


def _other_record(found: dict[str, Any], asked: dict[str, Any]) -> str:
    """What the teacher's record says otherwise than that of the labels that were found; "" for nothing."""
    before, now = (settings.get("teacher", {}).get("record", {}) for settings in (found, asked))
    other = [f"{name} {now[name]!r}, not {before.get(name)!r}" for name in now if now[name] != before.get(name)]
    return f", whose record says {', '.join(other)}" if other else ""
