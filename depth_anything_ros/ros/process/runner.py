"""What a node's process needs around it: the middleware's profile, memory, signals, and an exit status."""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.utilities import get_rmw_implementation_identifier

from depth_anything_ros.ros.parameter_files import check_command_line, unread_on_command_line
from depth_anything_ros.ros.process.middleware import middleware_advice
from depth_anything_ros.system.malloc import keep_freed_memory
from depth_anything_ros.system.package_share import use_fast_dds_profile

USER_ERRORS = (RuntimeError, ValueError, OSError, ParameterException, NameValidationException)
"""What a node raises when it cannot start, or go on, for a reason that a user can mend."""
SIGNALS = signal.SIGINT, signal.SIGTERM
WATCHDOG = "watchdog"
SECONDS_TO_END = 1.2
"""How long the nodes may take to end after a signal; whatever still runs then is a library that does not return."""


def run_node(name: str, create: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Runs one node; see `run_nodes`."""
    return run_nodes(name, [create], arguments)


def run_nodes(
    name: str,
    create: Sequence[Callable[[], Node]],
    arguments: Sequence[str] | None = None,
    later: Sequence[str] = (),
) -> int:
    """Runs nodes until SIGINT, SIGTERM, a failure or the end of one, and returns the process's exit status.

    They are created one after the other; then each that ``autostarts`` has its ``start`` called, in the same order. All
    are spun already. A node that ends by itself has a future called ``finished``. The signals are handled here and
    not by rclpy, whose handlers invalidate the context while the nodes still publish; so they end in order, without a
    traceback, and within `SECONDS_TO_END`, after which the process ends itself. Which topics they publish is logged
    once they all run.
    0 after a signal or an end; 1 where a node's ``finished`` holds what it could not do, which it has said; and, with
    one line in the log under ``name``, for one of `USER_ERRORS` while a node is created or started, or in its
    ``finished``. ``arguments``: the command line with its ROS arguments; default: the process's own. ``later``: the
    names of the nodes after the first.
    """
    prepare_process()
    stop: queue.SimpleQueue[BaseException | str | None] = queue.SimpleQueue()
    _handle_signals(stop)
    crew, failure = None, None
    try:
        _prepare_middleware(name)
        words = sys.argv if arguments is None else arguments
        check_command_line(words)
        _init(name, words)
        crew = _Crew(name, [lambda: _first_node(name, create[0], words, later), *create[1:]], stop)
        failure = stop.get()
    except USER_ERRORS as error:
        failure = error
    finally:
        if crew is not None:
            crew.end()
        if isinstance(failure, USER_ERRORS):
            get_logger(name).fatal(f"cannot go on: {_one_line(failure)}")
        rclpy.try_shutdown()
    for number in SIGNALS:  # else the interpreter, while it ends, has the next one kill it
        signal.signal(number, signal.SIG_IGN)
    if isinstance(failure, BaseException) and not isinstance(failure, USER_ERRORS):
        raise failure
    status = 0 if failure is None else 1
    crew, failure = None, None
    gc.collect()  # with the nodes' last references goes their shared memory, which an abrupt end would leave behind
    if any(_may_be_in_a_library(thread) for thread in threading.enumerate()):
        _end_process(status)  # it would come back to an interpreter that is gone, and abort
    return status


def _first_node(name: str, create: Callable[[], Node], arguments: Sequence[str], later: Sequence[str]) -> Node:
    """Creates it, and says what the command line tells no node of the process; ROS ignores that without a word."""
    node = create()
    namespace = node.get_namespace().rstrip("/")
    names = [node.get_fully_qualified_name(), *(f"{namespace}/{other}" for other in later)]
    for trouble in unread_on_command_line(arguments, names):
        get_logger(name).warning(trouble)
    return node


def _may_be_in_a_library(thread: threading.Thread) -> bool:
    """Whether a thread that is left may be loading a model; the watchdog and rclpy's own wait in Python."""
    return thread.daemon and thread.name != WATCHDOG and not thread.name.startswith("ThreadPoolExecutor")


def prepare_process() -> None:
    """Sets what a node's process needs of memory and threads."""
    keep_freed_memory()
    # OpenCV's other threads spin while they wait: 8 % of the processor time of a 640x480 frame, for no time gained.
    cv2.setNumThreads(1)


def _prepare_middleware(name: str) -> None:
    """Has Fast DDS read the package's profile, and says what the surroundings lack; before `rclpy.init`."""
    use_fast_dds_profile()
    for advice in middleware_advice(get_rmw_implementation_identifier(), os.environ):
        if advice.is_warning:
            get_logger(name).warning(advice.text)
        else:
            get_logger(name).info(advice.text)


def _init(name: str, arguments: Sequence[str]) -> None:
    """Initializes rclpy; without files of log where their folder cannot be written, which would end the process."""
    trouble = log_folder_trouble(os.environ)
    more = ["--ros-args", "--disable-external-lib-logs"] if trouble else []
    rclpy.init(args=[*arguments, *more], signal_handler_options=SignalHandlerOptions.NO)
    if trouble:
        get_logger(name).warning(f"{trouble}: the log goes to the terminal and /rosout alone; set ROS_LOG_DIR")


def log_folder_trouble(environment: Mapping[str, str]) -> str:
    """Why ROS 2 cannot write its log files, "" where it can; its rules are rcl_logging's."""
    home = environment.get("ROS_HOME") or os.path.join("~", ".ros")
    folder = Path(environment.get("ROS_LOG_DIR") or os.path.join(home, "log")).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except (OSError, RuntimeError) as error:  # the last: there is no home
        return f"no log can be written in {folder} ({getattr(error, 'strerror', None) or error})"


def _handle_signals(stop: queue.SimpleQueue[BaseException | str | None]) -> None:
    """Has a thread put a signal into ``stop``, and end a process that does not end.

    A handler in Python runs when the main thread comes to it, which a signal does not wake where another thread takes
    it from the kernel: one that is starting a thread itself does. What C writes to a pipe is read whoever took it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as `set_wakeup_fd` demands

    def watch() -> None:
        while os.read(reader, 1)[0] not in SIGNALS:
            pass
        stop.put(None)
        time.sleep(SECONDS_TO_END)
        _end_process()

    threading.Thread(target=watch, name=WATCHDOG, daemon=True).start()
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)


def _end_process(status: int = 0) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _topics(nodes: Sequence[Node]) -> list[str]:
    """What the nodes publish of what sensors give, by resolved name."""
    publishers = [publisher for node in nodes for publisher in node.publishers]
    return sorted({entry.topic_name for entry in publishers if entry.msg_type.__module__.startswith("sensor_msgs")})


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


class _End(Future):
    """What an executor spins until. Keeps one callback: rclpy 7 adds another like it with all that it executes."""

    _wakes = False

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        """Takes the executor's own call that wakes it, once."""
        if not self._wakes:
            self._wakes = True
            super().add_done_callback(callback)


class _Crew:
    """The nodes of a process, with a thread that creates and starts them and one that spins them.

    Both are apart from the main thread, which heeds signals only while it waits in Python. What ends a node by itself,
    and what goes wrong in either thread, is put into ``stop``.
    """

    def __init__(
        self, name: str, create: Sequence[Callable[[], Node]], stop: queue.SimpleQueue[BaseException | str | None]
    ) -> None:
        self._name, self._create, self._stop = name, create, stop
        self._nodes: list[Node] = []
        self._is_ending = False
        self._end = _End()
        # Not the EventsExecutor: in rclpy 7 it hangs for good when another thread creates a publisher while it spins.
        self._executor = SingleThreadedExecutor()
        self._spinner = threading.Thread(target=self._attempt, args=(self._spin,), name="spin", daemon=True)
        self._starter = threading.Thread(target=self._attempt, args=(self._start,), name="start", daemon=True)
        self._spinner.start()
        self._starter.start()

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            if not self._is_ending:  # else nobody takes it, and it would hold on to the nodes
                self._stop.put(error)

    def _spin(self) -> None:
        self._executor.spin_until_future_complete(self._end)

    def _start(self) -> None:
        for create in self._create:
            if self._is_ending:
                return
            node = create()
            self._nodes.append(node)
            if hasattr(node, "finished"):
                node.finished.add_done_callback(lambda future: self._stop.put(future.exception() or future.result()))
            self._executor.add_node(node)
        for node in self._nodes:
            if getattr(node, "autostarts", False) and not self._is_ending:
                node.start()
        get_logger(self._name).info(f"publishes {', '.join(_topics(self._nodes)) or 'nothing until configured'}")

    def end(self) -> None:
        """Ends what starts and what spins, then destroys the nodes, the last one first."""
        self._is_ending = True
        for node in list(self._nodes):
            if hasattr(node, "abort"):
                node.abort()
        self._starter.join(SECONDS_TO_END)
        self._end.set_result(None)
        self._spinner.join()
        self._executor.shutdown()
        for node in reversed(self._nodes):
            node.destroy_node()
