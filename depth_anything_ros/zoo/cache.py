"""The folder that fetched models are kept in, and the proof that a file in it is the one it should be."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path, PurePosixPath

from depth_anything_ros.system.atomic_file import atomic_write
from depth_anything_ros.zoo.record import ModelFile, ModelRecord

CACHE_VARIABLE = "DEPTH_ANYTHING_ROS_CACHE"
VERIFIED_FILE = "verified.json"


class DamagedModelError(OSError):
    """A file is not the one its record names: truncated, tampered with, or changed at its source."""


def cache_directory() -> Path:
    """`DEPTH_ANYTHING_ROS_CACHE`, else `depth_anything_ros` in `XDG_CACHE_HOME`, else in `~/.cache`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_anything_ros"


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """`sha256_of`, computed once a process for as long as the file's size and time stay the same."""
    status = path.stat()
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size: int, modified_ns: int) -> str:
    return sha256_of(path)


class CachedModel:
    """One model's folder in the cache.

    Beside the files lies `verified.json`: the hash, size and time of each file when it was last hashed. It saves
    hashing gigabytes at every start, and for a file whose record states no hash it pins the one first seen.
    """

    def __init__(self, record: ModelRecord, cache: Path | None = None) -> None:
        self.record = record
        self.folder = (cache or cache_directory()) / "models" / record.name

    def path(self, file: ModelFile) -> Path:
        """Where the file lies, or would: folders in its name are those of its repository and are dropped."""
        return self.folder / PurePosixPath(file.name).name

    def missing(self) -> list[ModelFile]:
        """The files that are not there yet."""
        return [file for file in self.record.files if not self.path(file).is_file()]

    def verify(self, thorough: bool = False) -> None:
        """Checks every file; one that has not changed since it was last hashed is believed unless ``thorough``.

        Raises:
            DamagedModelError: a file is missing or its hash is wrong.
        """
        for file in self.record.files:
            path = self.path(file)
            if not path.is_file():
                raise DamagedModelError(f"{path} is missing")
            if thorough or not self._is_unchanged(file):
                self._check_and_remember(file, path, path)

    def adopt(self, file: ModelFile, fetched: Path) -> None:
        """Moves a fetched file, which must lie on the cache's file system, into its place if its hash is right."""
        self._check_and_remember(file, fetched, self.path(file))
        os.replace(fetched, self.path(file))

    def expected_sha256(self, file: ModelFile) -> str | None:
        """The hash the record states, else the one pinned when the file was first seen, else None."""
        return file.sha256 or self._verified().get(self.path(file).name, {}).get("sha256")

    def _is_unchanged(self, file: ModelFile) -> bool:
        seen = self._verified().get(self.path(file).name)
        if seen is None or seen["sha256"] != self.expected_sha256(file):
            return False
        status = self.path(file).stat()
        return (status.st_size, status.st_mtime_ns) == (seen["size"], seen["modified_ns"])

    def _check_and_remember(self, file: ModelFile, path: Path, final: Path) -> None:
        """Hashes ``path``, which is ``final`` or about to be moved there, and notes the result."""
        expected, actual = self.expected_sha256(file), sha256_of(path)
        if expected not in (None, actual):
            origin = "its record states" if file.sha256 else "it was first seen with"
            mend = f"delete {self.folder if file.sha256 is None else final} and fetch it again"
            raise DamagedModelError(
                f"{final} has SHA-256 {actual}, {origin} {expected}: truncated, or not the same file; {mend}"
            )
        status = path.stat()
        verified = self._verified()
        verified[final.name] = {"sha256": actual, "size": status.st_size, "modified_ns": status.st_mtime_ns}
        self._write_verified(verified)

    def _verified(self) -> dict[str, dict]:
        path = self.folder / VERIFIED_FILE
        if not path.is_file():
            return {}
        try:
            verified = json.loads(path.read_text())
            for seen in verified.values():
                _ = seen["sha256"], seen["size"], seen["modified_ns"]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedModelError(f"{path} is damaged ({type(error).__name__}: {error}); delete it") from error
        return verified

    def _write_verified(self, verified: dict[str, dict]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        atomic_write(self.folder / VERIFIED_FILE, json.dumps(verified, indent=2).encode())
