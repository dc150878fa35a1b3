"""Download a model's files from the Hugging Face hub into the cache."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from depth_anything_ros.zoo import peers
from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError
from depth_anything_ros.zoo.record import ModelFile

PARTIAL_PREFIX = ".partial-"
SPACE_PREFIX = "spaces/"
MEGABYTES = {"vits": 99, "vitb": 390, "vitl": 1341, **peers.MEGABYTES}
"""Sizes of the official weights by encoder, and of others by model."""
LARGE_MEGABYTES = 20
"""From this size, or if the size is unknown, a person is asked."""
confirmation: ContextVar[Callable[[str], bool]] = ContextVar("confirmation", default=lambda question: True)
"""Answers a question before a large download. The command line sets it on a terminal; the default is yes."""
_LFS_HASH = re.compile(r"[0-9a-f]{64}")
"""What the hub gives as the ETag of a large file: its SHA-256. Small files have a shorter hash of another kind."""

log = logging.getLogger(__name__)


class DownloadError(OSError):
    """A download failed. The message has the reason, and how to place the file by hand."""


def download(model: CachedModel) -> None:
    """Download the files that are missing in the cache, with a progress bar on a terminal.

    The log first reports the hub, the files, their size and license, and `confirmation` is asked. Each file is verified
    and appears atomically. Two processes that need the same model download it once. The hub is `HF_ENDPOINT`, by
    default https://huggingface.co.

    Raises:
        DownloadError: the hub cannot be reached or rejects the request, the extra `hub` is not installed, or the answer
            is no.
        DamagedModelError: the download has the wrong SHA-256; it is deleted.
    """
    record = model.record
    if record.repository is None:
        raise DownloadError(
            f"{record.name!r} is on no hub; place {', '.join(file.name for file in model.missing())} in {model.folder}"
        )
    try:
        import filelock
        import huggingface_hub  # noqa: F401 - fails early if it is missing
    except ImportError as error:
        raise DownloadError(
            f"{_cannot(model, model.missing()[0])} without {error.name}. Install the extra `hub` "
            f"(pip install '.[hub]'), or {_by_hand(model, model.missing()[0])}"
        ) from error
    try:
        model.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"cannot create the cache folder {model.folder}: {error}") from error
    _announce(model)
    with filelock.FileLock(model.folder / ".lock"):
        _sweep(model.folder)
        for file in model.missing():
            _download_file(model, file)


def _announce(model: CachedModel) -> None:
    """Report the download, and ask before a large one."""
    missing = model.missing()
    if not missing:
        return
    log.info(_announcement(model, missing))
    if (_megabytes(model) or LARGE_MEGABYTES) >= LARGE_MEGABYTES and not confirmation.get()("download it now?"):
        name = model.record.name
        raise DownloadError(
            f"{name} was not downloaded; `depth_anything_ros models fetch {name}` does so without asking"
        )


def _megabytes(model: CachedModel) -> int | None:
    return MEGABYTES.get(model.record.name) or MEGABYTES.get(model.record.encoder or "")


def _announcement(model: CachedModel, missing: list[ModelFile]) -> str:
    record = model.record
    terms = " (not for commercial use)" if "NC" in record.license.split("-") else ""
    megabytes = _megabytes(model)
    size = f"about {megabytes} MB, " if megabytes else ""
    names = ", ".join(file.name for file in missing)
    source = f"{endpoint()}/{record.repository}"
    return f"fetching {names} of {record.name} from {source}: {size}license {record.license}{terms}"


def _download_file(model: CachedModel, file: ModelFile) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    repository = model.record.repository
    assert repository is not None  # `download` has checked it
    is_space = repository.startswith(SPACE_PREFIX)
    source: dict[str, Any] = {
        "repo_id": repository[len(SPACE_PREFIX) :] if is_space else repository,
        "filename": file.name,
        "repo_type": "space" if is_space else None,
        "endpoint": endpoint(),
    }
    # A separate folder on the same file system. After an interruption, it is removed here or at the next start.
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL_PREFIX, dir=model.folder))
    try:
        # This request fails at once and with the cause, where the download would retry for half a minute.
        announced = get_hf_file_metadata(hf_hub_url(**source)).etag
        fetched = hf_hub_download(**source, local_dir=partial)
        model.adopt(file, Path(fetched), announced if _LFS_HASH.fullmatch(announced or "") else None)
    except DamagedModelError:
        raise
    except Exception as error:  # the types depend on the versions of the hub client and its HTTP library
        raise DownloadError(f"{_cannot(model, file)}: {_first_line(error)}. Or {_by_hand(model, file)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def endpoint() -> str:
    """Return the hub's address: `HF_ENDPOINT`, else Hugging Face's."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def address(model: CachedModel, file: ModelFile) -> str:
    """Return the file's address for a browser.

    Args:
        model: whose record has the repository.
        file: of the record.
    """
    return f"{endpoint()}/{model.record.repository}/resolve/main/{file.name}"


def _sweep(folder: Path) -> None:
    """Remove the partial downloads of a killed process. The caller holds the lock, so no process writes there."""
    for partial in folder.glob(f"{PARTIAL_PREFIX}*"):
        shutil.rmtree(partial, ignore_errors=True)


def _cannot(model: CachedModel, file: ModelFile) -> str:
    return f"cannot fetch {file.name} of {model.record.name!r} from {endpoint()}"


def _by_hand(model: CachedModel, file: ModelFile) -> str:
    return f"fetch {address(model, file)} on another machine and place it as {model.path(file)}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
