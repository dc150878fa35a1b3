"""Run each check in its own process, so a check that hangs or crashes does not affect the others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from depth_anything_ros.doctor.checks import CHECKS, Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.system.child_process import end_with_parent, try_to_end_group

TICK = 2.0
"""Maximum seconds without a progress report."""
SECONDS_TO_END = 1.0
"""Seconds between SIGTERM and SIGKILL."""
LAST_LINES = 3

Report = Callable[[str, float, float], None]
"""Receives the title of the running check, its seconds so far and its limit, every `TICK` seconds."""


def run_check(name: str, options: Options, limit: float | None, report: Report) -> Section:
    """Run one check and return its section, also if its process hangs or crashes.

    Args:
        name: A key of `CHECKS`.
        options: Options of the checks.
        limit: Time limit in seconds; None for the check's own limit.
        report: Shows progress.
    """
    check = CHECKS[name]
    limit = check.seconds if limit is None else limit
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "depth_anything_ros.doctor.child", name, json.dumps(options.to_json())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=partial(end_with_parent, os.getpid()),
    )
    try:
        is_cut_off, output, errors = _wait(process, started, limit, lambda taken: report(check.title, taken, limit))
    finally:
        try_to_end_group(process, SECONDS_TO_END)  # including the children of the check
    section = _last_section(output) or Section(name, check.title)
    section.seconds = round(time.monotonic() - started, 3)
    if is_cut_off:
        section.problem(f"this check did not end within {limit:g} s and was cut off; {check.remedy}")
    elif process.returncode != 0:
        section.problem(f"this check {_end_of(process.returncode)}: {_last_lines(errors)}; {check.remedy}")
    return section


def _wait(
    process: subprocess.Popen[bytes], started: float, limit: float, tick: Callable[[float], None]
) -> tuple[bool, bytes, bytes]:
    """Return whether the process was cut off, its standard output and its standard error."""
    while True:
        remaining = started + limit - time.monotonic()
        try:
            return False, *process.communicate(timeout=max(0.0, min(TICK, remaining)))
        except subprocess.TimeoutExpired:
            if remaining > TICK:
                tick(time.monotonic() - started)
                continue
        try_to_end_group(process, SECONDS_TO_END)
        return True, *_output_so_far(process)


def _output_so_far(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Return the output of a killed process, which may still hang in a driver."""
    try:
        return process.communicate(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired as error:
        return error.output or b"", error.stderr or b""


def _last_section(output: bytes) -> Section | None:
    for line in reversed(output.decode(errors="replace").splitlines()):
        try:
            return Section.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError):  # the process was killed while it wrote the line
            continue
    return None


def _end_of(status: int) -> str:
    if status > 0:
        return f"ended with status {status}"
    try:
        return f"crashed ({signal.Signals(-status).name})"
    except ValueError:
        return f"crashed (signal {-status})"


def _last_lines(errors: bytes) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", errors.decode(errors="replace"))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return " | ".join(lines[-LAST_LINES:]) or "no output"
