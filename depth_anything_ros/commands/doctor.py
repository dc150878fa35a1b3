"""`depth_anything_ros doctor`: check this machine, and print the fix for each problem.

Imports only the standard library, so that it also runs where packages are missing or broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.doctor.checks import CHECKS, Options
from depth_anything_ros.doctor.processes import run_check
from depth_anything_ros.doctor.report import report_json, section_text, summary, worst
from depth_anything_ros.doctor.section import PROBLEM, Section
from depth_anything_ros.system.atomic_file import atomic_write

STANDARD_OUTPUT = Path("-")
EPILOG = """\
The command installs and changes nothing. The check of messages sends a few large images between two processes over a
private topic in your ROS domain. Each check has a time limit. The exit status is 1 if a problem stops a part
of the package from working, else 0.

examples: depth_anything_ros doctor
          depth_anything_ros doctor --cameras               # measures every camera's rate too
          depth_anything_ros doctor --only messages ros
          depth_anything_ros doctor --json report.json      # for a bug report"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, metavar="CHECK", help=f"run only these: {', '.join(CHECKS)}"
    )
    parser.add_argument(
        "--cameras",
        nargs="*",
        type=parse.source,
        metavar="SOURCE",
        help="measure the rates of these cameras: numbers, devices or URLs (without any: every /dev/videoN)",
    )
    parser.add_argument(
        "--model", type=parse.model, default="tiny", help="model whose backend is predicted (default: %(default)s)"
    )
    parser.add_argument(
        "--time-limit", type=parse.positive, metavar="SECONDS", help="maximum time of each check (default: 30 to 120)"
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const=STANDARD_OUTPUT,
        type=parse.output_file,
        metavar="FILE",
        help="write the report as JSON into FILE, or to standard output instead of the text",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the checks, and print a section after each. Return 1 if there is a problem, else 0."""
    options = Options(arguments.model, arguments.cameras is not None, arguments.cameras or ())
    chosen = [name for name in CHECKS if not arguments.only or name in arguments.only]
    progress, sections = _Progress(), []
    for name in chosen:
        section = run_check(name, options, arguments.time_limit, progress.show)
        progress.clear()
        sections.append(section)
        if arguments.json != STANDARD_OUTPUT:
            _print(section)
    report = json.dumps(report_json(sections), indent=2)
    if arguments.json == STANDARD_OUTPUT:
        print(report)
    else:
        print(summary(sections))
    if arguments.json not in (None, STANDARD_OUTPUT):
        atomic_write(arguments.json, f"{report}\n".encode())
    return int(worst(sections) == PROBLEM)


def _print(section: Section) -> None:
    colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(section_text(section, colored), flush=True)


class _Progress:
    """One line on standard error for a check that takes long; rewritten in a terminal."""

    def __init__(self) -> None:
        self._rewrites, self._width = sys.stderr.isatty(), 0

    def show(self, title: str, seconds: float, limit: float) -> None:
        text = f"{title}: checking for {seconds:.0f} s, at most {limit:g} s"
        print(
            f"\r{text:<{self._width}}" if self._rewrites else text, end="" if self._rewrites else "\n", file=sys.stderr
        )
        sys.stderr.flush()
        self._width = max(self._width, len(text))

    def clear(self) -> None:
        if self._rewrites and self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0
