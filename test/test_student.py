"""What the encoder under training learns from, and when."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from depth_anything_ros.model.checkpoints import save_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.training.configuration import TrainingConfiguration  # noqa: E402
from depth_anything_ros.training.student import create_student  # noqa: E402
from depth_anything_ros.training.trainer import compute_losses  # noqa: E402
from depth_anything_ros.zoo.record import ModelRecord  # noqa: E402


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A student cut out of a random ViT-S, and that encoder, frozen."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vits.safetensors"
    record = ModelRecord("vits", "inverse_depth", "Apache-2.0", encoder="vits", version="v2")
    save_checkpoint(DepthAnything("vits", "v2"), record, path)
    pixels = torch.randint(0, 256, (2, 42, 56, 3), dtype=torch.uint8)
    return create_student("tiny", "v2", path, pixels)


def gradients(student, teacher) -> dict[str, bool]:
    """Which losses there are, and whether encoder and decoder get a gradient of the depth losses."""
    pixels = torch.randint(0, 256, (2, 42, 56, 3), dtype=torch.uint8)
    inverse_depth = torch.rand(2, 42, 56)
    student.zero_grad(set_to_none=True)
    losses = compute_losses(student, teacher, (pixels, inverse_depth), TrainingConfiguration())
    (losses["affine"] + losses["gradient"]).backward()

    def reached(part) -> bool:
        return any(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())

    return {
        "feature": "feature" in losses,
        "encoder": reached(student.network.pretrained),
        "decoder": reached(student.network.depth_head),
    }


def test_depth_reaches_the_encoder_only_once_the_teacher_has_left(pair):
    student, teacher = pair
    assert gradients(student, teacher) == {"feature": True, "encoder": False, "decoder": True}
    assert gradients(student, None) == {"feature": False, "encoder": True, "decoder": True}


def test_the_teacher_does_not_learn(pair):
    student, teacher = pair
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    pixels = torch.randint(0, 256, (2, 42, 56, 3), dtype=torch.uint8)
    losses = compute_losses(student, teacher, (pixels, torch.rand(2, 42, 56)), TrainingConfiguration())
    losses["feature"].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_fresh_student_gives_gradients_to_every_image(pair):
    """The last layer's ReLU must not start dead."""
    student, _ = pair
    prediction, _ = student(torch.randint(0, 256, (2, 42, 56, 3), dtype=torch.uint8))
    assert (prediction > 0).float().mean() > 0.99


def test_the_last_layer_keeps_full_precision_under_autocast(pair):
    student, _ = pair
    with torch.autocast("cpu", torch.bfloat16):
        prediction, _ = student(torch.randint(0, 256, (1, 42, 56, 3), dtype=torch.uint8))
    assert prediction.dtype == torch.float32
