"""Models by name: the catalog, the search order for files, and downloads from a (local) hub."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from waiting import limit

from depth_anything_ros.cli import main
from depth_anything_ros.zoo import catalog
from depth_anything_ros.zoo.cache import CachedModel, DamagedModelError, cache_directory, sha256_of
from depth_anything_ros.zoo.catalog import BUNDLED_FOLDER, UnknownModelError, find, is_bundled, known_models
from depth_anything_ros.zoo.download import DownloadError
from depth_anything_ros.zoo.hub_names import find_by_hub_name
from depth_anything_ros.zoo.record import METADATA_KEY, ModelFile, ModelRecord, RecordError
from depth_anything_ros.zoo.resolve import resolve, safetensors_record

CONTENT = bytes(range(256)) * 4096
"""A megabyte that passes for weights; a file of this size is sent in several pieces."""

RECORD = ModelRecord(
    name="hub_model",
    output="inverse_depth",
    license="MIT",
    encoder="tiny",
    version="v2",
    repository="someone/hub-model",
    files=(ModelFile("weights.safetensors", hashlib.sha256(CONTENT).hexdigest()),),
)
UNPINNED = dataclasses.replace(RECORD, files=(ModelFile("weights.safetensors"),))
HUB_PATH = "/someone/hub-model/resolve/main/weights.safetensors"
OFFICIAL = [record for record in known_models().values() if record.encoder is not None and not is_bundled(record)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and a hub that cannot be reached unless a test starts one."""
    monkeypatch.setenv("DEPTH_ANYTHING_ROS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging_face"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch):
    pytest.importorskip("huggingface_hub", reason="the hub's client: install the extra hub")
    from hub_server import HubServer

    with HubServer() as server:
        server.files[HUB_PATH] = CONTENT
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def visible_files(cache: Path) -> list[str]:
    """The files in the cache, without the lock and the verification notes."""
    files = (path for path in cache.rglob("*") if path.is_file())
    return sorted(path.name for path in files if path.name not in (".lock", "verified.json"))


def command(*arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "depth_anything_ros.cli", "models", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        cwd=Path(__file__).resolve().parents[2],
    )


# ---- catalog


def test_official_records_are_consistent():
    assert {(r.version, r.encoder, r.max_depth) for r in OFFICIAL} == {
        (version, encoder, max_depth)
        for encoder in ("vits", "vitb", "vitl")
        for version, max_depth in (("v1", None), ("v2", None), ("v2", 20.0), ("v2", 80.0))
    }
    assert len(OFFICIAL) == 12
    hashes = [file.sha256 for record in OFFICIAL for file in record.files]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in hashes)
    assert len(set(hashes)) == 12
    for record in OFFICIAL:
        assert record.is_metric == (record.max_depth is not None) == (record.training_focal is not None)
        free = record.version == "v1" or record.encoder == "vits"
        assert record.license == ("Apache-2.0" if free else "CC-BY-NC-4.0")
        assert Path(record.files[0].name).stem == record.name


def test_bundled_record_is_in_catalog_if_installed():
    assert ("tiny" in known_models()) == (BUNDLED_FOLDER / "record.json").is_file()


@pytest.mark.parametrize("content", [b'{"name": "tiny"', b"\xff\xfe", b"[]", b'{"name": "tiny"}'])
def test_damaged_bundled_record_is_named(tmp_path, content):
    installed = Path(catalog.__file__).parents[1]
    package = tmp_path / "depth_anything_ros"
    shutil.copytree(installed, package, ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "*.safetensors"))
    record = package / "zoo" / "bundled" / "record.json"
    record.parent.mkdir(exist_ok=True)
    record.write_bytes(content)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "depth_anything_ros", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=limit(120), cwd=tmp_path, env=environment
        )

    assert run("models", "list", "--help").returncode == 0
    for arguments in (("models", "list"), ("predict", str(record), "--output", str(tmp_path / "out"))):
        done = run(*arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"depth_anything_ros {arguments[0]}: ")
        assert str(record) in line


