"""Read images, folders and videos as one stream of frames. An unreadable file is an entry with an error."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from depth_anything_ros.images.compressed_files import DamagedFileError
from depth_anything_ros.images.file_kinds import FileKind, kind_of_named_file
from depth_anything_ros.images.folders import PassedOver, find_files
from depth_anything_ros.images.image_files import decode_rgb, read_file
from depth_anything_ros.images.intensity import AUTO, InputRange, IntensityMapper, warn_of_file
from depth_anything_ros.images.pages import pages_of
from depth_anything_ros.images.video_files import VideoFile

log = logging.getLogger(__name__)

TAKEN_KINDS = frozenset({FileKind.IMAGE, FileKind.UNREAD_IMAGE, FileKind.VIDEO})
"""Kinds that are taken from a folder. Unsupported images are included, so that each gets its own error."""


@dataclass(frozen=True)
class FileImage:
    """One image, or the reason why there is none.

    Attributes:
        stem: name for its results, unique within one `read_frames`.
        source: the file.
        image: RGB uint8 (H, W, 3); None with an ``error``.
        error: the reason why there is no image.
        dropped: number of the file's images that the ``error`` affects.
        pages: number of images in the file, of which this is the first.
        position: number of the input in `read_frames`, from 0; a file given twice has two.
    """

    stem: str
    source: Path
    image: np.ndarray | None = None
    error: str | None = None
    dropped: int = 0
    pages: int = 1
    position: int = 0


def list_sources(inputs: Iterable[str | os.PathLike[str]], results: Path | None = None) -> list[Path]:
    """Return the files that ``inputs`` mean: files themselves, and the images and videos in folders and below.

    The log lists the files skipped in a folder. If at least one input is usable, the list also has the unusable ones
    (missing, or a folder without images), so that reading them reports an error.

    Args:
        inputs: files and folders.
        results: a folder to skip, since the results go there; None for none.

    Raises:
        FileNotFoundError: an input is empty, or no input is usable.
    """
    sources, useless = [], []
    for given, path in ((given, Path(given)) for given in inputs):
        if given == "":  # an empty path means the working folder
            raise FileNotFoundError("an input is empty; give a file or folder. Is a shell variable unset?")
        files = _files_in(path, results) if path.is_dir() else [path]
        if not files or not (path.is_dir() or path.is_file()):
            useless.append(path)
        sources += files or [path]
    if len(useless) == len(sources):
        raise FileNotFoundError("; ".join(f"{path}: {_why_useless(path)}" for path in useless))
    return sources


def _files_in(folder: Path, results: Path | None) -> list[Path]:
    passed_over, unlisted = PassedOver(), []
    matches = find_files(folder, TAKEN_KINDS, passed_over, lambda error: unlisted.append(Path(error.filename)), results)
    files = [path for path, _ in matches]
    if str(passed_over):
        log.warning("%s: passed over %s", folder, passed_over)
    return files + unlisted


def _why_useless(path: Path) -> str:
    if not path.is_dir():
        return "no such file or folder"
    try:
        next(path.iterdir(), None)
    except OSError as error:
        return f"cannot be listed: {error.strerror}"
    return "no image or video in this folder"


def read_frames(sources: Iterable[Path], every: int = 1, input_range: InputRange = AUTO) -> Iterator[FileImage]:
    """Read image files, one frame each, and videos, one frame for each ``every``-th of theirs.

    A file that cannot be read gives one frame with an ``error``, and reading continues. A video with undecodable frames
    gives the others, then one frame with an ``error`` that counts them.

    Args:
        sources: image and video files.
        every: step between the frames of a video.
        input_range: black and white levels of 16-bit images, determined for each image by itself.

    Returns:
        Frames with the stem STEM for an image, STEM_000000 with the frame number for a video. A repeated stem gets _2,
        _3, … appended.
    """
    used: set[str] = set()
    for position, source in enumerate(sources):
        is_video = kind_of_named_file(source) is FileKind.VIDEO
        for frame in _read_video(source, every) if is_video else (read_image(source, input_range),):
            stem = unused_stem(frame.stem, used)
            used.add(stem)
            yield replace(frame, stem=stem, position=position)


def count_frames(sources: Collection[Path], every: int = 1) -> int | None:
    """Return how many frames `read_frames` may give; None if that is not known, or takes opening several videos."""
    videos = [source for source in sources if kind_of_named_file(source) is FileKind.VIDEO]
    if not videos:
        return len(sources)
    if len(videos) > 1:
        return None
    try:
        with closing(VideoFile(videos[0])) as video:
            frames = video.counted or video.estimate
    except (OSError, DamagedFileError):  # reading it reports the problem
        return len(sources)
    return len(sources) - 1 + -(-frames // every) if frames else None


def unused_stem(stem: str, used: Collection[str]) -> str:
    """Return ``stem``, with _2, _3, … appended if it is among the used ones."""
    candidate, number = stem, 1
    while candidate in used:
        number += 1
        candidate = f"{stem}_{number}"
    return candidate


def _failed(source: Path, error: str, dropped: int = 1) -> FileImage:
    return FileImage(source.stem, source, error=error, dropped=dropped)


def read_image(source: Path, input_range: InputRange = AUTO) -> FileImage:
    """Read an image file as 8-bit color, rotated upright by its EXIF data.

    Args:
        source: the file.
        input_range: black and white levels of a 16-bit image.
    """
    mapper = IntensityMapper(input_range)
    try:
        content = read_file(source)
        image = decode_rgb(content, mapper)
    except (FileNotFoundError, IsADirectoryError):
        return _failed(source, _why_useless(source))
    except OSError as error:
        return _failed(source, f"cannot be read: {error.strerror}")
    except DamagedFileError as error:
        return _failed(source, f"not a readable image: {error}")
    warn_of_file(str(source), mapper.note)
    return FileImage(source.stem, source, image=image, pages=pages_of(memoryview(content)))


def _read_video(source: Path, every: int) -> Iterator[FileImage]:
    try:
        video = VideoFile(source)
    except FileNotFoundError:
        yield _failed(source, _why_useless(source))
        return
    except OSError as error:
        yield _failed(source, f"cannot be read: {error.strerror}")
        return
    except DamagedFileError as error:
        yield _failed(source, f"not a readable video: {error}")
        return
    decoded = 0
    with closing(video):
        while video.grab():
            if video.number % every:
                continue
            image = video.retrieve()
            if image is not None:
                decoded += 1
                yield FileImage(f"{source.stem}_{video.number:06}", source, image=image[..., ::-1])
    dropped = video.dropped(every)
    if not decoded:
        yield _failed(source, "not a readable video: " + (video.problem or "no frame can be decoded"), max(1, dropped))
    elif video.problem and (dropped or not video.dropped()):
        yield _failed(source, video.problem, max(1, dropped))
