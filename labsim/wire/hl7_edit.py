"""One field of an HL7 message read, written or left out, in the text itself.

The rest of the message stays as it came, byte for byte, which a parser that
writes it anew does not promise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from labsim.errors import ConfigurationError
from labsim.wire.hl7 import escape, fields_of

_PATH = re.compile(r"([A-Z][A-Z0-9]{2})(?:-([1-9]\d*)(?:\.([1-9]\d*))?)?")
_FIXED = ("MSH-1", "MSH-2")  # the separators, by which everything else is read


@dataclass(frozen=True)
class Path:
    """A place in a message: a segment, a field of it, a component of that.

    Parameters
    ----------
    segment : str
        ``"PID"``.
    field, component : int
        From 1; 0 for all of them.
    """

    segment: str
    field: int = 0
    component: int = 0

    @classmethod
    def of(cls, text: str) -> Path:
        """Read ``"PID"``, ``"PID-5"`` or ``"PID-5.1"``.

        Raises
        ------
        ConfigurationError
            If it is of another form, or names the separators.
        """
        found = _PATH.fullmatch(text)
        if found is None or text.split(".")[0] in _FIXED or text == "MSH":
            raise ConfigurationError(
                f"{text!r} is no place in a message that can be used.",
                'Write it as "PID-5" or "PID-5.1"; MSH-1 and MSH-2 stay.',
            )
        return cls(found[1], int(found[2] or 0), int(found[3] or 0))


def raw_value(text: str, path: Path) -> str:
    """Return a field or component as it stands there, with its escapes.

    Of the first segment of that name, a component of the first repetition.
    """
    for line in text.split("\r"):
        fields = fields_of(line)
        if fields[0] == path.segment:
            value = fields[path.field] if path.field < len(fields) else ""
            if not path.component:
                return value
            parts = value.split("~")[0].split("^")
            return parts[path.component - 1] if path.component <= len(parts) else ""
    return ""


def with_raw_value(text: str, path: Path, value: str) -> str:
    """Return the message with a field or component replaced, in every segment of that name."""
    return _changed(text, path, lambda _: value)


def with_changed(text: str, path: Path, change: Callable[[str], str]) -> str:
    """Return the message with a value changed by what it is, in every segment of that name."""
    return _changed(text, path, change)


def without(text: str, path: Path) -> str:
    """Return the message with a value emptied, or without the segments of that name."""
    if path.field:
        return _changed(text, path, lambda _: "")
    return "\r".join(line for line in text.split("\r") if fields_of(line)[0] != path.segment)


def written(value: str, path: Path) -> str:
    """Return a value as it is written at a place: ``^`` parts a field, but not a component."""
    if path.component:
        return escape(value)
    return "^".join(map(escape, value.split("^")))


def _changed(text: str, path: Path, change: Callable[[str], str]) -> str:
    return "\r".join(_changed_line(line, path, change) for line in text.split("\r"))


def _changed_line(line: str, path: Path, change: Callable[[str], str]) -> str:
    fields = fields_of(line)
    if fields[0] != path.segment:
        return line
    if path.field >= len(fields):
        if not change(""):
            return line  # nothing goes where nothing is
        fields += [""] * (path.field + 1 - len(fields))
    if not path.component:
        fields[path.field] = change(fields[path.field])
    else:
        first, *more = fields[path.field].split("~")
        parts = first.split("^")
        parts += [""] * (path.component - len(parts))
        parts[path.component - 1] = change(parts[path.component - 1])
        fields[path.field] = "~".join(["^".join(parts), *more])
    if path.segment == "MSH":  # MSH-1 is the separator itself
        del fields[1]
    return "|".join(fields)
