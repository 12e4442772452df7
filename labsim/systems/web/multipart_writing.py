"""Answers in several parts: multipart/related (RFC 2387; PS3.18 8.6.1.2), written one by one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part of an answer.

    Parameters
    ----------
    kind : str
        Its media type, with parameters.
    data : bytes
        What it is.
    location : str
        Its own address, for Content-Location.
    """

    kind: str
    data: bytes
    location: str = ""


class MultipartWriter:
    """Writes the parts of one answer.

    Parameters
    ----------
    kind : str
        The media type of the parts, without parameters.
    """

    def __init__(self, kind: str) -> None:
        # Drawn by lot, and long enough that no image has it (RFC 2046 5.1.1).
        self._boundary = f"part-{secrets.token_hex(16)}"
        self.content_type = f'multipart/related; type="{kind}"; boundary="{self._boundary}"'

    def part(self, part: Part) -> bytes:
        """Return a part with its delimiter and headers."""
        lines = [f"--{self._boundary}", f"Content-Type: {part.kind}"]
        lines.append(f"Content-Length: {len(part.data)}")
        if part.location:
            lines.append(f"Content-Location: {part.location}")
        return "\r\n".join([*lines, "", ""]).encode() + part.data + b"\r\n"

    def end(self) -> bytes:
        """Return what tells that no part is missing."""
        return f"--{self._boundary}--\r\n".encode()
