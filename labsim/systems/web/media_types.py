"""Which media types a caller takes: the Accept header, and the accept parameter (PS3.18 8.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ANY = "*/*"
# A comma, or a semicolon, that does not stand between quotation marks.
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_SEMICOLON = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')


@dataclass(frozen=True)
class MediaRange:
    """One of the media types that a caller takes.

    Parameters
    ----------
    kind : str
        Type and subtype, such as ``"application/dicom"``; either may be ``*``. Of
        ``multipart/related`` what its parts are.
    multipart : bool or None
        Whether it is to be in parts; None if the caller does not care.
    syntax : str
        Transfer Syntax UID, ``"*"`` for as it is stored, empty for the default (8.7.3.5.2).
    weight : float
        Its ``q``, 0 to 1.
    """

    kind: str
    multipart: bool | None
    syntax: str
    weight: float

    def takes(self, kind: str, *, multipart: bool) -> bool:
        """Tell whether a media type is one of these."""
        if self.multipart is not None and self.multipart != multipart:
            return False
        family, _, member = self.kind.partition("/")
        offered = kind.partition("/")
        return family in ("*", offered[0]) and member in ("*", offered[2])


def acceptable(header: str, query: str = "") -> list[MediaRange]:
    """Return what a caller takes, the best first (PS3.18 8.7.8.1).

    Parameters
    ----------
    header : str
        The Accept header; whoever sends none takes anything (RFC 9110 12.5.1).
    query : str
        The accept query parameter, which comes before the header.
    """
    return [*_ordered(query), *_ordered(header or ANY)]


def _ordered(field: str) -> list[MediaRange]:
    found = [one for one in _ranges(field) if one.weight > 0]
    # Whoever names a media type wants it rather than what a wildcard stands for (8.7.8.1).
    return sorted(found, key=lambda one: ("*" in one.kind, -one.weight))


def _ranges(field: str) -> Iterator[MediaRange]:
    for written in _COMMA.split(field):
        name, *rest = (part.strip() for part in _SEMICOLON.split(written))
        named = (part.partition("=") for part in rest)
        values = {key.strip().lower(): value.strip().strip('"') for key, _, value in named}
        # In a URL a plus sign that is not escaped stands for a space.
        kind = name.lower().replace(" ", "+")
        parts = kind.startswith("multipart/")
        if parts:
            kind = values.get("type", ANY).lower().replace(" ", "+")
        if "/" in kind:
            whole = None if kind == ANY and not parts else parts
            syntax = values.get("transfer-syntax", "")
            yield MediaRange(kind, whole, syntax, _weight(values.get("q", "1")))


def _weight(written: str) -> float:
    try:
        return min(float(written), 1.0)
    except ValueError:
        return 0.0