def test_unknown_model_name_gets_suggestion():
    with pytest.raises(UnknownModelError, match=r"'depth_anything_v2_vit': did you mean depth_anything_v2_vit[sbl]"):
        find("depth_anything_v2_vit")
    with pytest.raises(UnknownModelError, match=r"known models are .*depth_anything_v2_vits"):
        resolve("midas")


@pytest.mark.parametrize(
    ("hub_name", "name"),
    [
        ("depth-anything/Depth-Anything-V2-Small-hf", "depth_anything_v2_vits"),
        ("depth-anything/Depth-Anything-V2-Large", "depth_anything_v2_vitl"),
        ("https://huggingface.co/depth-anything/Depth-Anything-V2-Base", "depth_anything_v2_vitb"),
        ("depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf", "depth_anything_v2_metric_hypersim_vitb"),
        ("depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf", "depth_anything_v2_metric_vkitti_vits"),
        ("depth-anything/Depth-Anything-V2-Metric-VKITTI-Large", "depth_anything_v2_metric_vkitti_vitl"),
        ("LiheYoung/depth-anything-small-hf", "depth_anything_vits14"),
        ("LiheYoung/depth_anything_vitl14", "depth_anything_vitl14"),
    ],
)
def test_hub_name_resolves_to_known_model(hub_name, name, capsys):
    with pytest.raises(UnknownModelError, match=f"give this package's name for it: {name}"):
        resolve(hub_name)
    assert main(["models", "show", hub_name]) == 0
    assert f"name: {name}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", ["depth-anything/DA3-LARGE", "Intel/dpt-large", "models/depth_anything_v2_vits"])
def test_unknown_hub_name_is_missing_file(name):
    with pytest.raises(FileNotFoundError, match="no such model file or folder"):
        resolve(name)


def test_every_official_repository_is_known():
    for record in OFFICIAL:
        if record.version == "v2":
            assert find_by_hub_name(record.repository) == record


# ---- where files are looked for


def test_cache_directory_follows_environment(monkeypatch, tmp_path):
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("DEPTH_ANYTHING_ROS_CACHE")
    assert cache_directory() == tmp_path / "xdg" / "depth_anything_ros"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "depth_anything_ros"


def test_resolve_tries_path_then_cache_then_hub(hub, cache, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"graph")
    assert resolve(path) == resolve(str(path)) == dataclasses.replace(resolve(path), record=None, source="path")
    first, second = resolve(RECORD), resolve(RECORD)
    assert (first.source, second.source) == ("hub", "cache")
    assert first.path == second.path == cache / "models" / "hub_model" / "weights.safetensors"
    assert first.path.read_bytes() == CONTENT
    assert hub.requests.count(("GET", HUB_PATH)) == 1


def test_bundled_model_needs_no_hub():
    if "tiny" not in known_models():
        pytest.skip("this checkout holds no bundled model")
    resolved = resolve("tiny")
    assert (resolved.source, resolved.path, resolved.record) == ("bundled", BUNDLED_FOLDER, known_models()["tiny"])


def test_known_name_precedes_file_in_working_directory(tmp_path, monkeypatch):
    name = "depth_anything_v2_vits"
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"not it")
    with pytest.raises(DownloadError, match="not in the cache"):
        resolve(name, fetch=False)
    assert resolve(f"./{name}", fetch=False).source == "path"


@pytest.mark.parametrize("missing", ["absent.onnx", "folder/absent", Path("absent")])
def test_missing_path_raises(missing):
    with pytest.raises(FileNotFoundError, match=r"no such model file or folder: .*absent"):
        resolve(missing)


def test_folder_with_record_resolves(tmp_path):
    (tmp_path / "record.json").write_text(RECORD.to_json())
    assert resolve(tmp_path).record == RECORD


def test_official_name_alone_gives_no_record(tmp_path):
    impostor = tmp_path / "depth_anything_v2_vits.pth"
    impostor.write_bytes(CONTENT)
    assert resolve(impostor).record is None


