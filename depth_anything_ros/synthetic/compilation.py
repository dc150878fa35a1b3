"""How this package's kernels are compiled: cached on disk, without the interpreter's lock, IEEE infinities kept."""

from __future__ import annotations

import numba

# "ninf" and "nnan" stay out: a missed ray is +inf here, and must stay so.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp", "afn"}

allocating = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST_MATH)
# For functions that make no arrays: without reference counts, whose atomic steps would cost more than the arithmetic.
compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST_MATH, _nrt=False)
