"""Batches in order, from processes that read ahead; what becomes of these processes is said in words."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess

import torch
from torch.utils.data import DataLoader

from depth_anything_ros.system.signals import signal_handlers
from depth_anything_ros.training.input.batches import Batch
from depth_anything_ros.training.input.shared_memory import MORE_OF_IT


class ReaderError(RuntimeError):
    """A process that reads images has died; the message says of what, and what to change."""


class BatchReader(Iterator[Batch]):
    """One device's batches; raises what a process met that could not read one, and `ReaderError` where one died.

    PyTorch raises wherever the main thread happens to be when a process of its loader dies: here, only while a batch is
    waited for, so that no step is left half done.
    """

    def __init__(self, loader: DataLoader, device: torch.device) -> None:
        others = active_children()
        self._iterator, self._device = iter(loader), device
        self._readers = [child for child in active_children() if child not in others]
        self._tell_of_deaths = signal.getsignal(signal.SIGCHLD) if self._readers else None
        self._open = ExitStack()
        self._open.enter_context(signal_handlers({signal.SIGCHLD: signal.SIG_DFL}))

    def __next__(self) -> Batch:
        self._check_readers()  # of which one may have died meanwhile
        try:
            with self._telling_of_deaths():
                batch = next(self._iterator)
        except StopIteration:
            raise
        except Exception:
            self._check_readers()
            raise
        if isinstance(batch, Exception):  # what a process met
            raise batch
        return batch.to(self._device)

    @contextmanager
    def _telling_of_deaths(self) -> Iterator[None]:
        if not callable(self._tell_of_deaths):
            yield
            return
        with signal_handlers({signal.SIGCHLD: self._tell_of_deaths}):
            yield

    def _check_readers(self) -> None:
        for reader in self._readers:
            if reader.exitcode:
                raise ReaderError(how_it_died(reader, len(self._readers)))

    def close(self) -> None:
        """Ends the processes, which ignore the SIGTERM with which Python would end them when it exits."""
        self._iterator = None  # which lets them end by themselves, unless an error still holds it
        for reader in self._readers:
            if reader.is_alive():
                reader.kill()
            reader.join()
        self._open.close()


def how_it_died(reader: BaseProcess, readers: int) -> str:
    """What to say of a process, of so many that read images, that has ended too early."""
    fewer = f"lower data.workers, which is {readers}"
    if reader.exitcode == -signal.SIGKILL:
        return f"a process that reads images was killed, most likely because memory ran out: {fewer}"
    if reader.exitcode == -signal.SIGBUS:
        return (
            "a process that reads images was ended by SIGBUS, most likely because shared memory ran out: "
            f"{MORE_OF_IT}; data.workers is {readers}"
        )
    if reader.exitcode < 0:
        return f"a process that reads images was ended by {signal.Signals(-reader.exitcode).name}"
    return f"a process that reads images ended with status {reader.exitcode}"
