"""The entry point `depth_anything_ros`: parses the sub-command, imports only what it needs, reports errors."""

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
from depth_anything_ros.system.extras import import_problem

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PIPE_CLOSED = 128 + signal.SIGPIPE
"""Exit status if the reader of the output has closed it, as `head` does: the shell's for SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status."""
    is_process = arguments is None
    if is_process:
        _allow_undecodable_names()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        try:
            return _run(command, arguments)
        finally:
            if sys.stdout is not None:  # None if the parent closed it
                sys.stdout.flush()  # now, while a closed pipe can be handled
    except BrokenPipeError as error:
        if not _reader_has_gone():
            return _failed(command, error)
        return PIPE_CLOSED
    except ImportError as error:
        return _failed(command, import_problem(error))
    except (CommandError, ModelError, OSError, ValueError) as error:
        return _failed(command, error)
    except KeyboardInterrupt:
        if is_process:  # a second Ctrl-C would print the interpreter's traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130


def _allow_undecodable_names() -> None:
    """Print file names that the terminal's encoding cannot represent with escapes, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(command: str | None, arguments: list[str]) -> int:
    parser = build_parser(command)
    parsed = parser.parse_args(arguments)
    if command is None:
        parser.print_help(sys.stderr)
        print("\ndepth_anything_ros: error: no command; give one of these", file=sys.stderr)
        return 2
    from depth_anything_ros.commands.overwriting import refuse_overwriting

    refuse_overwriting(parser, parsed)
    with _download_log(), _download_question(command):
        return parsed.run(parsed) or 0


@contextmanager
def _download_log() -> Iterator[None]:
    """Print the download log to standard error, for every command that needs a model."""
    log, handler = logging.getLogger("depth_anything_ros.zoo.download"), logging.StreamHandler()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@contextmanager
def _download_question(command: str) -> Iterator[None]:
    """Ask before a large download if a person can answer; `models fetch` is an answer already."""
    if command == "models" or not all(stream and stream.isatty() for stream in (sys.stdin, sys.stderr)):
        yield
        return
    from depth_anything_ros.zoo.download import confirmation

    token = confirmation.set(_ask)
    try:
        yield
    finally:
        confirmation.reset(token)


def _ask(question: str) -> bool:
    print(f"{question} [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("", "y", "yes")


def _failed(command: str | None, error: object) -> int:
    print(f"depth_anything_ros {command}: {_message(error)}", file=sys.stderr)
    return getattr(error, "status", 1)


def _message(error: object) -> object:
    if not isinstance(error, OSError):
        return error
    from depth_anything_ros.system.atomic_file import describe_error

    if error.filename is None and error.errno in FULL:  # writers of files name the file
        _redirect_to_null([sys.stdout])  # so that the interpreter ends quietly
        return f"standard output: {error.strerror}"
    return describe_error(error)


def _reader_has_gone() -> bool:
    """Return whether a reader has closed the output. It is then redirected, so that the interpreter ends quietly."""
    gone = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_closed_pipe(stream.fileno())]
    _redirect_to_null(gone)
    return bool(gone)


def _redirect_to_null(streams: Iterable[TextIO]) -> None:
    for stream in streams:
        with suppress(OSError, ValueError):  # a calling program may have replaced it by a stream without a file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_closed_pipe(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)  # poll reports errors always
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    sys.exit(main())
