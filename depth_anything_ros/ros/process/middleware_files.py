"""Shared parts of the middleware checks: log lines, and the XML files that configure a middleware."""

from __future__ import annotations

import stat
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from depth_anything_ros.system.package_share import PACKAGE, share_directory


@dataclass(frozen=True)
class Advice:
    """One line for the log: a warning or information."""

    text: str
    is_warning: bool = True


class UnusableFileError(Exception):
    """A file that cannot be read as XML. The message gives the reason and follows the file's name in a sentence."""


def shipped(name: str) -> str:
    """Return the path of a configuration file of the package, for use in a command."""
    try:
        folder = str(share_directory())
    except FileNotFoundError:
        folder = f"<prefix>/share/{PACKAGE}"
    return f"{folder}/config/{name}"


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file. Raise `UnusableFileError` if that fails."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnusableFileError("is not a file")
        return ElementTree.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise UnusableFileError("does not exist") from None
    except OSError as error:
        raise UnusableFileError(f"cannot be read ({error.strerror or error})") from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: an invalid encoding
        raise UnusableFileError(f"is not valid XML ({error})") from error


def named(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Yield the elements with a tag, in any namespace.

    Args:
        element: root of the search, itself included.
        name: the tag without its namespace.
    """
    return (entry for entry in element.iter() if entry.tag.rpartition("}")[2] == name)


def text_of(element: ElementTree.Element, name: str) -> str:
    """Return the text of the first element with this tag; "" if there is none.

    Args:
        element: root of the search, itself included.
        name: the tag without its namespace.
    """
    return next(((entry.text or "").strip() for entry in named(element, name)), "")
