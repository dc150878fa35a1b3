"""What a run tells meanwhile: a log for programs, TensorBoard's files, a bar for people. None of it can end the run."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from depth_anything_ros.system.atomic_file import describe_error, naming
from depth_anything_ros.training.run.folder import StageFolder

log = logging.getLogger(__name__)


class RunLog:
    """A line of JSON for every entry, and the same in TensorBoard where it is installed.

    Where the log cannot be written, on a full disk say, a warning says so once; entries are kept, and written when they
    can be. TensorBoard is told of no entry before.

    ``first_step``: how many were done when the run goes on; TensorBoard forgets what an earlier log has of later ones.
    """

    def __init__(self, folder: StageFolder, first_step: int) -> None:
        self._path = folder.log
        self._unwritten: list[tuple[str, dict[str, float], int]] = []
        self._events = _open_events(folder.events, first_step)

    def numbers(self, step: int, values: dict[str, float], prefix: str) -> None:
        """Values of a step; null stands for what is no number, for which JSON has no word."""
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"time": round(time.time(), 1), "step": step, prefix: known}) + "\n"
        self._unwritten.append((line, {f"{prefix}/{name}": value for name, value in values.items()}, step))
        self._write()

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture of a step, RGB uint8 (H, W, 3); TensorBoard alone keeps it."""
        if not self._unwritten:
            self._tell_tensorboard("add_image", name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is still in memory."""
        if self._unwritten:
            self._write()
        self._tell_tensorboard("close")

    def _write(self) -> None:
        try:
            _append(self._path, "".join(line for line, _, _ in self._unwritten).encode())
        except OSError as error:
            if len(self._unwritten) == 1:
                log.warning("%s; training goes on, and the log when it can be written", describe_error(error))
            return
        for _, values, step in self._unwritten:
            for name, value in values.items():
                self._tell_tensorboard("add_scalar", name, value, step)
        self._unwritten.clear()

    def _tell_tensorboard(self, method: str, *arguments: Any, **named: Any) -> None:
        if self._events is None:
            return
        try:
            getattr(self._events, method)(*arguments, **named)
        except OSError as error:
            log.warning(
                "TensorBoard's files cannot be written: %s; training goes on without them", describe_error(error)
            )
            self._events = None


def _append(path: Path, content: bytes) -> None:
    """Adds to a file all of it or, where that fails, nothing. Raises `OSError`."""
    with naming(path), path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            with suppress(OSError):
                os.truncate(file.fileno(), before)
            raise


def _open_events(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    try:
        return SummaryWriter(str(folder), purge_step=first_step + 1)
    except OSError as error:
        log.warning("TensorBoard's files cannot be written: %s; training goes on without them", describe_error(error))
        return None


class Bar:
    """How far a run has come. Drawn anew ten times a second for people, twice a minute where a file keeps it."""

    def __init__(self, name: str, first: int, last: int, shown: bool) -> None:
        interval = 0.1 if sys.stderr.isatty() else 30.0
        stream = _Heedless(sys.stderr)
        self._bar = tqdm(
            initial=first, total=last, desc=name, unit="step", disable=not shown, mininterval=interval, file=stream
        )

    def step(self) -> None:
        """One step more is done."""
        self._bar.update()

    def numbers(self, values: dict[str, float]) -> None:
        """What is shown beside the bar from now on."""
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)

    def say(self, text: str) -> None:
        """A line on standard output, above the bar."""
        self._bar.write(text, file=_Heedless(sys.stdout))

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


class _Heedless:
    """A stream that lets a full disk, or a reader that has gone, be: what it is told is only for people to look at."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
