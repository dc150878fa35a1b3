"""The losses of the stages, on real batches and the bundled network: inputs, targets and weights."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from lightning_fabric import Fabric  # noqa: E402

from depth_anything_ros.model.checkpoints import load_checkpoint  # noqa: E402
from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.training.input.augmentation import change, draw_perturbation, perturb, stack_perturbations  # noqa: E402
from depth_anything_ros.training.input.batch import Batch, Images  # noqa: E402
from depth_anything_ros.training.input.pixels import as_floats, normalize, normalize_pixels  # noqa: E402
from depth_anything_ros.training.objectives.losses import affine_invariant_loss, log_ratio_loss, scale_invariant_loss  # noqa: E402
from depth_anything_ros.training.objectives.stage_objectives import (  # noqa: E402
    MetricObjective,
    Objective,
    RelativeObjective,
    depth_and_features,
)
from depth_anything_ros.training.settings import AugmentationSettings, LossSettings  # noqa: E402
from depth_anything_ros.training.teachers.networks import TorchTeacher  # noqa: E402
from depth_anything_ros.zoo.resolve import resolve  # noqa: E402

SIZE = (42, 56)


@pytest.fixture(scope="module")
def bundled():
    return load_checkpoint(resolve("tiny").weights)


@pytest.fixture
def network(bundled):
    return copy.deepcopy(bundled)


def picture(seed: int) -> np.ndarray:
    """An image with edges and colors."""
    generator = np.random.default_rng(seed)
    blocks = generator.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.kron(blocks, np.ones((7, 7, 1), np.uint8))


def labeled_batch_size(count: int) -> Images:
    generator = np.random.default_rng(99)
    inverse_depth = generator.uniform(0.05, 2.0, (count, *SIZE)).astype(np.float32)
    inverse_depth[:, :5] = np.nan
    inverse_depth[:, -5:] = 0.0
    pixels = np.stack([picture(seed) for seed in range(count)])
    return Images(torch.from_numpy(pixels), torch.from_numpy(inverse_depth))


def unlabeled_batch_size(count: int, perturbed: bool = True) -> Images:
    pixels = torch.from_numpy(np.stack([picture(100 + seed) for seed in range(count)]))
    generator = np.random.default_rng(7)
    settings = AugmentationSettings(cut_share=1.0)
    drawn = [draw_perturbation(settings, SIZE, generator) for _ in range(count)]
    return Images(pixels, perturbation=stack_perturbations(drawn) if perturbed else None)


class Watched:
    """Stores the inputs of a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.inputs: list[torch.Tensor] = []
        module.register_forward_pre_hook(lambda _, inputs: self.inputs.append(inputs[0].detach().clone()))


def test_teacher_gets_clean_and_student_perturbed_images(network, bundled):
    teacher = TorchTeacher(copy.deepcopy(bundled))
    objective = RelativeObjective(network, LossSettings(alignment=0.0), teacher)
    by_student, by_teacher = Watched(network.pretrained), Watched(teacher)
    labeled, unlabeled = labeled_batch_size(2), unlabeled_batch_size(4)
    objective(Batch(labeled, unlabeled))
    assert torch.equal(by_teacher.inputs[0], unlabeled.pixels)
    (seen,) = by_student.inputs
    assert torch.equal(seen[:2], normalize_pixels(labeled.pixels))
    expected, _ = perturb(as_floats(unlabeled.pixels), unlabeled.perturbation)
    assert torch.equal(seen[2:], normalize(expected))
    for image, clean in zip(seen[2:], normalize_pixels(unlabeled.pixels), strict=True):
        assert (image - clean).abs().mean() > 0.05


