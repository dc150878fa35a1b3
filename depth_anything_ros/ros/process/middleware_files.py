"""What all advice on middlewares is made of: lines for a log, and the XML files that configure them."""

from __future__ import annotations

import stat
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.system.package_share import PACKAGE, share_directory


@dataclass(frozen=True)
class Advice:
    """One line for the log: a warning, or what is merely good to know."""

    text: str
    is_warning: bool = True


class UnusableFileError(Exception):
    """A file that cannot be read as XML; the message says why, to follow the file's name."""


def shipped(name: str) -> str:
    """The path of one of the package's own configurations, for a command."""
    try:
        folder = str(share_directory())
    except FileNotFoundError:
        folder = f"<prefix>/share/{PACKAGE}"
    return f"{folder}/config/{name}"


def read_xml(path: Path) -> ElementTree.Element:
    """Raises `UnusableFileError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableFileError("is not a file")
        return ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise UnusableFileError("does not exist") from None
    except OSError as error:
        raise UnusableFileError(f"cannot be read ({error.strerror or error})") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: of the encoding it names
        raise UnusableFileError(f"is not valid XML ({error})") from error


def named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The elements of that name below an element, or itself, in whatever namespace."""
    return (found for found in element.iter() if found.tag.rpartition("}")[2] == name)


def text_of(element: ElementTree.Element, name: str) -> str:
    """The text of the first element of that name, or nothing."""
    return next(((found.text or "").strip() for found in named(element, name)), "")
