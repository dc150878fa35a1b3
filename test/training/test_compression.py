"""The stage compress: the encoder learns the larger one's features, the decoder learns depth, neither learns both."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from stage_runs import configuration, entries, learning_configuration, train  # noqa: E402

from depth_anything_ros.model.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.model.encoder import VisionTransformer  # noqa: E402
from depth_anything_ros.model.weight_files import CheckpointError  # noqa: E402
from depth_anything_ros.training.initial_network import reject_gated  # noqa: E402
from depth_anything_ros.training.input.batch import Batch, Images  # noqa: E402
from depth_anything_ros.training.objectives.compression import CompressionObjective, start_compression  # noqa: E402
from depth_anything_ros.training.settings import LossSettings, NetworkSettings  # noqa: E402
from depth_anything_ros.zoo.encoders import ENCODERS  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402


@pytest.fixture(scope="module")
def larger(tmp_path_factory) -> str:
    """Random weights of a ViT-S."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vits.safetensors"
    record = ModelRecord("vits", "inverse_depth", "Apache-2.0", encoder="vits", version="v2")
    save_checkpoint(DepthAnything("vits", "v2"), record, path)
    return str(path)


def random_pixels(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 42, 56, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def objective(larger) -> CompressionObjective:
    network, encoder = start_compression(NetworkSettings(encoder="tiny", start=larger), random_pixels(2))
    return CompressionObjective(network, LossSettings(tolerance=1.0), encoder)


def batch() -> Batch:
    return Batch(Images(random_pixels(2), torch.rand(2, 42, 56, generator=torch.Generator().manual_seed(2))))


@pytest.mark.parametrize(("loss", "learns"), [("features", "pretrained"), ("labeled", "depth_head")])
def test_features_train_encoder_and_depth_trains_decoder(objective, loss, learns):
    losses = objective(batch())
    assert losses.keys() == {"features", "labeled"}
    losses[loss].backward()
    reached = {name.split(".")[0] for name, value in objective.network.named_parameters() if value.grad is not None}
    assert reached == {learns}
    assert all(value.grad is None for value in objective.larger.parameters())


def test_sliced_encoder_shares_coordinates_with_larger_one(objective):
    """Untrained, the cut encoder says much of what the larger does; in other coordinates they would be strangers."""
    loss = objective(batch())["features"].item()
    objective.larger.matrix = objective.larger.matrix[
        :, torch.randperm(192, generator=torch.Generator().manual_seed(3))
    ]
    assert loss < 0.5 * objective(batch())["features"].item()


def test_new_network_has_gradients_for_every_image(objective):
    """The last layer's ReLU must not start dead."""
    with torch.no_grad():
        assert (objective.network(torch.randn(2, 3, 42, 56)) > 0).float().mean() > 0.99


def test_encoder_that_is_not_larger_is_rejected():
    with pytest.raises(CheckpointError, match="not larger than tiny"):
        start_compression(NetworkSettings(encoder="tiny", start="tiny"), random_pixels(2))


def test_gated_encoder_is_rejected_with_reason():
    gated = VisionTransformer(replace(ENCODERS["vits"], depth=2, swiglu=True))
    with pytest.raises(CheckpointError, match=r"vitg\.pth: a ViT-G cannot be cut"):
        reject_gated("vitg.pth", gated)


def test_compressed_network_improves_and_trains_further(scenes, larger, tmp_path):
    values = learning_configuration(scenes, "compress", optimizer__steps=24, optimizer__encoder_lr=1e-3)
    values["network"]["start"] = larger
    values["losses"] = {"tolerance": 1.0, "scale": 0.2}
    values["run"] |= {"save_every": 24, "validate_every": 24}
    folder = train(tmp_path, values)
    losses = entries(folder, "loss")
    for name in ("features", "labeled"):
        assert sum(entry[name] for entry in losses[-4:]) < 0.9 * sum(entry[name] for entry in losses[:4])
    checkpoint = folder / "compress.safetensors"
    assert load_checkpoint(checkpoint).encoder == "tiny"
    values = configuration(scenes, "teacher", optimizer__steps=1)
    values["network"] |= {"start": str(checkpoint), "start_decoder": True}
    (tmp_path / "next").mkdir()
    train(tmp_path / "next", values)
