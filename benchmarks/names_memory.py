"""The memory and time of the steps of `names.py`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Row = dict[str, Any]
MIB = 1 << 20


def memory(field: str, process: int | str = "self") -> int:
    """Return a process's VmRSS or VmHWM in bytes.

    Args:
        field: "VmRSS" or "VmHWM".
        process: process id, or "self".
    """
    text = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(text.partition(f"{field}:")[2].split()[0])


def proportional(process: int) -> int:
    """Return the memory of a process in bytes, with its part of shared memory."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return 1024 * int(text.partition("\nPss:")[2].split()[0])


@contextmanager
def measured(rows: list[Row], what: str) -> Iterator[None]:
    """Add a row with seconds, and with the peak and final memory above that before, in MiB.

    Args:
        rows: get the new row.
        what: title of the row.
    """
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, began = memory("VmRSS"), time.monotonic()
    yield
    seconds = time.monotonic() - began
    peak, kept = (max(0, memory(field) - before) / MIB for field in ("VmHWM", "VmRSS"))
    peak = max(peak, kept)  # the kernel's numbers are approximate
    rows.append({"what": what, "seconds": seconds, "peak_mib": peak, "kept_mib": kept})
    print(f"{what}: {seconds:.1f} s, peak {peak:.0f} MiB, kept {kept:.0f} MiB", file=sys.stderr, flush=True)
