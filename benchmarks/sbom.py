"""Lists the packages of an installation: a CycloneDX SBOM, and a table of the licenses.

    python -m benchmarks.sbom [--python /opt/depth_anything_ros/bin/python] [--output build/sbom]

Needs the extra `sbom`, in this Python. The installation that is listed needs nothing more: `make sbom` lists `.venv`.
Writes sbom.cdx.json and licenses.md. The exit status is 1 if a package states no license. These packages are named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

UNKNOWN = "UNKNOWN"


def write_sbom(python: Path, path: Path) -> int:
    """Write the SBOM of the packages of an interpreter. Return their number."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--output-file", str(path)]
    # Checking the library's own output against the schema takes seconds.
    subprocess.run([*command, "--no-validate", str(python)], check=True, capture_output=True, text=True)
    return len(json.loads(path.read_text(encoding="utf-8"))["components"])


def licenses(python: Path) -> list[dict[str, str]]:
    """Return ``Name``, ``Version`` and ``License`` of each package of an interpreter, by name."""
    command = [sys.executable, "-m", "piplicenses", "--python", str(python), "--from=mixed", "--format=json"]
    # pip and setuptools are part of every environment.
    listed = subprocess.run([*command, "--with-system"], check=True, capture_output=True, text=True).stdout
    return sorted(json.loads(listed), key=lambda package: package["Name"].lower())


def table(packages: list[dict[str, str]]) -> str:
    """Return the licenses as Markdown. A license's whole text, which some packages state as its name, is cut."""
    rows = [f"| {one['Name']} | {one['Version']} | {one['License'].splitlines()[0][:80]} |\n" for one in packages]
    return "".join(["| Package | Version | License |\n|---|---|---|\n", *rows])


def main(arguments: list[str] | None = None) -> int:
    """List the installation. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="interpreter of the installation (default: this one)"
    )
    parser.add_argument("--output", type=Path, default=Path("build/sbom"), help="folder (default: %(default)s)")
    given = parser.parse_args(arguments)
    if not given.python.is_file():
        parser.error(f"--python: {given.python} is no file; give the interpreter, such as .venv/bin/python")
    given.output.mkdir(parents=True, exist_ok=True)
    try:
        count = write_sbom(given.python, given.output / "sbom.cdx.json")
        packages = licenses(given.python)
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)} failed with status {error.returncode}; {error.stderr or ''}", file=sys.stderr)
        print("if a module is missing: pip install '.[sbom]'", file=sys.stderr)
        return 1
    (given.output / "licenses.md").write_text(table(packages), encoding="utf-8")
    print(f"{count} packages in {given.output / 'sbom.cdx.json'}, their licenses in {given.output / 'licenses.md'}")
    unknown = [one["Name"] for one in packages if one["License"] == UNKNOWN]
    if unknown:
        print(f"{len(unknown)} packages state no license: {', '.join(unknown)}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
