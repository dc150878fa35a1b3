"""Run nodes in a process: middleware profile, memory, signals and exit status."""

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
from rclpy.lifecycle import LifecycleNode
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
"""Errors of a node that cannot start or continue, for a reason that the user can fix."""
SIGNALS = signal.SIGINT, signal.SIGTERM
WATCHDOG = "watchdog"
INFRASTRUCTURE = "rcl_interfaces.", "lifecycle_msgs."
"""Packages of the messages of logs, parameters and lifecycle states."""
SECONDS_TO_END = 1.2
"""Maximum seconds between a signal and the end of the nodes. After that, only a library call that hangs is running."""


def run_node(name: str, create: Callable[[], Node], arguments: Sequence[str] | None = None) -> int:
    """Run one node; see `run_nodes`.

    Args:
        name: name of the logger.
        create: creates the node.
        arguments: command line with its ROS arguments; default: ``sys.argv``.
    """
    return run_nodes(name, [create], arguments)


def run_nodes(
    name: str,
    create: Sequence[Callable[[], Node]],
    arguments: Sequence[str] | None = None,
    later: Sequence[str] = (),
) -> int:
    """Run nodes until SIGINT, SIGTERM, a failure or the end of a node.

    The nodes are created one after the other. Then ``start`` is called on each node that has ``autostarts`` set, in the
    same order. The executor already spins. A node that ends by itself has a future ``finished``. When all are running,
    the topics that they publish are logged, and ``announce`` is called on each node that has it.

    Signals are handled here and not by rclpy, whose handlers invalidate the context while the nodes still publish. The
    nodes therefore end in order, without a traceback. After `SECONDS_TO_END` the process ends itself.

    Args:
        name: name of the logger.
        create: create the nodes.
        arguments: command line with its ROS arguments; default: ``sys.argv``.
        later: names of the nodes after the first.

    Returns:
        The exit status: 0 after a signal or a normal end. 1 if the result of a node's ``finished`` is a problem, which
        the node has logged. 1, with one logged line, if a node raises one of `USER_ERRORS` at creation, at start or
        through ``finished``.
    """
    prepare_process()
    stop: queue.SimpleQueue[BaseException | str | None] = queue.SimpleQueue()
    _handle_signals(stop)
    runner, failure = None, None
    try:
        _prepare_middleware(name)
        words = sys.argv if arguments is None else arguments
        check_command_line(words)
        _init(name, words)
        runner = _NodeRunner(name, [lambda: _first_node(name, create[0], words, later), *create[1:]], stop)
        failure = stop.get()
    except USER_ERRORS as error:
        failure = error
    finally:
        if runner is not None:
            runner.end()
        if isinstance(failure, USER_ERRORS):
            get_logger(name).fatal(f"cannot go on: {_one_line(failure)}")
        rclpy.try_shutdown()
    for number in SIGNALS:  # else another signal would kill the interpreter during its shutdown
        signal.signal(number, signal.SIG_IGN)
    if isinstance(failure, BaseException) and not isinstance(failure, USER_ERRORS):
        raise failure
    status = 0 if failure is None else 1
    runner, failure = None, None
    gc.collect()  # frees the nodes' shared memory, which an abrupt end would leave behind
    if any(_may_be_in_a_library(thread) for thread in threading.enumerate()):
        _end_process(status)  # the thread would abort when it returns to a finalized interpreter
    return status


def _first_node(name: str, create: Callable[[], Node], arguments: Sequence[str], later: Sequence[str]) -> Node:
    """Create the first node, and warn about parameter options that no node reads; ROS silently ignores those."""
    node = create()
    namespace = node.get_namespace().rstrip("/")
    names = [node.get_fully_qualified_name(), *(f"{namespace}/{other}" for other in later)]
    for problem in unread_on_command_line(arguments, names):
        get_logger(name).warning(problem)
    return node


def _may_be_in_a_library(thread: threading.Thread) -> bool:
    """Return whether a remaining thread may be loading a model. The watchdog and rclpy's threads wait in Python."""
    return thread.daemon and thread.name != WATCHDOG and not thread.name.startswith("ThreadPoolExecutor")


def prepare_process() -> None:
    """Configure memory allocation and OpenCV's threads for a node's process."""
    keep_freed_memory()
    # OpenCV's other threads busy-wait: 8 % of the CPU time of a 640x480 frame, with no gain in speed.
    cv2.setNumThreads(1)


def _prepare_middleware(name: str) -> None:
    """Set the Fast DDS profile, and log what is wrong with the environment. Call it before `rclpy.init`."""
    use_fast_dds_profile()
    for advice in middleware_advice(get_rmw_implementation_identifier(), os.environ):
        if advice.is_warning:
            get_logger(name).warning(advice.text)
        else:
            get_logger(name).info(advice.text)


def _init(name: str, arguments: Sequence[str]) -> None:
    """Initialize rclpy. Disable log files if their folder is not writable, which would end the process."""
    problem = log_folder_problem(os.environ)
    more = ["--ros-args", "--disable-external-lib-logs"] if problem else []
    rclpy.init(args=[*arguments, *more], signal_handler_options=SignalHandlerOptions.NO)
    if problem:
        get_logger(name).warning(f"{problem}: logging only to the terminal and /rosout; set ROS_LOG_DIR")


def log_folder_problem(environment: Mapping[str, str]) -> str:
    """Return why ROS 2 cannot write its log files, by the rules of rcl_logging; "" if it can."""
    home = environment.get("ROS_HOME") or os.path.join("~", ".ros")
    folder = Path(environment.get("ROS_LOG_DIR") or os.path.join(home, "log")).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        return f"no log can be written to {folder} ({getattr(error, 'strerror', None) or error})"


def _handle_signals(stop: queue.SimpleQueue[BaseException | str | None]) -> None:
    """Start a thread that puts None into ``stop`` at a signal, and ends the process if the nodes do not end.

    A Python handler runs in the main thread. A signal does not wake that thread if the kernel delivers it to another,
    for example one that is starting a thread. C writes to the wakeup pipe in whichever thread receives the signal.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # required by `set_wakeup_fd`

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
    """Return the resolved names of the topics that the nodes publish, without those that every node has."""
    publishers = [publisher for node in nodes for publisher in node.publishers]
    names = {entry.topic_name for entry in publishers if not entry.msg_type.__module__.startswith(INFRASTRUCTURE)}
    return sorted(names - {"/diagnostics"})


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


class _End(Future):
    """The future that the executor spins until. It keeps one callback, because rclpy 7 adds one per execution."""

    _wakes = False

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        """Add the executor's callback, which wakes it, only once."""
        if not self._wakes:
            self._wakes = True
            super().add_done_callback(callback)


class _NodeRunner:
    """The nodes of a process, with a thread that creates and starts them and one that spins them.

    Both are separate from the main thread, which handles signals only while it waits in Python. The end of a node and
    the errors of either thread are put into ``stop``.
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
            if not self._is_ending:  # else it would stay in the queue and keep the nodes alive
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
        topics = _topics(self._nodes)
        if topics or any(isinstance(node, LifecycleNode) for node in self._nodes):
            get_logger(self._name).info(f"publishes {', '.join(topics) or 'nothing until configured'}")
        for node in self._nodes:
            if hasattr(node, "announce"):
                node.announce()

    def end(self) -> None:
        """Stop both threads, then destroy the nodes, the last one first."""
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