def test_safetensors_metadata_gives_record(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="it writes the file: install the extra torch")
    import numpy as np

    path = tmp_path / "weights.safetensors"
    safetensors.save_file({"a": np.zeros(3)}, path, metadata={METADATA_KEY: RECORD.to_json()})
    assert resolve(path).record == RECORD
    os.truncate(path, 20)
    with pytest.raises(DamagedModelError, match="truncated or not a safetensors file"):
        resolve(path)
    safetensors.save_file({"a": np.zeros(3)}, path)
    assert safetensors_record(path) is None


@pytest.mark.parametrize("content", [b"", b"\0" * 8, (99).to_bytes(8, "little") + b"{" * 99, b"<!DOCTYPE html>" * 9])
def test_invalid_safetensors_file_raises(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(DamagedModelError, match=r"weights\.safetensors"):
        resolve(path)


# ---- the cache


def test_hash_of_manually_placed_file_is_checked(cache):
    folder = cache / "models" / RECORD.name
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(CONTENT[:-1])
    with pytest.raises(DamagedModelError, match=r"the record's is .* delete .*weights\.safetensors and fetch"):
        resolve(RECORD)
    (folder / "weights.safetensors").write_bytes(CONTENT)
    assert resolve(RECORD).source == "cache"


def test_changed_file_is_detected_and_unchanged_not_rehashed(hub, cache):
    path = resolve(RECORD).path
    status = path.stat()
    path.write_bytes(b"?" * len(CONTENT))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert resolve(RECORD).source == "cache", "same size and time: believed, which saves hashing gigabytes"
    with pytest.raises(DamagedModelError, match="SHA-256"):
        CachedModel(RECORD).verify(thorough=True)
    os.utime(path)
    with pytest.raises(DamagedModelError, match="SHA-256"):
        resolve(RECORD)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[]", b"3", b'{"weights.safetensors": 3}', b'{"weights.safetensors": {"size": 1}}']
)
def test_damaged_verification_note_is_ignored(hub, cache, content):
    note = resolve(RECORD).path.with_name("verified.json")
    note.write_bytes(content)
    with pytest.raises(DamagedModelError, match=r"verified\.json is damaged .*; delete it"):
        resolve(RECORD)
    note.unlink()
    assert resolve(RECORD).source == "cache"


def test_unknown_hash_is_pinned_at_first_download(hub, cache):
    path = resolve(UNPINNED).path
    assert CachedModel(UNPINNED).expected_sha256(UNPINNED.files[0]) == sha256_of(path)
    path.unlink()
    hub.files[HUB_PATH] = CONTENT[::-1]
    with pytest.raises(DamagedModelError, match=r"at its first use it was .* delete .*hub_model and fetch it again"):
        resolve(UNPINNED)
    assert visible_files(cache) == []


@pytest.mark.parametrize("name", ["../escape", "a/b", "..", "", "a b"])
def test_model_name_cannot_leave_cache(name):
    with pytest.raises(RecordError, match="a name may hold"):
        CachedModel(dataclasses.replace(RECORD, name=name))


def test_model_file_cannot_leave_its_folder(cache):
    model = CachedModel(RECORD)
    assert model.path(ModelFile("checkpoints/../../x.pth")) == cache / "models" / "hub_model" / "x.pth"
    for name in ("checkpoints/../../x.pth", ".."):
        with pytest.raises(RecordError, match=r"without '\.\.'"):
            dataclasses.replace(RECORD, files=(ModelFile(name),))


def test_model_of_several_files_resolves_to_folder(hub, cache):
    record = dataclasses.replace(RECORD, files=(*RECORD.files, ModelFile("folder/graph.onnx")))
    hub.files["/someone/hub-model/resolve/main/folder/graph.onnx"] = b"graph"
    assert resolve(record).path == cache / "models" / "hub_model"
    assert visible_files(cache) == ["graph.onnx", "weights.safetensors"]


