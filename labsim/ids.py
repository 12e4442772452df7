"""Unique identifiers: the same seed gives the same ones."""

from __future__ import annotations

import re
import uuid

_NAMESPACE = uuid.UUID("0f7c1ed2-5f0a-4b7e-9c55-2d5b0c6e8a11")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def make_uid(*parts: object) -> str:
    """Make a DICOM UID from what it identifies.

    The UID is a name-based UUID under the root 2.25 (PS3.5 B.2), so it needs
    no registered root and two hospitals with the same seed agree on it.

    Parameters
    ----------
    *parts : object
        Whatever makes the identified thing unique, such as
        ``("study", 7, "A0001")``.

    Returns
    -------
    str
        At most 44 characters.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def is_uid(text: str) -> bool:
    """Tell whether `text` is digits and dots as a UID must be (PS3.5 9.1).

    Leading zeros in a component are tolerated: files with them exist and must
    be kept. Anything else, path separators above all, is not.
    """
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def is_ae_title(text: str) -> bool:
    """Tell whether `text` may be an application entity title (PS3.5 6.2, VR AE).

    One to 16 characters of the default repertoire, no backslash, and not
    spaces alone.
    """
    return _AE_TITLE.fullmatch(text) is not None and bool(text.strip())
