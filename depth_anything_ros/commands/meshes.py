"""`depth_anything_ros meshes`: make a mesh pack from furniture catalogs, for rendered scenes."""

from __future__ import annotations

import argparse
import json
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np

from depth_anything_ros.commands import CommandError
from depth_anything_ros.commands import arguments as parse
from depth_anything_ros.system.atomic_file import atomic_path, atomic_write
from depth_anything_ros.system.extras import require
from depth_anything_ros.system.progress import track

DEBIAN = Path("/usr/share/sweethome3d/furniture")
"""Folder of the catalogs in the Debian and Ubuntu package sweethome3d-furniture."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "sources",
        nargs="*",
        type=Path,
        default=[DEBIAN],
        metavar="SOURCE",
        help="furniture catalogs of Sweet Home 3D (.sh3f), or folders of them (default: %(default)s, of the "
        "Debian package sweethome3d-furniture)",
    )
    parser.add_argument("--output", required=True, type=parse.output_folder, metavar="DIR", help="folder for the pack")
    parser.add_argument(
        "--triangles", type=int, default=40_000, help="leave out meshes with more triangles (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the pack; return 1 if a catalog or a mesh could not be read."""
    require("numba", "trimesh", "PIL")
    from depth_anything_ros.synthetic.mesh_import import Pool, UnusableError, convert, models
    from depth_anything_ros.synthetic.mesh_pack import CATALOG

    output = arguments.output
    if output.is_dir() and any(output.iterdir()) and not (output / CATALOG).exists():
        raise CommandError(f"{output} contains other files: give an empty folder, or one with a mesh pack")
    pool, meshes, left_out, unread = Pool(), [], Counter(), []
    for path in catalogs(arguments.sources):
        try:
            with zipfile.ZipFile(path) as archive:
                for model in track(list(models(archive)), path.stem, "meshes"):
                    try:
                        meshes.append(convert(model, pool, arguments.triangles))
                    except UnusableError as error:
                        left_out[str(error)] += 1
                    except Exception as error:  # trimesh raises many kinds of errors for unreadable files
                        unread.append(f"{model.name}: {error or type(error).__name__}")
        except UnusableError as error:
            left_out[f"{path}: {error}"] += 1
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            unread.append(f"{path}: {error}")
    if not meshes:
        raise CommandError("; ".join(["no mesh could be used", *unread, *left_out]))
    write(output, meshes, pool.arrays())
    roles = Counter(mesh.role for mesh in meshes).most_common()
    counted = "1 mesh" if len(meshes) == 1 else f"{len(meshes)} meshes"
    print(f"{counted}: {', '.join(f'{count} {role}' for role, count in roles)}: {output}")
    for reason, count in left_out.most_common():
        print(f"left out {count}: {reason}")
    for line in unread:
        print(f"cannot read {line}")
    return 1 if unread else 0


def catalogs(sources: list[Path]) -> list[Path]:
    """Return the catalogs among files and folders. Raise `CommandError` if a source has none."""
    found = []
    for source in sources:
        inside = sorted(source.glob("*.sh3f")) if source.is_dir() else [source]
        if not inside or not inside[0].exists():
            fix = "apt install sweethome3d-furniture" if source == DEBIAN else "give a .sh3f file or a folder of them"
            raise CommandError(f"{source} has no furniture catalog: {fix}")
        found += inside
    return found


def write(output: Path, meshes: list, arrays: dict[str, np.ndarray]) -> None:
    """Write a pack: arrays and credits first, then the catalog, which completes it."""
    from depth_anything_ros.synthetic.mesh_pack import CATALOG, CREDITS

    output.mkdir(parents=True, exist_ok=True)
    sums = {}
    for name, array in arrays.items():
        with atomic_path(output / f"{name}.npy") as partial, partial.open("wb") as file:
            np.save(file, array)
        sums[name] = sha256(np.ascontiguousarray(array)).hexdigest()
    credits = "".join(f"{line}\n" for line in sorted({mesh.credit for mesh in meshes}))
    atomic_write(output / CREDITS, f"Meshes, changed in format:\n\n{credits}".encode())
    catalog = {"sha256": sums, "meshes": [mesh.to_dictionary() for mesh in meshes]}
    atomic_write(output / CATALOG, (json.dumps(catalog, indent=1) + "\n").encode())
