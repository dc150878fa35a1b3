"""Compiler settings of this package's kernels: cached on disk, without the interpreter's lock, with IEEE infinities."""

from __future__ import annotations

import numba

# "ninf" and "nnan" are left out: a missed ray is +inf, and must stay so.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp", "afn"}

allocating = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST_MATH)
# For functions without arrays: no reference counts, whose atomic steps would cost more than the arithmetic.
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST_MATH, _nrt=False)