def test_labeled_images_get_drawn_colors(network):
    labeled = labeled_batch_size(3)  # an odd number: they have no partners
    generator = np.random.default_rng(8)
    settings = AugmentationSettings(cut_share=0.0, color_share=1.0)
    drawn = [draw_perturbation(settings, SIZE, generator) for _ in range(3)]
    labeled.perturbation = stack_perturbations(drawn)
    clean = normalize_pixels(labeled.pixels)
    metric = DepthAnything("tiny", "v2", max_depth=20.0)
    for objective in (RelativeObjective(network, LossSettings()), MetricObjective(metric, LossSettings())):
        watched = Watched(objective.network.pretrained)
        objective(Batch(labeled))
        (seen,) = watched.inputs
        assert torch.equal(seen, normalize(change(as_floats(labeled.pixels), labeled.perturbation)))
        assert all((image - other).abs().mean() > 0.05 for image, other in zip(seen, clean, strict=True))


def test_scale_loss_adds_to_labeled_loss_by_weight(network):
    labeled = labeled_batch_size(2)
    batch = Batch(labeled)
    without = RelativeObjective(network, LossSettings())(batch)["labeled"]
    prediction, _ = depth_and_features(network, normalize_pixels(labeled.pixels))
    scale = scale_invariant_loss(prediction, labeled.inverse_depth, labeled.known).mean()
    assert scale > 0.01
    torch.testing.assert_close(
        RelativeObjective(network, LossSettings(scale=0.2))(batch)["labeled"], without + 0.2 * scale
    )


def test_log_loss_adds_to_labeled_loss_by_weight(network):
    labeled = labeled_batch_size(2)
    without = RelativeObjective(network, LossSettings())(Batch(labeled))["labeled"]
    prediction, _ = depth_and_features(network, normalize_pixels(labeled.pixels))
    log = log_ratio_loss(prediction, labeled.inverse_depth, labeled.known).mean()
    assert log > 0.01
    torch.testing.assert_close(
        RelativeObjective(network, LossSettings(log=0.5))(Batch(labeled))["labeled"], without + 0.5 * log
    )


def test_without_perturbation_student_and_teacher_inputs_are_equal(network, bundled):
    teacher = TorchTeacher(copy.deepcopy(bundled))
    objective = RelativeObjective(network, LossSettings(alignment=0.0), teacher)
    by_student = Watched(network.pretrained)
    unlabeled = unlabeled_batch_size(4, perturbed=False)
    losses = objective(Batch(unlabeled=unlabeled))
    assert torch.equal(by_student.inputs[0], normalize_pixels(unlabeled.pixels))
    assert losses["unlabeled"].item() < 1e-5  # student and teacher are the same network


def test_carried_labels_replace_teacher(network, bundled):
    teacher = TorchTeacher(copy.deepcopy(bundled))
    unlabeled = unlabeled_batch_size(4)
    carried = Images(unlabeled.pixels, teacher(unlabeled.pixels), perturbation=unlabeled.perturbation)
    settings = LossSettings(alignment=0.0, trimmed=0.1, gradient=2.0)
    online = RelativeObjective(network, settings, teacher)(Batch(unlabeled=unlabeled))
    offline = RelativeObjective(network, settings)(Batch(unlabeled=carried))
    assert offline["unlabeled"].item() == pytest.approx(online["unlabeled"].item(), rel=1e-6)


def test_loss_is_mean_over_parts_of_batch(network, bundled):
    batch = Batch(labeled_batch_size(2), unlabeled_batch_size(4))
    frozen = copy.deepcopy(bundled.pretrained)
    with torch.no_grad():
        for parameter in network.pretrained.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    teacher = TorchTeacher(copy.deepcopy(bundled))
    whole = RelativeObjective(network, LossSettings(), teacher, frozen)(batch)
    assert set(whole) == {"labeled", "unlabeled", "features"}
    alone = RelativeObjective(network, LossSettings(), teacher)(Batch(labeled=batch.labeled))
    prediction, _ = depth_and_features(network, normalize_pixels(batch.labeled.pixels))
    literal = affine_invariant_loss(prediction, batch.labeled.inverse_depth, ~batch.labeled.inverse_depth.isnan())
    assert alone["labeled"].item() == pytest.approx(literal.mean().item(), rel=1e-5)
    assert whole["labeled"].item() == pytest.approx(alone["labeled"].item() / 3, rel=1e-4)


