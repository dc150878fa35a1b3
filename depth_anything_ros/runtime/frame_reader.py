"""Images, folders and videos as one stream of frames, in which what cannot be read is an entry like any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from depth_anything_ros.runtime.compressed_files import DamagedFileError
from depth_anything_ros.runtime.intensity import AUTO, InputRange, IntensityMapper, warn_of_file
from depth_anything_ros.runtime.picture_files import decode_rgb

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


@dataclass(frozen=True)
class Frame:
    """One image, or the reason why there is none.

    ``stem`` names its results and is unique within one `read_frames`; ``source`` is the file it came from.
    ``image`` is RGB uint8 (H, W, 3), None if ``error`` says what is wrong.
    """

    stem: str
    source: Path
    image: np.ndarray | None = None
    error: str | None = None


def list_sources(inputs: Iterable[str | Path]) -> list[Path]:
    """The files meant by ``inputs``: files as they are, folders as the images and videos in them, sorted by name.

    Raises:
        FileNotFoundError: an input does not exist, or is empty, or a folder holds neither images nor videos.
    """
    sources: list[Path] = []
    for given, path in ((given, Path(given)) for given in inputs):
        if given == "":  # would be the working folder
            raise FileNotFoundError("an input is empty, a file or folder is wanted; is a variable of the shell unset?")
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            if not found:
                raise FileNotFoundError(f"{path}: no image or video in this folder")
            sources += found
        elif path.is_file():
            sources.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return sources


def read_frames(sources: Iterable[Path], every: int = 1, input_range: InputRange = AUTO) -> Iterator[Frame]:
    """Reads image files, one frame each, and videos, one frame for each ``every``-th of theirs.

    Of images of 16 bits ``input_range`` says what becomes black and white, each by itself.

    Frames of images are called STEM, those of videos STEM_000000 by their number in the video; a name that was had
    before gets _2, _3, … . A file that cannot be read gives one frame with an ``error``, and reading goes on.
    """
    used: set[str] = set()
    for source in sources:
        is_video = source.suffix.lower() in VIDEO_SUFFIXES
        for frame in _read_video(source, every) if is_video else (_read_image(source, input_range),):
            stem = _unused(frame.stem, used)
            used.add(stem)
            yield replace(frame, stem=stem)


def _unused(stem: str, used: set[str]) -> str:
    candidate, number = stem, 1
    while candidate in used:
        number += 1
        candidate = f"{stem}_{number}"
    return candidate


def _read_image(source: Path, input_range: InputRange) -> Frame:
    """An image file as 8-bit colour, turned upright as its EXIF data says."""
    try:
        content = np.fromfile(source, np.uint8)  # cv2.imread knows no reasons, and on some systems no Unicode names
    except OSError as error:
        return Frame(source.stem, source, error=str(error))
    if not content.size:
        return Frame(source.stem, source, error="the file is empty")
    mapper = IntensityMapper(input_range)
    try:
        image = decode_rgb(content, mapper)
    except DamagedFileError as error:
        return Frame(source.stem, source, error=f"not a readable image: damaged, or of an unknown kind ({error})")
    warn_of_file(str(source), mapper.note)
    return Frame(source.stem, source, image=image)


def _read_video(source: Path, every: int) -> Iterator[Frame]:
    capture = cv2.VideoCapture(str(source))
    try:
        number = 0
        while capture.grab():
            if number % every == 0:
                decoded, bgr = capture.retrieve()
                if not decoded:
                    break
                yield Frame(f"{source.stem}_{number:06}", source, image=bgr[..., ::-1])
            number += 1
        if number == 0:
            yield Frame(source.stem, source, error="not a readable video: damaged, or of an unknown kind")
    finally:
        capture.release()
