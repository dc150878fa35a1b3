"""A folder of labels for a folder of images: the job, its settings, and which shards are done.

For every shard of images there is a shard of labels with the same name. A note beside it records what it was made from
and statistics of its labels. Both are written atomically, the note last. So a shard with a matching note is done,
whenever a process was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from depth_anything_ros.data.frame import DataError
from depth_anything_ros.data.manifest import read_manifest
from depth_anything_ros.data.retry import with_retries
from depth_anything_ros.data.shard_samples import keys_of
from depth_anything_ros.pseudo_labels.chunks import Chunk, Problem, split
from depth_anything_ros.system.atomic_file import atomic_write, is_left_behind
from depth_anything_ros.system.output_folder import LABELS, FolderError, Made, OutputFolder, claimed
from depth_anything_ros.training.teachers.identity import Teacher
from depth_anything_ros.zoo.cache import sha256_of

FORMAT = 1
"""Version of the content of a shard of labels."""
SETTINGS = "labels.json"
PARTS = ".parts"
PROBLEM = "trouble"
"""Key of a problem's text in notes and in the report; part of the file format."""


class LabelingError(ValueError):
    """Labeling cannot go on; the message has the reason and the fix."""


@dataclass(frozen=True)
class Labeling:
    """A labeling job; small, so that it can be sent to the machine that does it.

    Args:
        images: the folder of packed images.
        output: the folder of labels.
        teacher: the network that labels.
        device: "cpu" or "cuda".
        batch: most images in one batch.
        chunk: samples that are decoded and labeled together.
        at_image_size: whether labels have the image's size, or else the network's output size.
        limit: number of shards to label, from the first; 0 for all.

    Raises:
        DataError: ``images`` has no manifest.
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
        """The manifest of the images."""
        return read_manifest(self.images)

    @cached_property
    def all_shards(self) -> dict[str, dict[str, Any]]:
        """The manifest's entries of all shards, by name, including those beyond the limit."""
        return {entry["name"]: entry for entry in self.manifest["shards"]}

    @cached_property
    def shards(self) -> dict[str, dict[str, Any]]:
        """The manifest's entries of the shards to label, by name."""
        return dict(islice(self.all_shards.items(), self.limit or None))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all labels of a folder share."""
        return {
            "format": FORMAT,
            "teacher": self.teacher.identity,
            "resolution": "image" if self.at_image_size else "network",
        }

    def fingerprint(self, shard: str) -> str:
        """Return a hash of all that decides a shard's labels; batch size and device do not count."""
        values = {**self.settings, "images": self.all_shards[shard]["sha256"]}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def note(self, shard: str) -> Path:
        """Return the path of a shard's note."""
        return self.output / f"{Path(shard).stem}.json"

    def parts(self, shard: str) -> Path:
        """Return the folder of a shard's labeled chunks, if a cluster makes them; it depends on all settings."""
        values = f"{self.fingerprint(shard)} {self.chunk} {self.batch} {self.device}"
        return self.output / PARTS / f"{Path(shard).stem}.{hashlib.sha256(values.encode()).hexdigest()[:16]}"

    def part(self, shard: str, number: int) -> Path:
        """Return the path of one labeled chunk.

        Args:
            shard: the shard's name.
            number: the chunk's number in it.
        """
        return self.parts(shard) / f"{number:06d}"

    def read_note(self, shard: str) -> dict[str, Any] | None:
        """Return the note of a shard that is labeled or has a problem; None without a note for these settings.

        Hashes are not computed again: `data verify` does that.
        """
        try:
            note = json.loads(self.note(shard).read_text())
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("made_of") != self.fingerprint(shard):
            return None
        path = self.output / shard
        is_valid = PROBLEM in note or (path.is_file() and path.stat().st_size == note["size"])
        return note if is_valid else None

    def is_done(self, shard: str) -> bool:
        """Return whether a shard's labels exist as its note records."""
        note = self.read_note(shard)
        return note is not None and PROBLEM not in note

    @contextmanager
    def claimed(self, rank: int = 0, processes: int = 1) -> Iterator[OutputFolder]:
        """Lock the folder of labels while the block runs; only the processes of this run may write there.

        Nothing is written if an error is raised.

        Args:
            rank: of this process.
            processes: of this run.

        Raises:
            FolderError: another run writes there, or the folder holds something else, such as labels of other images.
            DataError: there are no images.
        """
        made = Made(LABELS, f"labels of {self.manifest['set']}", "label")
        with claimed(self.output, made, rank, processes) as folder:
            labeled_images = folder.previous.sources.get("") if folder.previous is not None else None
            has_labels = any(self.output.glob("shard-*.tar"))
            if labeled_images != str(self.images) and has_labels and not any(map(self.read_note, self.all_shards)):
                raise FolderError(
                    f"{self.output} holds {folder.previous}, but no labels for the images in {self.images}: give "
                    "another folder"
                )
            folder.note({"": str(self.images)})
            yield folder

    def begin(self, rank: int = 0, processes: int = 1) -> list[str]:
        """Return the names of this process's remaining shards; remove partial files of killed processes.

        Other processes may work on the same shards; their files stay. Nothing is written if an error is raised.

        Args:
            rank: of this process.
            processes: of this run.

        Raises:
            LabelingError: the folder holds labels with other settings.
            DataError: there are no images.
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
        has_labels = any(any(self.output.glob(pattern)) for pattern in ("*.tar", ".*.tar.*.partial"))
        if path.exists() and has_labels:  # the settings of a command that failed before it wrote labels do not count
            stored = json.loads(path.read_text())
            if stored != self.settings:
                raise LabelingError(
                    f"{self.output} holds labels made with {_describe(stored)}; the settings of this command are "
                    f"{_describe(self.settings)}{_record_changes(stored, self.settings)}: give another folder, or "
                    "delete that one"
                )
        elif write or path.exists():
            atomic_write(path, (json.dumps(self.settings, indent=2) + "\n").encode())

    def split(self, shard: str) -> list[Chunk] | Problem:
        """Return a shard's chunks, or the problem if the shard does not match its manifest."""
        entry, path = self.shards[shard], self.images / shard
        try:
            size = with_retries(path.stat).st_size
            if size != entry["size"]:
                return Problem(shard, f"{path} has {size} bytes, but its manifest has {entry['size']}")
            if with_retries(sha256_of, path) != entry["sha256"]:
                return Problem(shard, f"{path} has another SHA-256 than in its manifest")
            return split(shard, path, tuple(with_retries(keys_of, path)), self.chunk)
        except (OSError, DataError) as error:
            return Problem(shard, f"{path} cannot be read: {error}")


def _describe(settings: dict[str, Any]) -> str:
    teacher = settings.get("teacher", {})
    return (
        f"{teacher.get('name')} (SHA-256 {str(teacher.get('sha256'))[:12]}…) at {teacher.get('sizes')}, stored at the "
        f"{settings.get('resolution')}'s size"
    )


def _record_changes(stored: dict[str, Any], requested: dict[str, Any]) -> str:
    """Return the changes in the teacher's record since the stored labels; "" for none."""
    before, now = (settings.get("teacher", {}).get("record", {}) for settings in (stored, requested))
    changes = [f"{name} {now[name]!r}, not {before.get(name)!r}" for name in now if now[name] != before.get(name)]
    return f", with {', '.join(changes)} in its record" if changes else ""
