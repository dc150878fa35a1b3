"""The output of a run: a log for programs, TensorBoard's files, a progress bar. None of it can end the run."""

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
    """The log of losses and scores: one line of JSON for each entry, and the same in TensorBoard if it is installed.

    If the log cannot be written, for example on a full disk, a warning reports it once. Entries are kept until they can
    be written, and TensorBoard gets them after that.

    Args:
        folder: the run's folder.
        first_step: steps done when the run resumes; TensorBoard drops later entries of an earlier log.
    """

    def __init__(self, folder: StageFolder, first_step: int) -> None:
        self._path = folder.log
        self._unwritten: list[tuple[str, dict[str, float], int]] = []
        self._events = _open_events(folder.events, first_step)

    def add_values(self, step: int, values: dict[str, float], prefix: str) -> None:
        """Add the values of a step; NaN and infinity become null, since JSON has no word for them.

        Args:
            step: the step.
            values: by name.
            prefix: "loss", "validation" or "validation/SOURCE".
        """
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"time": round(time.time(), 1), "step": step, prefix: known}) + "\n"
        self._unwritten.append((line, {f"{prefix}/{name}": value for name, value in values.items()}, step))
        self._write()

    def add_picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Add a picture to TensorBoard.

        Args:
            step: the step.
            name: the tag.
            image: RGB uint8 (H, W, 3).
        """
        if not self._unwritten:
            self._call_tensorboard("add_image", name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Write entries that are still in memory."""
        if self._unwritten:
            self._write()
        self._call_tensorboard("close")

    def _write(self) -> None:
        try:
            _append(self._path, "".join(line for line, _, _ in self._unwritten).encode())
        except OSError as error:
            if len(self._unwritten) == 1:
                log.warning("%s; training continues, and writes the log when it can", describe_error(error))
            return
        for _, values, step in self._unwritten:
            for name, value in values.items():
                self._call_tensorboard("add_scalar", name, value, step)
        self._unwritten.clear()

    def _call_tensorboard(self, method: str, *arguments: Any, **named: Any) -> None:
        if self._events is None:
            return
        try:
            getattr(self._events, method)(*arguments, **named)
        except OSError as error:
            log.warning(
                "TensorBoard's files cannot be written: %s; training continues without them", describe_error(error)
            )
            self._events = None


def _append(path: Path, content: bytes) -> None:
    """Append all of the content to a file or, if that fails, nothing. Raise `OSError`."""
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
        log.warning("TensorBoard's files cannot be written: %s; training continues without them", describe_error(error))
        return None


class ProgressBar:
    """The progress of a run, redrawn ten times a second on a terminal and twice a minute in a file.

    Args:
        name: of the run.
        first: steps done already.
        last: steps in all.
        shown: whether to draw it.
    """

    def __init__(self, name: str, first: int, last: int, shown: bool) -> None:
        interval = 0.1 if sys.stderr.isatty() else 30.0
        stream = _IgnoringErrors(sys.stderr)
        self._bar = tqdm(
            initial=first, total=last, desc=name, unit="step", disable=not shown, mininterval=interval, file=stream
        )

    def step(self) -> None:
        """Count one step."""
        self._bar.update()

    def show_values(self, values: dict[str, float]) -> None:
        """Set the values next to the bar."""
        self._bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)

    def print_line(self, text: str) -> None:
        """Print a line on standard output, above the bar."""
        self._bar.write(text, file=_IgnoringErrors(sys.stdout))

    def close(self) -> None:
        """Stop drawing; the bar stays visible."""
        self._bar.close()


class _IgnoringErrors:
    """A stream that ignores a full disk or a closed pipe: its text is only for people to look at."""

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
