"""Every declared set in miniature: a few tiny frames, in the files, names and encodings that its owners publish.

A builder writes one set under a folder and says what its frames must be read as. Beside them it writes what the real
set has too and no reader may take for an image: other passes, masked copies, previews, lists, splits without depth.
What is expected is computed here from the owners' formulas, pixel by pixel, with nothing of the readers.
"""

from __future__ import annotations

from miniature_benchmarks import BENCHMARKS
from miniature_files import Builder
from miniature_labeled import LABELED
from miniature_segmentation import SEGMENTATION
from miniature_unlabeled import UNLABELED

MINIATURES: dict[str, Builder] = {
    builder.__name__: builder for builder in (*LABELED, *UNLABELED, *BENCHMARKS, *SEGMENTATION)
}
"""The builder of each declared set, by the set's name."""
