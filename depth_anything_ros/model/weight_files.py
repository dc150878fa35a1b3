"""Read and write weight files: safetensors with metadata and checksums, and PyTorch files without running code."""

from __future__ import annotations

import pickle
import re
import zipfile
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from depth_anything_ros.system.atomic_file import atomic_path, partial_of
from depth_anything_ros.zoo.cache import DamagedModelError
from depth_anything_ros.zoo.seal import check_seal, with_marks, write_seal

Weights = dict[str, Tensor]


class CheckpointError(ValueError):
    """A file cannot be loaded. The message names the file, the problem and the fix."""


def save_sealed(weights: Weights, path: Path, metadata: dict[str, str]) -> None:
    """Write safetensors that reveal damage (`zoo.seal`), atomically.

    Args:
        weights: to save.
        path: of the file.
        metadata: to store in the file.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    with atomic_path(path) as sealed:
        plain = partial_of(sealed)
        try:
            save_file(weights, plain, metadata)
            with_marks(plain, sealed)
        except SafetensorError as error:  # safetensors raises this instead of OSError
            raise OSError(f"{path} cannot be written: {error}") from error
        finally:
            plain.unlink(missing_ok=True)
        write_seal(sealed)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file. Raises `CheckpointError` if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error


def read_weight_file(path: Path) -> object:
    """Return the content of a safetensors or PyTorch file. Raises `CheckpointError` and FileNotFoundError."""
    return read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def read_safetensors(path: Path) -> Weights:
    """Return a file's weights. Raises `CheckpointError` if it is damaged, FileNotFoundError if it is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        check_seal(path)
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dictionary
    except DamagedModelError as error:
        raise CheckpointError(str(error)) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}") from error


def _read_pickle(path: Path) -> object:
    """Read a PyTorch file with the unpickler that builds only tensors and plain containers and runs no code."""
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    try:
        damaged = _damaged_member(path)
        stored = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        requested = re.search(r"GLOBAL (\S+)|Unsupported (?:global|class) (\S+)", str(error))
        if requested is None:
            raise CheckpointError(f"{path} is truncated, or not a PyTorch checkpoint") from error
        raise CheckpointError(
            f"{path} would run code when it is loaded ({requested[1] or requested[2]}), so it is rejected and nothing "
            "was run. Load it on a machine where you trust it, and save only its weights, preferably as safetensors"
        ) from error
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is truncated, or not a PyTorch checkpoint") from error
    if damaged:
        raise CheckpointError(f"{path} is damaged: the checksum of {damaged} is wrong; fetch or copy it again")
    return stored


def _damaged_member(path: Path) -> str | None:
    """Return a member of a PyTorch file with a wrong checksum, which PyTorch ignores. The old format has none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()
