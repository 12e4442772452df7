"""Bodies of several parts, as they come in (RFC 2046 5.1, RFC 2387; PS3.18 8.6.1.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message

from labsim.wire.http import HttpError

MOST_PARTS = 10_000
_LONGEST_HEAD = 8192  # octets of the header fields of one part
# RFC 2046 5.1.1: some of these, not a space at the end. It allows 70; Orthanc sends 73.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,199}[0-9A-Za-z'()+_,./:=?-]")
_PLAIN = ("", "7bit", "8bit", "binary")


@dataclass(frozen=True)
class Part:
    """One part of a body.

    Parameters
    ----------
    media_type : str
        Without its parameters, in lower case.
    content : bytes
        What is in it.
    """

    media_type: str
    content: bytes


def media_type_of(content_type: str) -> tuple[str, dict[str, str]]:
    """Return a media type in lower case, and its parameters."""
    message = Message()
    message["Content-Type"] = " ".join(content_type.split())
    given = message.get_params(failobj=[])
    # A value in the notation of RFC 2231 comes in three parts, the text last.
    parameters = {name.lower(): v if isinstance(v, str) else str(v[-1]) for name, v in given[1:]}
    return message.get_content_type() if content_type.strip() else "", parameters


def boundary_of(content_type: str, wanted: str) -> bytes:
    """Return the boundary that a Content-Type of ``multipart/related`` names.

    Parameters
    ----------
    content_type : str
        As in the request.
    wanted : str
        What the parts have to be, such as ``"application/dicom"``.

    Raises
    ------
    HttpError
        415 for another media type, 400 without a boundary.
    """
    kind, parameters = media_type_of(content_type)
    form = f'multipart/related; type="{wanted}"; boundary=…'
    if kind != "multipart/related" or parameters.get("type", wanted).lower() != wanted:
        shown = content_type[:100] or "a body without Content-Type"
        raise HttpError(415, f"{shown} is not taken here.", f"Send {form}.")
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise HttpError(400, "The Content-Type names no boundary.", f"Send {form}.")
    return boundary.encode("ascii")


def read_parts(body: bytes | bytearray, boundary: bytes, default: str) -> list[Part]:
    """Take a body apart.

    Parameters
    ----------
    body : bytes or bytearray
        All of it.
    boundary : bytes
        As the Content-Type names it.
    default : str
        Media type of a part that does not name its own.

    Raises
    ------
    HttpError
        400 if it is malformed, or ends before its last part does; 413 if it
        has too many parts.
    """
    line = b"--" + boundary
    # The first one may stand at the very beginning; before all others there is a line end.
    place = 0 if body.startswith(line) else _after(body.find(b"\r\n" + line), 2)
    parts: list[Part] = []
    while True:
        place += len(line)
        if body[place : place + 2] == b"--":
            return parts
        head = _end_of_line(body, place)
        end = body.find(b"\r\n" + line, head - 2)
        if end < 0:
            raise _malformed("it ends before its closing boundary")
        if len(parts) == MOST_PARTS:
            raise HttpError(413, f"More than {MOST_PARTS} parts are not taken at once.")
        parts.append(_part(body, head, end, default))
        place = end + 2


def _after(found: int, length: int) -> int:
    if found < 0:
        raise _malformed("its boundary is nowhere in it")
    return found + length


def _end_of_line(body: bytes | bytearray, place: int) -> int:
    """Return where the line after a boundary begins; only blanks may follow it."""
    end = body.find(b"\r\n", place, place + 256)
    if end < 0 or body[place:end].strip(b" \t"):
        raise _malformed("a boundary is not alone on its line")
    return end + 2


def _part(body: bytes | bytearray, start: int, end: int, default: str) -> Part:
    if body.startswith(b"\r\n", start):  # no header fields
        return Part(default, bytes(body[start + 2 : end]))
    blank = body.find(b"\r\n\r\n", start, min(end, start + _LONGEST_HEAD))
    if blank < 0:
        raise _malformed("a part has no blank line after its header fields")
    fields = dict(_field(line) for line in bytes(body[start:blank]).split(b"\r\n"))
    encoding = fields.get("content-transfer-encoding", "").lower()
    if encoding not in _PLAIN:
        raise _malformed(f"Content-Transfer-Encoding {encoding[:20]!r} is not used over HTTP")
    kind, _ = media_type_of(fields.get("content-type", ""))
    return Part(kind or default, bytes(body[blank + 4 : end]))


def _field(line: bytes) -> tuple[str, str]:
    name, colon, value = line.decode("latin-1").partition(":")
    if not colon:
        raise _malformed("a header field of a part has no colon")
    return name.strip().lower(), value.strip()


def _malformed(why: str) -> HttpError:
    return HttpError(400, f"The multipart body is malformed: {why}.")
