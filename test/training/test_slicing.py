"""Slicing a small encoder out of a large one."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")

from depth_anything_ros.model.encoder import VisionTransformer  # noqa: E402
from depth_anything_ros.training.slicing import centered_basis, slice_encoder, slicing_matrix  # noqa: E402
from depth_anything_ros.zoo.encoders import EncoderConfiguration  # noqa: E402


def encoder(dimension: int, depth: int, heads: int) -> VisionTransformer:
    torch.manual_seed(depth)
    network = VisionTransformer(EncoderConfiguration(dimension, depth, heads, 16, (8, 8, 8, 8), {})).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def spread_of_final_stream(network: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        tokens = network.embed(images)
        for block in network.blocks:
            tokens = block(tokens)
    return tokens - tokens.mean(dim=-1, keepdim=True)


def test_basis_is_orthonormal_and_mean_free():
    basis = centered_basis(12)
    torch.testing.assert_close(basis.T @ basis, torch.eye(11, dtype=torch.float64))
    assert basis.sum(dim=0).abs().max() < 1e-9


def test_slice_matrix_keeps_strongest_directions():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(500, 24, generator=generator, dtype=torch.float64)
    samples[:, 4] *= 30.0
    samples = samples - samples.mean(dim=1, keepdim=True)
    matrix = slicing_matrix(samples.T @ samples / len(samples), 8)
    small = samples @ matrix
    assert small.mean(dim=1).abs().max() < 1e-9
    assert small.square().sum() > 0.85 * samples.square().sum()


def test_slice_of_full_width_only_rotates_features():
    """With all heads, all hidden units and all mean-free directions kept, the stream is only rotated."""
    large, small = encoder(32, 3, 4), encoder(32, 3, 4)
    images = torch.randn(4, 3, 56, 70)
    matrix = slice_encoder(large, small, images)
    expected = spread_of_final_stream(large, images) @ matrix
    torch.testing.assert_close(spread_of_final_stream(small, images), expected, rtol=1e-3, atol=1e-3)


def test_narrower_slice_resembles_original():
    large, small = encoder(64, 4, 4), encoder(48, 3, 3)
    images = torch.randn(4, 3, 56, 70)
    matrix = slice_encoder(large, small, images)
    with torch.no_grad():
        tokens = large.embed(images)
        for block in large.blocks[:3]:
            tokens = block(tokens)
    cosine = torch.cosine_similarity(spread_of_final_stream(small, images), tokens @ matrix, dim=-1)
    assert cosine.mean() > 0.8


def test_real_encoder_sliced_to_half_resembles_original(shared):
    from depth_anything_ros.model.checkpoints import load_encoder
    from depth_anything_ros.zoo.encoders import ENCODERS

    large = load_encoder(shared / "models" / "dinov2_vits14_saliency_finetuned_fp16.safetensors")
    small = VisionTransformer(ENCODERS["tiny"])
    skimage = pytest.importorskip("skimage.data", reason="photographs come from scikit-image")
    photographs = [torch.from_numpy(picture()[:224, :224].copy()) for picture in (skimage.astronaut, skimage.coffee)]
    images = (torch.stack(photographs).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
    matrix = slice_encoder(large, small, images)
    with torch.no_grad():
        tokens = large.embed(images)
        for block in large.blocks[:5]:
            tokens = block(tokens)
        ours = small.embed(images)
        for block in small.blocks[:5]:
            ours = block(ours)
    assert torch.cosine_similarity(ours, tokens @ matrix, dim=-1).mean() > 0.7