@pytest.mark.parametrize("aligned_on", ["unlabeled", "labeled"])
def test_feature_loss_ignores_tokens_within_tolerance(network, bundled, aligned_on):
    with torch.no_grad():
        for parameter in network.pretrained.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = Batch(labeled_batch_size(2), unlabeled_batch_size(4, perturbed=False))
    images = getattr(batch, aligned_on).pixels
    last = len(bundled.pretrained.blocks) - 1
    with torch.no_grad():
        (ours,), (theirs,) = (
            encoder(normalize_pixels(images), (last,)) for encoder in (network.pretrained, bundled.pretrained)
        )
    cosine = torch.cosine_similarity(ours, theirs, dim=-1).numpy()
    tolerance = float(np.quantile(cosine, 0.5))
    expected = np.mean([np.sum(1 - values[values <= tolerance]) / len(values) for values in cosine])
    settings = LossSettings(tolerance=tolerance, aligned_on=aligned_on)
    objective = RelativeObjective(
        network, settings, TorchTeacher(copy.deepcopy(bundled)), copy.deepcopy(bundled.pretrained)
    )
    assert objective(batch)["features"].item() == pytest.approx(expected / 3, rel=1e-3)


def test_only_network_parameters_are_trained(network, bundled):
    frozen = copy.deepcopy(bundled.pretrained)
    objective = RelativeObjective(network, LossSettings(tolerance=1.0), TorchTeacher(copy.deepcopy(bundled)), frozen)
    sum(objective(Batch(labeled_batch_size(2), unlabeled_batch_size(2))).values()).backward()
    learning = {name for name, parameter in objective.named_parameters() if parameter.grad is not None}
    assert learning
    assert all(name.startswith("network.") for name in learning)
    without = {name for name, parameter in network.named_parameters() if parameter.requires_grad} - {
        name.removeprefix("network.") for name in learning
    }
    assert not without  # DDP would wait for them


def test_metric_loss_counts_known_depth_within_range(bundled):
    network = DepthAnything("tiny", "v2", max_depth=20.0)
    images = labeled_batch_size(2)
    depth = 1.0 / images.inverse_depth
    prediction = network(normalize_pixels(images.pixels)).detach().numpy()
    expected = []
    for ours, true in zip(prediction, depth.numpy(), strict=True):
        counted = np.isfinite(true) & (true <= 20.0)
        g = np.log(ours[counted]) - np.log(true[counted])
        expected.append(np.sqrt(np.mean(g**2) - 0.5 * np.mean(g) ** 2))
    loss = MetricObjective(network, LossSettings())(Batch(images))["silog"]
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_loss_under_autocast_is_computed_in_float32(network):
    batch = Batch(labeled_batch_size(2))
    objective = RelativeObjective(network, LossSettings(gradient=2.0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(batch)["labeled"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(objective(batch)["labeled"].item(), rel=0.05)


def test_mixed_precision_keeps_depth_and_perturbations():
    class Watching(Objective):
        def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
            batch.map(lambda tensor: self.seen.append(tensor))
            return {}

    module = Watching()
    module.seen, module.network = [], torch.nn.Linear(1, 1)
    batch = Batch(labeled_batch_size(2), unlabeled_batch_size(2))
    given = []
    batch.map(given.append)
    Fabric(accelerator="cpu", precision="bf16-mixed").setup_module(module)(batch)
    assert len(module.seen) == len(given)
    assert all(ours.dtype == theirs.dtype for ours, theirs in zip(module.seen, given, strict=True))


def test_student_trains_under_mixed_precision(network, bundled):
    objective = RelativeObjective(network, LossSettings(), TorchTeacher(copy.deepcopy(bundled)))
    batch = Batch(labeled_batch_size(2), unlabeled_batch_size(2))
    expected = objective(batch)
    losses = Fabric(accelerator="cpu", precision="bf16-mixed").setup_module(objective)(batch)
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=0.05)
