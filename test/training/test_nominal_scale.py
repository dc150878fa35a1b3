"""Plausible meters of a relative network: fitted to known depth, and put into the weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")

from depth_anything_ros.data.frame import LabeledImage  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.training.initial_network import init_decoder_bias  # noqa: E402
from depth_anything_ros.training.input.pixels import normalize_pixels  # noqa: E402
from depth_anything_ros.training.nominal_scale import nominal_scale, rescale_output  # noqa: E402

SIZE = (56, 70)


def frames_of(network: DepthAnything, a: float, b: float) -> list[LabeledImage]:
    """Noise for which the network's output is true: depth is 1 / (a * output + b), with some unknown pixels."""
    generator = torch.Generator().manual_seed(0)
    frames = []
    for number in range(3):
        image = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            depth = 1.0 / (a * network(normalize_pixels(image[None]))[0] + b)
        depth[:10] = torch.nan
        frames.append(LabeledImage(f"noise {number}", image.numpy(), depth.numpy()))
    return frames


@pytest.fixture
def network(request) -> DepthAnything:
    torch.manual_seed(0)
    network = DepthAnything(getattr(request, "param", "tiny"), "v2").eval()
    init_decoder_bias(network)
    torch.nn.init.normal_(network.depth_head.scratch.output_conv2[2].weight, std=20.0)  # far from constant
    return network


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.05), (40.0, 0.02)])
def test_nominal_scale_is_recovered(network, a, b):
    frames = frames_of(network, a, b)
    assert np.nanstd([np.log(frame.depth) for frame in frames]) > 0.1
    found_a, found_b = nominal_scale(network, frames, SIZE)
    for ours, theirs in zip(frames_of(network, found_a, found_b), frames, strict=True):
        assert np.nanmean(np.abs(np.log(ours.depth / theirs.depth))) < 0.01


def test_sparse_depth_is_enough_for_nominal_scale(network):
    """As LiDAR's, whose points a resized depth image might all miss."""
    (frame, *_) = frames_of(network, 0.5, 0.05)
    depth = np.full((448, 560), np.nan, np.float32)
    large = LabeledImage("large", np.kron(frame.image, np.ones((8, 8, 1), np.uint8)), depth)
    for row, column in ((20, 40), (50, 10)):
        depth[8 * row + 3, 8 * column + 6] = frame.depth[row, column]
    a, b = nominal_scale(network, [large], SIZE)
    with torch.no_grad():
        ours = 1.0 / (a * network(normalize_pixels(torch.from_numpy(frame.image)[None]))[0] + b)
    for row, column in ((20, 40), (50, 10)):
        assert ours[row, column].item() == pytest.approx(frame.depth[row, column], rel=0.01)


@pytest.mark.parametrize("network", ["tiny", "hybrid"], indirect=True)
def test_constant_network_has_no_nominal_scale(network):
    torch.nn.init.zeros_(network.depth_head.scratch.output_conv2[2].weight)
    with pytest.raises(ValueError, match="learned nothing"):
        nominal_scale(network, frames_of(network, 1.0, 0.1), SIZE)


@pytest.mark.parametrize("network", ["tiny", "hybrid"], indirect=True)
def test_rescale_output_spreads_factor_over_layers(network):
    image = torch.randn(1, 3, *SIZE)
    chain = network.depth_head.scratch.output_chain()
    weights = [convolution.weight.clone() for convolution in chain]
    with torch.no_grad():
        before = network(image)
        rescale_output(network, 1e-6)
        after = network(image)
    assert before.max() > 0
    torch.testing.assert_close(after, 1e-6 * before, rtol=1e-4, atol=0.0)
    for convolution, weight in zip(chain, weights, strict=True):
        torch.testing.assert_close(convolution.weight, 1e-6 ** (1 / len(chain)) * weight)


def test_nominal_scale_of_rescaled_network_is_one(network):
    frames = frames_of(network, 40.0, 0.02)
    rescale_output(network, nominal_scale(network, frames, SIZE)[0])
    assert nominal_scale(network, frames, SIZE)[0] == pytest.approx(1.0, rel=0.05)
