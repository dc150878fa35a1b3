"""Shared by all tests: a private ROS graph, the material next to the checkout, and the GPU mark."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "helpers"))  # pytest 6, of Humble, knows no `pythonpath`

from processes import adopt_orphans, descendants, kill
from waiting import load_factor

from depth_anything_ros.runtime.cuda.driver import devices, why_none
from depth_anything_ros.system.package_share import FAST_DDS_PROFILE_VARIABLES, fast_dds_settings

REPOSITORY = Path(__file__).resolve().parent.parent


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores Ctrl-C for what it starts in the background, and so would every process that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _isolate_ros() -> None:
    """Give this process and its children their own ROS graph; must run before the first `rclpy.init`.

    The ports of domains 1 to 101 are below the ephemeral range of Linux.
    """
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 101 + 1)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":  # later releases warn of the older name
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    for name in FAST_DDS_PROFILE_VARIABLES:
        os.environ.pop(name, None)
    for name, installed in fast_dds_settings().items():
        os.environ[name] = str(REPOSITORY / "config" / Path(installed).name)
    logs = tempfile.mkdtemp(prefix="depth_anything_ros_logs_")
    atexit.register(shutil.rmtree, logs, ignore_errors=True)
    os.environ["ROS_LOG_DIR"] = logs
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():  # a virtual environment: nobody sources anything
        os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)


_isolate_ros()
adopt_orphans()
if "PYTEST_XDIST_WORKER" in os.environ:  # threads of OpenMP that wait for one another stall what must share their core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if sys.dont_write_bytecode:  # every one of the hundreds of processes that tests start would compile the package anew
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


gc.disable()  # until all tests are collected: what is imported stays


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage again, but not among the modules and tests: every search of them would take half a second."""
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` if there is no GPU."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not devices():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"no CUDA GPU: {why_none()}"))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Give a test more time on a busy machine."""
    asked_for = item.config.getoption("timeout", None) or item.get_closest_marker("timeout")
    if item.config.pluginmanager.hasplugin("timeout") and not asked_for:
        item.add_marker(pytest.mark.timeout(float(item.config.getini("timeout")) * load_factor()))
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Store which tests have failed, for `_end_what_a_failed_test_leaves`."""
    outcome = yield
    item.has_failed = getattr(item, "has_failed", False) or outcome.get_result().failed  # pytest 6 has no stash


@pytest.fixture(autouse=True)
def _end_what_a_failed_test_leaves(request: pytest.FixtureRequest) -> Iterator[None]:
    """Kill the processes that a test started and did not end because an assertion failed."""
    before = descendants(os.getpid())
    yield
    if getattr(request.node, "has_failed", False):
        kill(descendants(os.getpid()) - before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The source checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded frames and models beside the checkout; it is not part of the repository."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder `shared` beside the checkout, which holds the recorded frames and models")
    return folder


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Make a folder of this name once for all processes of tests: one fills it while the others wait."""
    from depth_anything_ros.system.file_lock import locked

    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder = root / name
        with locked(folder):
            if not (folder / ".whole").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                (folder / ".whole").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def renderer(made_once: Callable[[str, Callable[[Path], object]], Path]) -> None:
    """The renderer of scenes, compiled once for all processes; numba stores it beside the sources."""
    pytest.importorskip("numba", reason="the renderer needs numba, of the extra `train`")
    from depth_anything_ros.synthetic.render import render

    made_once("renderer", lambda _: render(0, 32, 24))


@pytest.fixture
def with_built_engine(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Callable[[str], None]:
    """Copy a backend's 8-bit engine of the bundled model at 140 x 182 into the test's own cache."""

    def build(backend: str, folder: Path) -> None:
        from depth_anything_ros.runtime.estimator import Estimator

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(folder))
            (engine,) = Estimator("tiny", backend, size=(140, 182), precision="int8").engines()
        assert engine.is_new

    def copy(backend: str) -> None:
        built = made_once(f"engine_of_{backend}", functools.partial(build, backend))
        shutil.copytree(built, os.environ["DEPTH_ANYTHING_ROS_CACHE"], dirs_exist_ok=True)

    return copy


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Make PyTorch use one thread, like the processes that tests start, so that sums are equal.

    On a busy machine, threads that wait for one another make a step many times slower.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scenes(made_once: Callable[[str, Callable[[Path], object]], Path], renderer: None) -> dict[str, str]:
    """Folders of rendered rooms: labeled ones, unlabeled ones, and validation ones."""
    from scene_shards import pack_scenes

    counts = {"labeled": (100, 0), "unlabeled": (60, 1000), "validation": (12, 2000)}

    def render_all(folder: Path) -> None:
        for name, (count, seed) in counts.items():
            pack_scenes(folder / name, count, seed, kind="room")

    folder = made_once("scenes", render_all)
    return {name: str(folder / name) for name in counts}
