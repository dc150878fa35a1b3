"""The cache of engines, and the check that a stored engine is complete and matches the request.

An engine is a folder of files and `engine.json`, its sidecar. The sidecar has its sources, builder and device, the hash
of each file, the build time and the gate's verdict. The folder appears under its name atomically.
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
"""Increase it if this package begins to build another engine from the same key."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on. Two different keys are two engines.

    Attributes:
        model: name, for people.
        graph_sha256: hash of the graph.
        weights_sha256: hash of the weights outside the graph.
        backend: a key of `BACKENDS`.
        library: that builds and runs it, with its version.
        device: the GPU's name and compute capability, or the processor's kind and features.
        precision: one of `PRECISIONS`.
        shape: of the input batch.
        normalization: the conversion of images to the network's input.
        recipe: `RECIPE` of the build.
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
        """Return a readable name, unique by a hash of the whole key."""
        digest = hashlib.sha256(json.dumps(_as_json(self), sort_keys=True).encode()).hexdigest()[:12]
        shape = "x".join(map(str, self.shape))
        return f"{self.model}_{shape}_{self.backend.replace(':', '-')}_{self.precision}_{digest}"


class RejectedEngineError(ModelError):
    """The engine was built before and failed the gate. It is rebuilt only on request."""


class Engine:
    """A complete engine in the cache. ``sidecar`` is its `engine.json`, ``is_new`` whether it was built just now."""

    def __init__(self, folder: Path, sidecar: dict[str, Any], is_new: bool = False) -> None:
        self.folder = folder
        self.sidecar = sidecar
        self.is_new = is_new

    def path(self, name: str) -> Path:
        """Return the path of the engine's file ``name``."""
        return self.folder / name

    def damage(self) -> str | None:
        """Return why its files cannot be used, or None. A rejected engine has no files, and no damage. Hashes all."""
        try:
            return None if "rejected" in self.sidecar else _damage(self.folder, self.sidecar)
        except (OSError, KeyError, TypeError, AttributeError) as error:
            return f"it cannot be read ({type(error).__name__}: {error})"

    def pass_gate(self, verdict: str) -> None:
        """Store the verdict in the sidecar at the first pass."""
        if "gate" not in self.sidecar:
            self._settle({**self.sidecar, "gate": verdict})

    def reject(self, fault: str) -> None:
        """Delete the engine's files but keep its sidecar, so that not every start builds it again."""
        self._settle({**self.sidecar, "rejected": fault, "files": {}})

    def _settle(self, sidecar: dict[str, Any]) -> None:
        """Write the sidecar, unless another process has built or rejected the engine meanwhile.

        If the folder cannot be written, only this information is lost.
        """
        try:
            with locked(self.folder):
                if json.loads((self.folder / SIDECAR).read_text()) != self.sidecar:
                    return
                atomic_write(self.folder / SIDECAR, json.dumps(sidecar, indent=2).encode())
                for name in set(self.sidecar["files"]) - set(sidecar["files"]):
                    (self.folder / name).unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            log.warning("%s: the gate's verdict cannot be stored: %s", self.folder, error)
        self.sidecar = sidecar


class EngineCache:
    """Engines by key. Safe for several processes: the first one builds an engine, the others wait for it."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_directory() / "engines"

    def obtain(self, key: EngineKey, build: Callable[[Path], None], rebuild: bool = False) -> Engine:
        """Return the engine for a key, from the cache if it is complete there.

        Args:
            key: of the engine.
            build: writes the engine's files into the empty folder that it receives. Its exceptions are raised here, and
                leave no files.
            rebuild: whether to build even if an engine exists or was rejected.

        Raises:
            RejectedEngineError: it failed the gate before.
            ModelError: the folder cannot be written.
        """
        folder = self.folder / key.folder_name()
        # The first search needs no lock: a folder that cannot be written can still have complete engines.
        engine = None if rebuild else self._find(folder, key, quietly=True)
        if engine is None:
            try:
                with locked(folder):
                    engine = None if rebuild else self._find(folder, key)
                    if engine is None:
                        engine = self._build(folder, key, build)
            except OSError as error:
                raise ModelError(
                    f"{self.folder}: an engine cannot be built and stored there: {error}; free space, or set "
                    "DEPTH_ANYTHING_ROS_CACHE to another folder"
                ) from error
        if "rejected" in engine.sidecar:
            raise RejectedEngineError(
                f"its engine {folder.name} failed the gate when it was built: {engine.sidecar['rejected']} "
                "(retry with `depth_anything_ros build --rebuild`)"
            )
        return engine

    def engines(self) -> list[Engine]:
        """Return all stored engines by name, without those whose sidecar cannot be read."""
        engines = []
        for path in sorted(self.folder.glob(f"*/{SIDECAR}")):
            try:
                sidecar = json.loads(path.read_text())
            except ValueError:
                log.warning("%s is damaged; its engine will be rebuilt at its next use", path)
                continue
            engines.append(Engine(path.parent, sidecar))
        return engines

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
            log.warning("engine %s is not used: %s; rebuilding it", folder.name, fault)
        return None

    def _build(self, folder: Path, key: EngineKey, build: Callable[[Path], None]) -> Engine:
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # from a killed build; the lock excludes a running one
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
    """Return the key in the form that JSON restores."""
    values = json.loads(json.dumps(asdict(key)))
    values["normalisation"] = values.pop("normalization")  # the spelling of all releases, so that old engines match
    return values


def _fault(folder: Path, key: EngineKey, sidecar: dict[str, Any]) -> str | None:
    """Return why the files in a folder are not the requested engine, or None."""
    differing = [name for name, value in _as_json(key).items() if sidecar["key"].get(name) != value]
    if differing:
        return f"it was built for another {', '.join(differing)}"
    return None if "rejected" in sidecar else _damage(folder, sidecar)


def _damage(folder: Path, sidecar: dict[str, Any]) -> str | None:
    """Return why the files in a folder are not those of its sidecar, or None."""
    if not sidecar["files"]:
        return "it has no files"
    for name, sha256 in sidecar["files"].items():
        if Path(name).name != name:
            return f"its file {name!r} would be outside its folder"
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256_of(folder / name) != sha256:
            return f"{name} is damaged: its hash differs from that at its build"
    return None
