"""A small furniture catalog of Sweet Home 3D, for tests of meshes."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CUBE = """mtllib {name}.mtl
v 0 0 0
v 2 0 0
v 2 1 0
v 0 1 0
v 0 0 4
v 2 0 4
v 2 1 4
v 0 1 4
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl paint
f 2/1 1/2 4/3 3/4
f 1/1 5/2 8/3 4/4
f 6/1 2/2 3/3 7/4
f 8/1 7/2 3/3 4/4
f 1/1 2/2 6/3 5/4
usemtl print
f 5/1 6/2 7/3 8/4
"""
"""A box 2 x 1 x 4, y up, whose front, at the largest z, has a texture."""
PAINT = """newmtl paint
Kd 0.2 0.2 0.9
d 1.0
newmtl print
Kd 0.8 0.8 0.8
map_Kd print.png
d {opacity}
"""


def entry(number: int, name: str, **fields: str) -> str:
    """Return the lines of an entry in the catalog's list; lengths in centimeters."""
    values = {
        "id": f"Test#{name}",
        "name": name,
        "category": "Living room",
        "model": f"/test/{name}/{name}.obj",
        "width": "200",
        "depth": "100",
        "height": "50",
        "doorOrWindow": "false",
        "creator": "Jane Doe",
        **fields,
    }
    return "".join(f"{key}#{number}={value}\n" for key, value in values.items())


def texture() -> bytes:
    """Return a PNG, red on its left, green on its right half."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = (250, 0, 0), (0, 250, 0)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_catalog(
    path: Path, entries: list[str], broken: tuple[str, ...] = (), terms: str = "Public domain", opacity: float = 1.0
) -> Path:
    """Write a catalog whose entries all show the textured box; the models named in ``broken`` are no meshes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", f"id=Test\nlicense={terms}\n\n" + "\n".join(entries))
        for text in entries:
            name = text.partition("name#")[2].partition("=")[2].partition("\n")[0]
            content = "v nothing\nf 1 2 3\n" if name in broken else CUBE.format(name=name)
            archive.writestr(f"test/{name}/{name}.obj", content)
            archive.writestr(f"test/{name}/{name}.mtl", PAINT.format(opacity=opacity))
            archive.writestr(f"test/{name}/print.png", texture())
    return path
