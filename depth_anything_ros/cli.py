"""The one entry point, `depth_anything_ros`: parses the sub-command, imports only what it needs, reports errors."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands.registry import build_parser
from depth_anything_ros.runtime.errors import ModelError
from depth_anything_ros.system.extras import MissingPackagesError, advice

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PIPE_CLOSED = 128 + signal.SIGPIPE
"""Exit status where whoever reads the output has gone, as `head` has: the shell's for a process that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit status."""
    is_process = arguments is None
    if is_process:
        _print_any_name()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        try:
            return _run(command, arguments)
        finally:
            if sys.stdout is not None:  # closed by who started this
                sys.stdout.flush()  # here, where a reader that has gone is no error, and not as the interpreter ends
    except BrokenPipeError as error:
        if not _reader_has_gone():
            return _failed(command, error)
        return PIPE_CLOSED
    except ImportError as error:
        if isinstance(error, MissingPackagesError) or not error.name:
            return _failed(command, error)
        return _failed(command, f"{error}; {advice(error.name)}")
    except (CommandError, ModelError, OSError, ValueError) as error:
        return _failed(command, error)
    except KeyboardInterrupt:
        if is_process:  # it ends: another Ctrl-C would print a traceback of the interpreter's
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130


def _print_any_name() -> None:
    """Has names of files that are no text in the terminal's coding printed with escapes, as standard error has them."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(command: str | None, arguments: list[str]) -> int:
    parser = build_parser(command)
    parsed = parser.parse_args(arguments)
    if command is None:
        parser.print_help(sys.stderr)
        print("\ndepth_anything_ros: error: give one of these commands", file=sys.stderr)
        return 2
    from depth_anything_ros.commands.overwriting import refuse_overwriting  # with OpenCV, which --help needs not

    refuse_overwriting(parser, parsed)
    with _says_what_it_fetches():
        return parsed.run(parsed) or 0


@contextmanager
def _says_what_it_fetches() -> Iterator[None]:
    """Has the log's lines about fetching on standard error, whichever command it is that needs a model."""
    log, handler = logging.getLogger("depth_anything_ros.zoo.download"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _failed(command: str | None, error: object) -> int:
    print(f"depth_anything_ros {command}: {_in_words(error)}", file=sys.stderr)
    return getattr(error, "status", 1)


def _in_words(error: object) -> object:
    if not isinstance(error, OSError):
        return error
    from depth_anything_ros.system.atomic_file import describe_error

    if error.filename is None and error.errno in FULL:  # whoever writes a file names it
        _lead_nowhere([sys.stdout])  # so that the interpreter ends quietly
        return f"standard output: {error.strerror}"
    return describe_error(error)


def _reader_has_gone() -> bool:
    """Whether nobody reads what is printed any more; it then leads nowhere, so that the interpreter ends quietly."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_closed_pipe(stream.fileno())]
    _lead_nowhere(gone)
    return bool(gone)


def _lead_nowhere(streams: Iterable[TextIO]) -> None:
    for stream in streams:
        with suppress(OSError, ValueError):  # which is no file, where this is called by a program
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_closed_pipe(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # errors are always told of
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
