"""The training loop on real, tiny runs: it learns, it resumes exactly, it stops when it must."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the `train` extra")
pytest.importorskip("lightning_fabric", reason="training needs the `train` extra")

from depth_anything_ros.model.depth_anything import DepthAnything  # noqa: E402
from depth_anything_ros.training.augmentation import augment, warp  # noqa: E402
from depth_anything_ros.training.configuration import ConfigurationError, TrainingConfiguration  # noqa: E402
from depth_anything_ros.training.finish import rescale_output  # noqa: E402
from depth_anything_ros.training.scene_set import (  # noqa: E402
    StepSampler,
    TrainingScenes,
    read_scene,
    scene_path,
)
from depth_anything_ros.training.student import begin_decoder  # noqa: E402
from depth_anything_ros.training.trainer import (  # noqa: E402
    DivergedError,
    RunFolder,
    held_out_frames,
    learning_rates,
    rate_factor,
    train,
    validate,
)

SMALL = TrainingConfiguration(
    scenes=12,
    scene_size=(56, 70),
    held_out=2,
    steps=6,
    batch=2,
    sizes=((42, 56), (56, 42)),
    warm_up=2,
    save_every=3,
    validate_every=6,
    precision="32-true",
    workers=0,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Networks this small gain nothing by a second thread, which waits for a busy processor at every operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_scene(folder, index: int, size: tuple[int, int]) -> None:
    """A ramp of brightness that is also the ramp of inverse depth: learnable in a few steps."""
    height, width = size
    generator = np.random.default_rng(index)
    slope = generator.uniform(-1.0, 1.0, 2)
    rows, columns = np.mgrid[0:height, 0:width] / max(size)
    inverse_depth = slope[0] * rows + slope[1] * columns
    inverse_depth = 0.1 + (inverse_depth - inverse_depth.min()) / np.ptp(inverse_depth)
    image = np.repeat((inverse_depth / 1.1 * 255).astype(np.uint8)[..., None], 3, axis=2)
    np.savez(scene_path(folder, index), image=image, inverse_depth=inverse_depth.astype(np.float16))


def run_folder(root, configuration: TrainingConfiguration) -> RunFolder:
    folder = RunFolder(root)
    folder.scenes.mkdir(parents=True)
    for index in range(configuration.scenes + configuration.held_out):
        write_scene(folder.scenes, index, configuration.scene_size)
    return folder


def with_settings(**changes) -> TrainingConfiguration:
    return TrainingConfiguration.from_dictionary({**SMALL.to_dictionary(), **changes})


def test_training_lowers_the_loss_and_raises_held_out_scores(tmp_path):
    configuration = with_settings(steps=40, batch=4, validate_every=5, warm_up=5)
    folder = run_folder(tmp_path, configuration)
    train(configuration, folder, pretrained=None, accelerator="cpu")
    entries = [json.loads(line) for line in folder.log.read_text().splitlines()]
    losses = [entry["affine"] for entry in entries if "affine" in entry]
    scores = [entry["abs_rel"] for entry in entries if "abs_rel" in entry]
    assert losses[-1] < 0.75 * losses[0]
    assert scores[-1] < scores[0]


def test_an_interrupted_run_ends_exactly_as_an_uninterrupted_one(tmp_path):
    whole = run_folder(tmp_path / "whole", SMALL)
    expected = train(SMALL, whole, pretrained=None, accelerator="cpu").state_dict()
    broken = run_folder(tmp_path / "broken", SMALL)
    order = np.random.default_rng((SMALL.seed, 0)).permutation(SMALL.scenes)
    damaged = scene_path(broken.scenes, SMALL.held_out + int(order[4 * SMALL.batch]))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100])
    with pytest.raises(ValueError, match="delete it to have it rendered anew"):
        train(SMALL, broken, pretrained=None, accelerator="cpu")
    damaged.write_bytes(content)
    assert broken.state.exists()
    resumed = train(SMALL, broken, pretrained=None, accelerator="cpu").state_dict()
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]), name


def test_a_run_with_another_configuration_is_not_resumed(tmp_path):
    folder = run_folder(tmp_path, SMALL)
    train(SMALL, folder, pretrained=None, accelerator="cpu")
    with pytest.raises(ValueError, match="another configuration"):
        train(with_settings(steps=9), folder, pretrained=None, accelerator="cpu")


def test_a_damaged_state_is_named(tmp_path):
    folder = run_folder(tmp_path, SMALL)
    folder.state.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"state\.pt"):
        train(SMALL, folder, pretrained=None, accelerator="cpu")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(tmp_path):
    configuration = with_settings(encoder_rate=1e30, decoder_rate=1e30, clip=1e30, steps=40)
    folder = run_folder(tmp_path, configuration)
    with pytest.raises(DivergedError, match="step"):
        train(configuration, folder, pretrained=None, accelerator="cpu")
    pixels, _ = torch.load(tmp_path / "diverged_batch.pt", weights_only=True)
    assert pixels.dtype == torch.uint8


def test_a_sample_is_the_same_whenever_it_is_asked_for(tmp_path):
    folder = run_folder(tmp_path, SMALL)
    scenes = TrainingScenes(folder.scenes, SMALL)
    first = scenes[(3, 1)]
    assert scenes[(0, 0)][0].shape[0] in (42, 56)
    again = scenes[(3, 1)]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_every_scene_is_seen_once_an_epoch_and_held_out_ones_never():
    configuration = with_settings(scenes=6, batch=2)
    order = np.random.default_rng((0, 0)).permutation(6)
    assert sorted(order) == list(range(6))
    keys = [key for batch in StepSampler(1, 3, configuration.batch) for key in batch]
    assert keys == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_warp_moves_image_and_inverse_depth_alike():
    height, width = 60, 80
    inverse_depth = np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))
    image = np.repeat((inverse_depth * 255).astype(np.uint8)[..., None], 3, axis=2)
    for seed in range(20):
        warped, target = warp(image, inverse_depth, (42, 56), np.random.default_rng(seed))
        assert np.abs(warped[..., 0] / 255.0 - target).mean() < 0.02


@pytest.mark.parametrize("axis", [0, 1])
def test_a_warp_never_reaches_outside_the_image(axis):
    """Column and row numbers stay planes to within a pixel; beyond the border they would stand still."""
    coordinates = np.mgrid[0:60, 0:80][axis].astype(np.float32)
    design = np.column_stack([np.ones(42 * 56), *(plane.ravel() for plane in np.mgrid[0:42, 0:56])])
    for seed in range(50):
        _, target = warp(np.zeros((60, 80, 3), np.uint8), coordinates, (42, 56), np.random.default_rng(seed))
        fit, *_ = np.linalg.lstsq(design, target.ravel(), rcond=None)
        assert np.abs(design @ fit - target.ravel()).max() < 1.0


def test_augmented_images_keep_their_type_and_differ():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    inverse_depth = np.ones((60, 80), dtype=np.float32)
    results = [augment(image, inverse_depth, (42, 56), np.random.default_rng(seed)) for seed in range(4)]
    assert all(pixels.dtype == np.uint8 and pixels.shape == (42, 56, 3) for pixels, _ in results)
    assert len({pixels.tobytes() for pixels, _ in results}) == 4


def test_a_damaged_scene_is_named(tmp_path):
    scene_path(tmp_path, 3).write_bytes(b"PK")
    with pytest.raises(ValueError, match="scene_000003"):
        read_scene(tmp_path, 3)


def test_scenes_of_another_seed_are_not_mixed_in(tmp_path):
    from depth_anything_ros.training.scene_set import render_scenes

    few = with_settings(scenes=1, held_out=1, scene_size=(14, 28))
    render_scenes(tmp_path, few, processes=1)
    assert read_scene(tmp_path, 1)[0].shape == (14, 28, 3)
    with pytest.raises(ValueError, match="delete it"):
        render_scenes(tmp_path, with_settings(scenes=1, held_out=1, scene_size=(14, 28), seed=1), processes=1)


def test_the_rate_rises_then_falls_to_nothing():
    factors = [rate_factor(step, steps=100, warm_up=10) for step in range(101)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert max(factors) == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0)


def test_the_encoder_starts_anew_at_its_own_rate_when_depth_reaches_it():
    configuration = with_settings(steps=100, warm_up=5, encoder_rate=1.0, end_to_end_rate=0.1, decoder_rate=2.0)
    rates = [learning_rates(step, 60, configuration) for step in range(100)]
    encoder = [rate["encoder"] for rate in rates]
    assert max(encoder[:60]) == pytest.approx(1.0)
    assert encoder[59] < 0.01
    assert max(encoder[60:]) == pytest.approx(0.1)
    assert max(rate["decoder"] for rate in rates) == pytest.approx(2.0)
    assert max(learning_rates(step, 0, configuration)["encoder"] for step in range(100)) == pytest.approx(1.0)


def test_the_network_that_did_best_on_held_out_scenes_is_kept(tmp_path):
    """Rates that ruin the network after the first validation must not ruin the result."""
    configuration = with_settings(steps=12, batch=4, validate_every=1, warm_up=5, decoder_rate=0.3, encoder_rate=0.3)
    folder = run_folder(tmp_path, configuration)
    network = train(configuration, folder, pretrained=None, accelerator="cpu")
    scores = [entry["delta1"] for entry in map(json.loads, folder.log.read_text().splitlines()) if "delta1" in entry]
    assert scores[-1] < max(scores)
    frames = held_out_frames(folder.scenes, configuration)
    assert validate(network, frames).delta1 == pytest.approx(max(scores))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", "unknown settings: stepz"),
        ("steps: many", "steps is 'many'"),
        ("sizes: [[100, 100]]", "multiples of 14"),
        ("scene_size: [240, 320]", "multiples of 14"),
        ("steps: 0", "at least 1"),
        ("- 1", "must hold names and values"),
        ("a: [", "cannot read"),
    ],
)
def test_bad_configurations_are_named(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfiguration.read(path)


def test_the_shipped_configuration_is_valid_and_changes_apply():
    from depth_anything_ros.share import share_directory

    configuration = TrainingConfiguration.read(share_directory() / "config/train/tiny.yaml", {"steps": 5})
    assert configuration.steps == 5
    assert configuration.encoder == "tiny"


def test_rescaling_multiplies_the_output_and_spreads_the_factor():
    torch.manual_seed(0)
    network = DepthAnything("tiny", "v2").eval()
    begin_decoder(network)
    image = torch.randn(1, 3, 56, 70)
    with torch.no_grad():
        before = network(image)
        rescale_output(network, 1e-6)
        after = network(image)
    assert before.max() > 0
    torch.testing.assert_close(after, 1e-6 * before, rtol=1e-4, atol=0.0)
