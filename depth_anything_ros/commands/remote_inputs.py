"""Inputs of `predict` that are no files: one frame of a webcam or a stream, or an image or a video of a URL."""

from __future__ import annotations

import re
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from depth_anything_ros.capture.live_camera import LiveCamera, SourceError, video_device, without_password
from depth_anything_ros.commands import CommandError

TIMEOUT = 20.0
"""Seconds without an answer of a server."""
MAX_BYTES = 1 << 30
"""Maximum size of a download."""
SETTLING_FRAMES = 10
"""Frames of a webcam that are skipped, because its exposure still adapts."""
_PIECE = 1 << 20
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/bmp": ".bmp", "video/mp4": ".mp4"}
"""By the type that a server reports, for addresses that end without one."""


@contextmanager
def local_inputs(inputs: Sequence[str]) -> Iterator[tuple[list[str], dict[Path, str]]]:
    """Yield the inputs, with files instead of webcams, streams and URLs, and the addresses of these files.

    The files are removed afterwards. Raises `CommandError` if an input cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="depth_anything_ros_") as folder:
        paths = [_local(given, Path(folder) / str(number)) for number, given in enumerate(inputs)]
        replaced = zip(paths, inputs, strict=True)
        yield paths, {Path(path): without_password(given) for path, given in replaced if path != given}


def _local(given: str, folder: Path) -> str:
    scheme = given.partition("://")[0].lower() if "://" in given else ""
    if scheme == "file":
        return urllib.request.url2pathname(urllib.parse.urlsplit(given).path)
    is_device = video_device(given) is not None and not Path(given).is_file()
    if not scheme and not is_device:
        return given
    folder.mkdir()
    if scheme in ("http", "https"):
        return str(_download(given, folder))
    return str(_frame_of(given, folder))


def _frame_of(source: str, folder: Path) -> Path:
    """Write one frame of a webcam or a stream."""
    try:
        camera = LiveCamera(source, lambda text: print(text, file=sys.stderr))
    except SourceError as error:
        raise CommandError(str(error)) from error
    try:
        for _ in range(SETTLING_FRAMES):
            camera.grab()
        image = camera.retrieve() if camera.grab() else None
    finally:
        camera.close()
    if image is None:
        raise CommandError(f"camera {camera.name} gives no frames")
    name = re.sub(r"\W+", "_", camera.name).strip("_") or "camera"
    path = folder / (f"camera_{name}.png" if name.isdigit() else f"{name}.png")
    cv2.imwrite(str(path), image)
    return path


def _download(address: str, folder: Path) -> Path:
    shown = without_password(address)
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            path = folder / _name_of(address, answer.headers.get_content_type())
            if int(answer.headers.get("Content-Length") or 0) > MAX_BYTES:
                raise CommandError(f"{shown} has more than {MAX_BYTES >> 20} MB; download it yourself")
            with path.open("wb") as file:
                received = 0
                while piece := answer.read(_PIECE):
                    received += len(piece)
                    if received > MAX_BYTES:
                        raise CommandError(f"{shown} has more than {MAX_BYTES >> 20} MB; download it yourself")
                    file.write(piece)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CommandError(f"{shown} cannot be downloaded: {reason}; is the address right?") from error
    if not received:
        raise CommandError(f"{shown} is empty")
    return path


def _name_of(address: str, content_type: str) -> str:
    """Return a file name for an address: its last part, with an extension for the type if it has none."""
    last = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name
    stem = re.sub(r"[^\w.-]+", "_", last).strip("._") or "download"
    suffix = Path(stem).suffix
    return stem if suffix else stem + _SUFFIXES.get(content_type, "")
