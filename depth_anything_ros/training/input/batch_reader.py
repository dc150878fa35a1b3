"""Batches in order, from processes that read ahead; the death of such a process becomes a clear error."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess

import torch
from torch.utils.data import DataLoader

from depth_anything_ros.system.signals import signal_handlers
from depth_anything_ros.training.input.batch import Batch
from depth_anything_ros.training.input.shared_memory import ENLARGE_SHARED_MEMORY


class ReaderError(RuntimeError):
    """A process that reads images has died; the message has the cause and the fix."""


class BatchReader(Iterator[Batch]):
    """One device's batches.

    PyTorch raises at any point of the main thread when a process of its loader dies. Here that happens only while a
    batch is awaited, so that no step stays half done.

    Args:
        loader: reads the batches.
        device: where they are moved.

    Raises:
        ReaderError: a process has died, from ``next``. Errors that a process met while reading are raised there too.
    """

    def __init__(self, loader: DataLoader, device: torch.device) -> None:
        earlier = active_children()
        self._iterator, self._device = iter(loader), device
        self._readers = [child for child in active_children() if child not in earlier]
        self._on_child_death = signal.getsignal(signal.SIGCHLD) if self._readers else None
        self._open = ExitStack()
        self._open.enter_context(signal_handlers({signal.SIGCHLD: signal.SIG_DFL}))

    def __next__(self) -> Batch:
        self._check_readers()  # one may have died since the last batch
        try:
            with self._handling_child_death():
                batch = next(self._iterator)
        except StopIteration:
            raise
        except Exception:
            self._check_readers()
            raise
        if isinstance(batch, Exception):  # raised in the process
            raise batch
        return batch.to(self._device)

    @contextmanager
    def _handling_child_death(self) -> Iterator[None]:
        if not callable(self._on_child_death):
            yield
            return
        with signal_handlers({signal.SIGCHLD: self._on_child_death}):
            yield

    def _check_readers(self) -> None:
        for reader in self._readers:
            if reader.exitcode:
                raise ReaderError(death_message(reader, len(self._readers)))

    def close(self) -> None:
        """End the processes; they ignore the SIGTERM with which Python would end them at exit."""
        self._iterator = None  # lets them end by themselves, unless an error still holds it
        for reader in self._readers:
            if reader.is_alive():
                reader.kill()
            reader.join()
        self._open.close()


def death_message(reader: BaseProcess, readers: int) -> str:
    """Return the error message for a process that ended too early.

    Args:
        reader: the process.
        readers: number of processes that read images.
    """
    fewer = f"lower data.workers, which is {readers}"
    if reader.exitcode == -signal.SIGKILL:
        return f"a process that reads images was killed, most likely because memory ran out: {fewer}"
    if reader.exitcode == -signal.SIGBUS:
        return (
            "a process that reads images was ended by SIGBUS, most likely because shared memory ran out: "
            f"{ENLARGE_SHARED_MEMORY}; data.workers is {readers}"
        )
    if reader.exitcode < 0:
        return f"a process that reads images was ended by {signal.Signals(-reader.exitcode).name}"
    return f"a process that reads images ended with status {reader.exitcode}"