# ---- the hub


def test_hub_spaces_use_their_own_address(hub):
    record = dataclasses.replace(
        RECORD,
        repository="spaces/someone/demo",
        files=(ModelFile("checkpoints/weights.safetensors", RECORD.files[0].sha256),),
    )
    hub.files["/spaces/someone/demo/resolve/main/checkpoints/weights.safetensors"] = CONTENT
    assert resolve(record).path.read_bytes() == CONTENT


def test_download_with_wrong_hash_is_deleted(hub, cache):
    hub.files[HUB_PATH] = CONTENT[::-1]
    with pytest.raises(DamagedModelError, match=r"the record's is"):
        resolve(RECORD)
    assert visible_files(cache) == []


def test_official_name_with_other_content_is_rejected(hub, cache):
    hub.files["/depth-anything/Depth-Anything-V2-Small/resolve/main/depth_anything_v2_vits.pth"] = CONTENT
    with pytest.raises(DamagedModelError, match="715fade13be8"):
        resolve("depth_anything_v2_vits")
    assert visible_files(cache) == []


def test_download_that_differs_from_the_hubs_hash_is_deleted(hub, cache):
    hub.hashes[HUB_PATH] = "0" * 64
    with pytest.raises(DamagedModelError, match=r"weights\.safetensors has SHA-256 .*, the hub's is 0000"):
        resolve(UNPINNED)
    assert visible_files(cache) == []
    hub.hashes[HUB_PATH] = "a short hash, as of a small file"
    assert resolve(UNPINNED).source == "hub"


def test_failed_download_names_manual_path(hub, cache, monkeypatch):
    hub.files.clear()
    place = re.escape(str(cache / "models" / "hub_model" / "weights.safetensors"))
    with pytest.raises(DownloadError, match=f"404.*on another machine and place it as {place}"):
        resolve(RECORD)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match=f"from http://127.0.0.1:9: .*refused.* place it as {place}"):
        resolve(RECORD)
    assert visible_files(cache) == []


def test_model_without_repository_names_manual_path(cache):
    with pytest.raises(DownloadError, match=r"'hub_model' is on no hub; place weights\.safetensors in .*hub_model"):
        resolve(dataclasses.replace(RECORD, repository=None))
    with pytest.raises(DownloadError, match="lists no files"):
        resolve(dataclasses.replace(RECORD, files=()))


