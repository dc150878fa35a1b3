"""A process that runs nodes: environment, executor, signals, and a tidy end. Shared by every way to start them."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from depth_anything_ros.share import use_fast_dds_profile

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MESSAGE_MEMORY = 32 << 20
"""Blocks up to this many bytes are kept for the next message; the largest value that glibc takes."""


def run_nodes(
    create: Sequence[Callable[[], Node]],
    user_errors: tuple[type[Exception], ...],
    arguments: Sequence[str] | None = None,
) -> int:
    """Creates nodes, spins them in this process until told to stop, and returns the exit status.

    They end on SIGINT or SIGTERM, or when a node that has a future called ``finished`` is done. ``user_errors`` (and
    bad parameters) while they are created, or in ``finished``, are what a user can mend: they become one FATAL line
    in the log and the status 1. ``arguments``: the command line with its ROS arguments; default: that of the process.
    """
    use_fast_dds_profile()
    keep_message_memory()
    stop = threading.Event()
    # Not rclpy's handlers: those raise KeyboardInterrupt wherever the main thread is, within the clean-up too, which a
    # second SIGINT (a terminal and `ros2 launch` each send one) then breaks off.
    handlers = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    nodes: list[Node] = []
    try:
        for create_node in create:
            nodes.append(create_node())
        _spin(nodes, stop)
    except (*user_errors, ParameterException) as error:
        get_logger("depth_anything_ros").fatal(" ".join(str(error).split()))
        return 1
    finally:
        for node in reversed(nodes):
            node.destroy_node()
        rclpy.try_shutdown()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


def _spin(nodes: list[Node], stop: threading.Event) -> None:
    """Spins on a thread of its own while this one waits for ``stop``, since only a wait in Python heeds signals."""
    executor = SingleThreadedExecutor()
    futures = [node.finished for node in nodes if hasattr(node, "finished")]
    for node in nodes:
        executor.add_node(node)
    for future in futures:
        future.add_done_callback(lambda _: stop.set())
    failures: list[BaseException] = []
    thread = threading.Thread(target=_spin_thread, args=(executor, failures, stop), name="executor")
    thread.start()
    try:
        stop.wait()
    finally:
        executor.shutdown()
        thread.join()
    for future in futures:
        if future.done():
            future.result()
    if failures:
        raise failures[0]


def _spin_thread(executor: Executor, failures: list[BaseException], stop: threading.Event) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except BaseException as error:  # a callback failed: the main thread raises it
        failures.append(error)
    finally:
        stop.set()


def keep_message_memory() -> None:
    """Lets glibc keep the memory of large messages.

    By default it maps every block of megabytes anew and the kernel clears it page by page, which costs a subscriber to
    images and clouds half of its time. Without glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MESSAGE_MEMORY)
        mallopt(M_TRIM_THRESHOLD, 16 * MESSAGE_MEMORY)
