"""The cache folder of downloaded models, and the verification of its files."""

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
    """A file differs from its record: truncated, modified, or changed at its source."""


def cache_directory() -> Path:
    """Return `DEPTH_ANYTHING_ROS_CACHE`, else `depth_anything_ros` in `XDG_CACHE_HOME` or `~/.cache`."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "depth_anything_ros"


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal. Reads it in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """Return `sha256_of`, computed once per process while the file's size and time stay the same."""
    status = path.stat()
    return _sha256_of_version(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of_version(path: Path, size: int, modified_ns: int) -> str:
    return sha256_of(path)


class CachedModel:
    """One model's folder in the cache.

    `verified.json` in it stores each file's hash, size and time at its last hashing. This saves hashing gigabytes at
    every start. For a file whose record has no hash it pins the first one.
    """

    def __init__(self, record: ModelRecord, cache: Path | None = None) -> None:
        self.record = record
        self.folder = (cache or cache_directory()) / "models" / record.name

    def path(self, file: ModelFile) -> Path:
        """Return the file's path, which need not exist. Folders in its name are the repository's, and are dropped."""
        return self.folder / PurePosixPath(file.name).name

    def missing(self) -> list[ModelFile]:
        """Return the files that do not exist yet."""
        return [file for file in self.record.files if not self.path(file).is_file()]

    def verify(self, thorough: bool = False) -> None:
        """Check every file. A file that has not changed since its last hashing is hashed only if ``thorough``.

        Raises:
            DamagedModelError: a file is missing or its hash is wrong.
        """
        for file in self.record.files:
            path = self.path(file)
            if not path.is_file():
                raise DamagedModelError(f"{path} is missing")
            if thorough or not self._is_unchanged(file):
                self._check_and_remember(file, path, path)

    def adopt(self, file: ModelFile, fetched: Path, announced: str | None = None) -> None:
        """Move a downloaded file to its path in the cache if its hash is right.

        Args:
            file: of the record.
            fetched: the download, on the cache's file system.
            announced: the SHA-256 that the hub gives for the file, if any.

        Raises:
            DamagedModelError: the hash is wrong.
        """
        if announced not in (None, actual := sha256_of(fetched)):
            raise DamagedModelError(
                f"the download of {file.name} has SHA-256 {actual}, the hub's is {announced}; fetch it again"
            )
        self._check_and_remember(file, fetched, self.path(file))
        os.replace(fetched, self.path(file))

    def expected_sha256(self, file: ModelFile) -> str | None:
        """Return the record's hash, else the hash pinned at the file's first use, else None."""
        return file.sha256 or self._verified().get(self.path(file).name, {}).get("sha256")

    def _is_unchanged(self, file: ModelFile) -> bool:
        seen = self._verified().get(self.path(file).name)
        if seen is None or seen["sha256"] != self.expected_sha256(file):
            return False
        status = self.path(file).stat()
        return (status.st_size, status.st_mtime_ns) == (seen["size"], seen["modified_ns"])

    def _check_and_remember(self, file: ModelFile, path: Path, final: Path) -> None:
        """Hash ``path``, which is or will become ``final``, and store the result."""
        expected, actual = self.expected_sha256(file), sha256_of(path)
        if expected not in (None, actual):
            origin = "the record's is" if file.sha256 else "at its first use it was"
            fix = f"delete {self.folder if file.sha256 is None else final} and fetch it again"
            raise DamagedModelError(
                f"{final} has SHA-256 {actual}, {origin} {expected}: truncated, or not the same file; {fix}"
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
