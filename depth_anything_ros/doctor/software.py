"""Check the installed packages, the extras, and the import of the required packages."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from depth_anything_ros import __version__
from depth_anything_ros.doctor.checks import Options
from depth_anything_ros.doctor.section import Section
from depth_anything_ros.system.extras import ENABLES, missing_packages
from depth_anything_ros.system.package_share import share_directory

REQUIRED = {"numpy": "numpy", "cv2": "opencv-python-headless", "yaml": "PyYAML", "onnxruntime": "onnxruntime"}
"""The modules that every command needs, each with its package on PyPI."""
SHARE_ONE_MODULE = {
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
}
"""Packages that install the same module, so the later one overwrites files of the other."""
VERSIONS = ("openvino", "nncf", "tensorrt", "cuda-bindings", "torch", "onnx", "aiohttp", "rosbags")
"""Other packages whose versions a bug report needs."""
OLDEST, NEWEST = (3, 10), (3, 14)
"""Supported versions of Python."""


def python(section: Section, options: Options) -> None:
    """Report the interpreter, the system and the package's own files."""
    version = platform.python_version()
    section.facts.update(
        python=version, executable=sys.executable, system=platform.platform(), depth_anything_ros=__version__
    )
    section.add_line(f"depth_anything_ros {__version__} in {Path(__file__).parents[1]}")
    section.add_line(f"Python {version}, {sys.executable}; {_distribution()}{platform.machine()}, {platform.release()}")
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        supported = " to ".join(".".join(map(str, ends)) for ends in (OLDEST, NEWEST))
        section.problem(f"Python {version} is not supported: use {supported}, for example python3.12 -m venv .venv")
    try:
        share_directory()
    except FileNotFoundError as error:
        section.problem(f"{error}: pip install --force-reinstall --no-deps . in the checkout, or colcon build")


def required_packages(section: Section, options: Options) -> None:
    """Import the required modules."""
    versions: dict[str, str | None] = {}
    section.facts["required"] = versions
    for module, package in REQUIRED.items():
        versions[module] = None
        try:
            versions[module] = str(getattr(importlib.import_module(module), "__version__", "unknown"))
        except ImportError as error:
            fix = f"pip install {'--force-reinstall ' if _version(package) else ''}{package}"
            section.problem(f"{module} cannot be imported ({error}): {fix}")
    section.add_line(", ".join(f"{module} {version or 'missing'}" for module, version in versions.items()))
    for module, packages in SHARE_ONE_MODULE.items():
        present = [package for package in packages if _version(package)]
        if len(present) > 1:
            section.note(
                f"{' and '.join(present)} are both installed and overwrite each other's module {module}: "
                f"pip uninstall -y {' '.join(present)}, then install only the one you need"
            )


def extras(section: Section, options: Options) -> None:
    """Report the extras and their purpose. A missing extra is not a problem."""
    missing = {extra: missing_packages(extra) for extra in ENABLES}
    section.facts["extras"] = {extra: not packages for extra, packages in missing.items()}
    section.facts["packages"] = {name: version for name in VERSIONS if (version := _version(name))}
    section.add_line(
        ", ".join(f"{name} {version}" for name, version in section.facts["packages"].items()) or "no extras"
    )
    for is_missing in (False, True):
        for extra, packages in missing.items():
            if bool(packages) == is_missing:
                note = f" (missing: {', '.join(packages)}; pip install '.[{extra}]')" if packages else ""
                section.add_line(f"extra {extra:13} {'no ' if packages else 'yes'}  {ENABLES[extra]}{note}")


STEPS = (python, required_packages, extras)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _distribution() -> str:
    """Return the name of the Linux distribution, for a sentence; "" if it is unknown."""
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, "
    except (OSError, KeyError):
        return f"{os.uname().sysname}, "