def test_missing_hub_client_names_extra(tmp_path, cache):
    """In an environment that really lacks the hub's client."""
    venv.create(tmp_path / "bare", with_pip=False)
    script = "from depth_anything_ros.zoo.resolve import resolve; resolve('depth_anything_v2_vits')"
    done = subprocess.run(
        [tmp_path / "bare" / "bin" / "python", "-c", script],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert "pip install '.[hub]'" in done.stderr
    assert str(cache / "models" / "depth_anything_v2_vits" / "depth_anything_v2_vits.pth") in done.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_download_leaves_no_partial_file(end, hub, cache, tmp_path):
    record = tmp_path / "record.json"
    record.write_text(RECORD.to_json())
    hub.send, hub.hold = len(CONTENT) // 2, True
    with command("fetch", str(record)) as process:
        assert hub.stalled.wait(limit(30)), "the download never began"
        process.send_signal(end)
        process.communicate(timeout=limit(30))
    assert process.returncode == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert not CachedModel(RECORD).path(RECORD.files[0]).exists()
    assert (visible_files(cache) == []) == (end == signal.SIGINT), "a killed process cannot clean up"
    hub.send = None
    assert resolve(RECORD).source == "hub"
    assert visible_files(cache) == ["weights.safetensors"], "what a kill left is swept at the next start"


def test_broken_connection_raises_download_error(hub, cache):
    hub.send = len(CONTENT) // 2
    with pytest.raises(DownloadError, match=r"cannot fetch weights\.safetensors .* place it as"):
        resolve(RECORD)
    assert visible_files(cache) == []


def test_two_processes_download_once(hub, cache, tmp_path):
    record = tmp_path / "record.json"
    record.write_text(RECORD.to_json())
    processes = [command("fetch", str(record)) for _ in range(2)]
    assert all("hub_model" in process.communicate(timeout=limit(60))[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert hub.requests.count(("GET", HUB_PATH)) == 1


# ---- the command


def test_models_command_shows_fetches_and_verifies(hub, cache, tmp_path, capsys):
    record, result = tmp_path / "record.json", tmp_path / "result.json"
    record.write_text(RECORD.to_json())

    assert main(["models", "list", "--json", str(result)]) == 0
    assert {row["name"] for row in json.loads(result.read_text())} == set(known_models())
    assert "depth_anything_v2_metric_vkitti_vitl" in capsys.readouterr().out

    assert main(["models", "show", "depth_anything_v2_metric_hypersim_vits", "--json", str(result)]) == 0
    shown = json.loads(result.read_text())
    assert (shown["max_depth"], shown["state"]) == (20.0, "absent")
    assert shown["training_focal"] == pytest.approx(598.1, abs=0.1)

    assert main(["models", "fetch", str(record), "--json", str(result)]) == 0
    path = Path(json.loads(result.read_text())[0]["path"])
    assert path.read_bytes() == CONTENT

    assert main(["models", "verify", str(record), "--json", str(result)]) == 0
    assert json.loads(result.read_text()) == [{"name": "hub_model", "state": "verified", "problem": None}]

    path.write_bytes(b"?")
    assert main(["models", "verify", str(record), "--json", str(result)]) == 1
    assert json.loads(result.read_text())[0]["state"] == "damaged"

    assert main(["models", "show", "depth_anything_v3"]) == 1
    assert "depth_anything_ros models: no model has the name 'depth_anything_v3'" in capsys.readouterr().err


def test_models_verify_covers_installed_models(capsys):
    assert main(["models", "verify"]) == 0
    out = capsys.readouterr().out
    assert ("tiny: verified" if "tiny" in known_models() else "nothing to verify") in out


def test_models_fetch_shows_progress(hub, tmp_path):
    record = tmp_path / "record.json"
    record.write_text(RECORD.to_json())
    # A terminal is what makes the bar appear; this variable makes the hub's client believe in one.
    process = command("fetch", str(record), TQDM_POSITION="-1")
    _, errors = process.communicate(timeout=limit(60))
    assert process.returncode == 0
    assert re.search(r"weights\.safetensors.*100%", errors)


@pytest.mark.parametrize("answer", ["n", "y"])
def test_large_download_is_asked_for_on_a_terminal(hub, cache, tmp_path, answer):
    pytest.importorskip("torch", reason="exports need PyTorch")
    record = known_models()["depth_anything_v2_vits"]
    path = f"/{record.repository}/resolve/main/{record.files[0].name}"
    hub.files[path] = CONTENT
    terminal, end = pty.openpty()
    os.write(terminal, f"{answer}\n".encode())
    words = ("export", record.name, "--size", "56x70", "--output", str(tmp_path / "model.onnx"))
    process = subprocess.run(
        [sys.executable, "-m", "depth_anything_ros.cli", *words],
        stdin=end,
        stderr=end,
        stdout=subprocess.DEVNULL,
        timeout=limit(60),
    )
    os.close(end)
    output = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert "about 99 MB, license Apache-2.0" in output
    assert "download it now? [Y/n]" in output
    assert process.returncode == 1  # the bytes are not those weights
    assert (f"models fetch {record.name}" in output) == (answer == "n")
    assert hub.requests.count(("GET", path)) == (answer == "y")


def test_zoo_imports_neither_torch_nor_ros():
    script = (
        "import sys, depth_anything_ros.zoo.resolve; print({'torch', 'rclpy', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(catalog.__file__).parents[2],
    )
    assert done.stdout.strip() == "set()"
