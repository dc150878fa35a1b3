"""Sizes of the network: tiny, hybrid, small, base, large and giant.

Figures for vits to vitg are those of the Depth Anything papers (arXiv 2401.10891, 2406.09414). `tiny` and `hybrid` are
this package's own, for robots with only a CPU: about five million parameters, the same building blocks. `hybrid` adds
convolutional skips, so that its edges can be sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

PATCH_SIZE = 14
POSITION_GRID = 37
"""Side of the grid of learned position embeddings: DINOv2 was trained at 518 = 37 x 14 pixels."""

VERSIONS = ("v1", "v2")


@dataclass(frozen=True)
class EncoderConfiguration:
    """One size of the network.

    ``taps`` are the 0-based indices of the encoder blocks that the decoder reads, by version. V1 and V2 checkpoints
    have the same keys and shapes, so only the version determines the taps.

    A *hybrid* has ``skips``: channels of convolutional maps of the image at strides 2, 4 and 8 that the decoder reads
    too. Its transformer sees the image at a smaller size, at which a token covers ``patch`` pixels of the image. Other
    sizes have no skips, and their transformer sees the image as it is.
    """

    dimension: int
    depth: int
    heads: int
    features: int
    out_channels: tuple[int, int, int, int]
    taps: dict[str, tuple[int, int, int, int]]
    swiglu: bool = False
    skips: tuple[int, int, int] | None = None
    patch: int = PATCH_SIZE

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of tokens of an image with these sides in pixels."""
        return max(1, round(height / self.patch)), max(1, round(width / self.patch))


ENCODERS: dict[str, EncoderConfiguration] = {
    "tiny": EncoderConfiguration(192, 9, 3, 48, (32, 64, 96, 96), {"v2": (2, 4, 6, 8)}),
    "hybrid": EncoderConfiguration(192, 9, 3, 48, (48, 64, 96, 96), {"v2": (2, 4, 6, 8)}, skips=(16, 32, 48), patch=21),
    "vits": EncoderConfiguration(384, 12, 6, 64, (48, 96, 192, 384), {"v1": (8, 9, 10, 11), "v2": (2, 5, 8, 11)}),
    "vitb": EncoderConfiguration(768, 12, 12, 128, (96, 192, 384, 768), {"v1": (8, 9, 10, 11), "v2": (2, 5, 8, 11)}),
    "vitl": EncoderConfiguration(
        1024, 24, 16, 256, (256, 512, 1024, 1024), {"v1": (20, 21, 22, 23), "v2": (4, 11, 17, 23)}
    ),
    "vitg": EncoderConfiguration(1536, 40, 24, 384, (1536,) * 4, {"v2": (9, 19, 29, 39)}, swiglu=True),
}


def encoder_taps(encoder: str, version: str | None) -> tuple[int, int, int, int]:
    """Return the taps of one size in one version.

    Args:
        encoder: size, a key of `ENCODERS`.
        version: "v1" or "v2".

    Raises:
        ValueError: the size is unknown, or the version is missing or not published for it.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"unknown encoder {encoder!r}: choose one of {', '.join(ENCODERS)}")
    taps = ENCODERS[encoder].taps
    if version not in taps:
        raise ValueError(
            f"version {version!r} of {encoder} is unknown: choose one of {', '.join(taps)}; "
            "it determines which encoder blocks the decoder reads and cannot be inferred from the weights"
        )
    return taps[version]
