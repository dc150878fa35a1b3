"""The optional dependencies: which extra installs a missing package, and with which command."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

EXTRAS = {
    "onnx": "onnx",
    "torch": "torch",
    "safetensors": "torch",
    "numba": "train",
    "lightning_fabric": "train",
    "pydantic": "train",
    "tensorboard": "train",
    "ray": "ray",
    "trimesh": "meshes",
    "skimage": "demo",
    "aiohttp": "view",
    "shtab": "completion",
    "webdataset": "data",
    "h5py": "data",
    "lmdb": "data",
    "OpenEXR": "data",
    "PIL": "data",
    "scipy": "data",
    "rosbags": "data",
    "tqdm": "data",
    "huggingface_hub": "hub",
    "filelock": "hub",
    "openvino": "openvino",
    "nncf": "openvino-int8",
    "cuda": "tensorrt",
    "rclpy": "ros",
    "diagnostic_msgs": "ros",
    "geometry_msgs": "ros",
    "lifecycle_msgs": "ros",
    "rcl_interfaces": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "std_srvs": "ros",
    "transformers": "test",
}
"""The extra that installs a package, by import name."""


ENABLES = {
    "ros": "the nodes, where no ROS 2 is installed",
    "view": "the page for browsers: view, view:=true",
    "demo": "demo",
    "openvino": "faster inference on x86-64 processors",
    "openvino-int8": "building int8 engines for OpenVINO",
    "tensorrt": "TensorRT engines (TensorRT itself comes with JetPack or from NVIDIA)",
    "hub": "fetching models by name",
    "onnx": "export; int8 and fp16 engines of ONNX Runtime",
    "torch": "export of weights; the backend torch",
    "data": "data: datasets, shards and bags",
    "train": "train, label, scenes, pipeline, ablate",
    "meshes": "meshes: furniture for rendered scenes",
    "ray": "label --ray",
}
"""What an extra is for, in the order of a user's needs; not `test`, which developers install."""


INCLUDED = {
    "openvino-int8": {"openvino"},
    "tensorrt": {"onnx"},
    "train": {"torch", "onnx", "data"},
    "ray": {"train", "torch", "onnx", "data"},
}
"""The extras that an extra includes."""


class MissingPackagesError(ImportError):
    """Packages are not installed. The message names them, their extras and the install command."""


def is_installed(module: str) -> bool:
    """Return whether the package of a module is installed. Imports nothing."""
    return find_spec(module.partition(".")[0]) is not None


def import_problem(error: ImportError) -> str:
    """Return what an error of an import says, with the fix: a package is missing, or what is installed does not work.

    Args:
        error: the error.
    """
    package = (error.name or "").partition(".")[0]
    if isinstance(error, MissingPackagesError) or not package:
        return str(error)
    if package == __package__.partition(".")[0]:
        return f"{error}; this is an error of {package} itself, or of an incomplete installation: install it again"
    if not is_installed(package):
        return f"{error}; {advice(package)}"
    fix = advice(package) if package in EXTRAS else "install another one"
    return f"{error}; {package} is installed, but this release of it does not work here: {fix}"


def missing_packages(extra: str) -> list[str]:
    """Return the import names of an extra's packages that are not installed, with those of included extras.

    Args:
        extra: a key of `ENABLES`.
    """
    extras = {extra, *INCLUDED.get(extra, ())}
    return [package for package, its in EXTRAS.items() if its in extras and not is_installed(package)]


def require(*packages: str) -> None:
    """Raise `MissingPackagesError` if any of the packages is not installed. Imports none of them."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise MissingPackagesError(f"needs {' and '.join(missing)}; {advice(*missing)}", name=missing[0])


def environment_pip() -> str | None:
    """Return the pip of the virtual environment that runs this, if typing `pip` runs another one or none."""
    pip = Path(sys.prefix, "bin", "pip")
    found = shutil.which("pip")
    if sys.prefix == sys.base_prefix or not pip.is_file() or (found is not None and Path(found).samefile(pip)):
        return None
    folder = Path.cwd()
    return str(pip.relative_to(folder) if pip.is_relative_to(folder) else pip)


def advice(*packages: str) -> str:
    """Return how to install packages, to append to their names: "it comes with the extra data: pip install …"."""
    names = {package.partition(".")[0] for package in packages}
    requested = {EXTRAS[name] for name in names & set(EXTRAS)}
    extras = sorted(requested - {extra for other in requested for extra in INCLUDED.get(other, ())})
    if not extras:
        return "it is in no extra: see docs/installation.md"
    listed = ",".join(extras)
    verb, plural = ("it comes" if len(packages) == 1 else "they come"), "s" if len(extras) > 1 else ""
    text = (
        f"{verb} with the extra{plural} {' and '.join(extras)}: pip install '.[{listed}]' in the checkout "
        f"(in a workspace: pip install './src/depth_anything_ros[{listed}]')"
    )
    if (pip := environment_pip()) is not None:
        text += f"; pip of this environment: {pip}"
    if "ros" in extras:
        text += "; where ROS 2 is installed, source its setup.bash instead"
    return text
