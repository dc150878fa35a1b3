"""Every declared set in miniature: a few tiny frames in the original files, names and encodings.

A builder writes one set to a folder and returns the expected frames. It also writes the other files of the real set
that no reader may take for an image: other passes, masked copies, previews, lists, splits without depth. The expected
values follow the formulas of the sets, pixel by pixel, without the readers.
"""

from __future__ import annotations

from miniature_benchmarks import BENCHMARKS
from miniature_files import Builder
from miniature_labeled import LABELED
from miniature_prepared import PREPARED
from miniature_segmentation import SEGMENTATION
from miniature_unlabeled import UNLABELED

MINIATURES: dict[str, Builder] = {
    builder.__name__: builder for builder in (*LABELED, *UNLABELED, *BENCHMARKS, *PREPARED, *SEGMENTATION)
}
"""The builder of each declared set, by the set's name."""
