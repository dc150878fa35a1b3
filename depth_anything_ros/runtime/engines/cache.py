"""The folder in which engines are kept, and the proof that one in it is whole and the one that is wanted.

An engine is a folder of files and `engine.json`, its sidecar, which says what it was built from, by what and for
what, the hash of each file, how long it took and what the gate found. It appears under its name all at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from depth_anything_ros import __version__
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.atomic_file import atomic_write, naming
from depth_anything_ros.system.file_lock import locked
from depth_anything_ros.zoo.cache import cache_directory, sha256_of

SIDECAR = "engine.json"

RECIPE = 1
"""To be raised when this package comes to build another engine from the same key."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on; two that differ in any of it are different engines.

    ``model`` names it for people. ``library`` is what builds and runs it, with its version. ``device`` is the GPU's
    name and compute capability, or the processor's kind and features. ``shape`` is that of the input batch.
    ``normalization`` is how images become the network's input.
    """

    model: str
    graph_sha256: str
    weights_sha256: str
    backend: str
    library: str
    device: str
    precision: str
    shape: tuple[int, ...]
    normalization: str = ""
    recipe: int = RECIPE

    def folder_name(self) -> str:
        """Readable, and unique by a hash of the whole key."""
        digest = hashlib.sha256(json.dumps(_as_json(self), sort_keys=True).encode()).hexdigest()[:12]
        shape = "x".join(map(str, self.shape))
        return f"{self.model}_{shape}_{self.backend.replace(':', '-')}_{self.precision}_{digest}"


class RejectedEngineError(ModelError):
    """The engine was built before and failed the gate; it is not built again unasked."""


class Engine:
    """A whole engine in the cache; ``sidecar`` is what its `engine.json` says, ``is_new`` whether it was built now."""

    def __init__(self, folder: Path, sidecar: dict[str, Any], is_new: bool = False) -> None:
        self.folder = folder
        self.sidecar = sidecar
        self.is_new = is_new

    def path(self, name: str) -> Path:
        """The engine's file of that name."""
        return self.folder / name

    def pass_gate(self, verdict: str) -> None:
        """Writes into the sidecar that the engine passed, and how, the first time that it does."""
        if "gate" not in self.sidecar:
            self._settle({**self.sidecar, "gate": verdict})

    def reject(self, fault: str) -> None:
        """Deletes the engine's files and leaves its sidecar, so that it is not built again at every start."""
        self._settle({**self.sidecar, "rejected": fault, "files": {}})

    def _settle(self, sidecar: dict[str, Any]) -> None:
        """Writes the sidecar, unless another process has built or rejected the engine meanwhile.

        A folder that cannot be written costs the note, not the depth.
        """
        try:
            with locked(self.folder):
                if json.loads((self.folder / SIDECAR).read_text()) != self.sidecar:
                    return
                atomic_write(self.folder / SIDECAR, json.dumps(sidecar, indent=2).encode())
                for name in set(self.sidecar["files"]) - set(sidecar["files"]):
                    (self.folder / name).unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            log.warning("%s: the gate's verdict cannot be kept: %s", self.folder, error)
        self.sidecar = sidecar


class EngineCache:
    """Engines by key. Safe for several processes: the first to want an engine builds it, the others wait for it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_directory() / "engines"

    def obtain(self, key: EngineKey, build: Callable[[Path], None], rebuild: bool = False) -> Engine:
        """The engine for a key, from the cache if it is there and whole.

        Args:
            key: what is wanted.
            build: writes the engine's files into the empty folder it is given. What it raises is raised here, and
                leaves nothing behind.
            anew: builds even if there is one, or one was rejected.

        Raises:
            RejectedEngineError: it failed the gate before.
            ModelError: the folder cannot be written.
        """
        folder = self.folder / key.folder_name()
        # Looked for without the lock first: a folder that cannot be written may hold whole engines all the same.
        engine = None if rebuild else self._find(folder, key, quietly=True)
        if engine is None:
            try:
                with locked(folder):
                    engine = None if rebuild else self._find(folder, key)
                    if engine is None:
                        engine = self._build(folder, key, build)
            except OSError as error:
                raise ModelError(
                    f"{self.folder}: an engine cannot be built and kept there: {error}; free space, or let "
                    "DEPTH_ANYTHING_ROS_CACHE name another folder"
                ) from error
        if "rejected" in engine.sidecar:
            raise RejectedEngineError(
                f"its engine {folder.name} failed the gate when it was built: {engine.sidecar['rejected']} "
                "(`depth_anything_ros build --rebuild` tries again)"
            )
        return engine

    def engines(self) -> list[Engine]:
        """All that are stored, by name; those whose sidecar cannot be read are left out."""
        found = []
        for path in sorted(self.folder.glob(f"*/{SIDECAR}")):
            try:
                sidecar = json.loads(path.read_text())
            except ValueError:
                log.warning("%s is damaged; its engine will be built anew when it is wanted", path)
                continue
            found.append(Engine(path.parent, sidecar))
        return found

    def _find(self, folder: Path, key: EngineKey, quietly: bool = False) -> Engine | None:
        if not folder.exists():
            return None
        try:
            sidecar = json.loads((folder / SIDECAR).read_text())
            fault = _fault(folder, key, sidecar)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            fault = f"its {SIDECAR} is damaged ({error})"
        if fault is None:
            return Engine(folder, sidecar)
        if not quietly:
            log.warning("engine %s is not used: %s; building it anew", folder.name, fault)
        return None

    def _build(self, folder: Path, key: EngineKey, build: Callable[[Path], None]) -> Engine:
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a build that was killed; the lock proves that none goes on
        log.info("building engine %s; it is kept in %s", folder.name, self.folder)
        started = time.monotonic()
        try:
            with naming(folder):
                partial.mkdir(parents=True)
                build(partial)
                sidecar = {
                    "key": _as_json(key),
                    "files": {path.name: sha256_of(path) for path in sorted(partial.iterdir())},
                    "build_seconds": round(time.monotonic() - started, 3),
                    "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "depth_anything_ros": __version__,
                }
                atomic_write(partial / SIDECAR, json.dumps(sidecar, indent=2).encode())
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        log.info("engine %s built in %.1f s", folder.name, sidecar["build_seconds"])
        return Engine(folder, sidecar, is_new=True)


def _as_json(key: EngineKey) -> dict[str, Any]:
    """The key as it reads when it comes back from JSON."""
    values = json.loads(json.dumps(asdict(key)))
    values["normalisation"] = values.pop("normalization")  # as all releases store it, so that old engines are found
    return values


def _fault(folder: Path, key: EngineKey, sidecar: dict[str, Any]) -> str | None:
    """Why the files in a folder are not the engine that is wanted."""
    differing = [name for name, value in _as_json(key).items() if sidecar["key"].get(name) != value]
    if differing:
        return f"it was built for another {', '.join(differing)}"
    if "rejected" in sidecar:
        return None
    if not sidecar["files"]:
        return "it has no files"
    for name, sha256 in sidecar["files"].items():
        if Path(name).name != name:
            return f"its file {name!r} would lie outside of its folder"
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256_of(folder / name) != sha256:
            return f"{name} is damaged: its hash is not the one it was built with"
    return None
