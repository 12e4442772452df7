"""HL7 v2 messages: written, read and shown (HL7 v2.5.1 chapter 2).

A message is kept as its text and as its segments split into fields, no
deeper: components are split where they are asked for. A parser that builds
the whole tree took half of the time that a message needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from labsim.errors import Hl7Error
from labsim.table import Table
from labsim.wire.hl7_fields import FIELD_NAMES, SEGMENT_NAMES

SEPARATORS = "|^~\\&"
# MSH-18 by HL7 table 0211, as far as the lab speaks it. Empty means ASCII.
ENCODINGS: Mapping[str, str] = {
    "": "ascii",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/15": "iso8859-15",
    "UNICODE UTF-8": "utf-8",
}
# Of which structure an event is where that has not its own name (v2.3.1, table 0354).
_STRUCTURES = {
    **dict.fromkeys(("ADT^A04", "ADT^A08", "ADT^A13", "ADT^A31"), "ADT_A01"),
    "ADT^A07": "ADT_A06",
    "ADT^A11": "ADT_A09",
    "ADT^A40": "ADT_A39",
}
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_UNESCAPES = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~", ".br": "\n"}


def escape(text: str) -> str:
    """Escape the separators in a piece of text (HL7 v2.5.1 2.7)."""
    escaped = "".join(_ESCAPES.get(character, character) for character in text)
    return escaped.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\.br\\")


def unescape(text: str) -> str:
    """Turn escape sequences back into the characters they stand for."""
    if "\\" not in text:
        return text
    parts = text.split("\\")
    plain = [parts[0]]
    for index in range(1, len(parts)):
        # Between two backslashes stands a name, outside of them stands text.
        inside = index % 2 == 1 and index < len(parts) - 1
        plain.append(_UNESCAPES.get(parts[index], "") if inside else parts[index])
    return "".join(plain)


def timestamp(moment: datetime) -> str:
    """Write a moment as an HL7 time stamp, to the second."""
    return moment.strftime("%Y%m%d%H%M%S")


def with_structure(message_type: str) -> str:
    """Return MSH-9 of a type such as ``"ADT^A04"``: with its structure, ``"ADT^A04^ADT_A01"``.

    By the structure a receiver knows which segments to expect (HL7 v2.3.1
    2.24.1.9, v2.5.1 2.14.9.9).
    """
    own = message_type.replace("^", "_")
    return f"{message_type}^{_STRUCTURES.get(message_type, own)}"


def segment(name: str, fields: Mapping[int, str]) -> str:
    """Write one segment from numbered fields.

    Parameters
    ----------
    name : str
        ``"PID"`` and so on; not MSH, whose numbering is its own.
    fields : mapping of int to str
        Values already escaped where they hold free text.
    """
    return "|".join([name, *(fields.get(n, "") for n in range(1, max(fields, default=0) + 1))])


@dataclass(frozen=True)
class Header:
    """The parties and the kind of a message, segment MSH (HL7 v2.5.1 chapter 2).

    Parameters
    ----------
    sender, receiver : tuple of str
        Application and facility: MSH-3 and MSH-4, MSH-5 and MSH-6.
    message_type : str
        MSH-9, such as ``"ADT^A04^ADT_A01"``.
    control_id : str
        MSH-10, at most 20 characters.
    time : datetime
        MSH-7.
    version : str
        MSH-12.
    accept, application : str
        MSH-15 and MSH-16: which acknowledgments are asked for (table 0155);
        both empty for the original mode.
    """

    sender: tuple[str, str]
    receiver: tuple[str, str]
    message_type: str
    control_id: str
    time: datetime
    version: str = "2.3.1"
    accept: str = ""
    application: str = ""

    def __str__(self) -> str:
        return "|".join(
            [
                "MSH",
                SEPARATORS[1:],
                *map(escape, self.sender),
                *map(escape, self.receiver),
                timestamp(self.time),
                "",
                self.message_type,
                escape(self.control_id),
                "P",
                self.version,
                *["", "", self.accept, self.application, ""],
                "UNICODE UTF-8",
            ]
        )


class Message:
    """A parsed message.

    Parameters
    ----------
    text : str
        Segments that each end with a carriage return (HL7 v2.5.1 2.5.4).

    Raises
    ------
    Hl7Error
        If it does not begin with MSH, or its segments end with line feeds.
    """

    def __init__(self, text: str) -> None:
        _require_readable(text)
        self.text = text if text.endswith("\r") else text + "\r"
        separator = text[3:4]
        if not separator or separator.isalnum() or text[4:5] in ("", separator, "\r"):
            raise Hl7Error(
                "The message cannot be parsed: MSH names no separators.",
                "Compare its first line with MSH|^~\\&|…",
                code="AR",
            )
        lines = self.text.rstrip("\r\n").split("\r")
        self._segments = [fields_of(line, separator) for line in lines]

    @classmethod
    def build(cls, header: Header, *segments: str) -> Message:
        """Put a header and segments together."""
        return cls("\r".join([str(header), *segments]) + "\r")

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Read a message by the character set that its MSH-18 declares.

        Raises
        ------
        Hl7Error
            If it cannot be read, or its bytes are not of that set.
        """
        plain = data.decode("iso8859-1")
        _require_readable(plain)
        # Only the header is read twice: the rest may be long.
        declared = cls(re.split(r"[\r\n]", plain, maxsplit=1)[0])["MSH-18"].upper()
        encoding = ENCODINGS.get(declared.split("~")[0])
        if encoding is None:
            raise Hl7Error(
                f"MSH-18 declares the character set {declared!r}, which is not supported.",
                f"Use one of {', '.join(filter(None, ENCODINGS))}.",
                code="AR",
            )
        try:
            return cls(data.decode(encoding))
        except UnicodeDecodeError as error:
            raise Hl7Error(
                f"Byte 0x{data[error.start]:02X} at offset {error.start} is not "
                f"{encoding}, the character set of MSH-18 {declared or '(empty: ASCII)'}.",
                "The sender must declare the character set it writes.",
            ) from error

    def encode(self) -> bytes:
        """Return the bytes for the wire, in the character set of MSH-18.

        Raises
        ------
        Hl7Error
            If a character is not in that set.
        """
        declared = self["MSH-18"]
        try:
            return self.text.encode(ENCODINGS.get(declared.upper().split("~")[0], "utf-8"))
        except UnicodeEncodeError as error:
            raise Hl7Error(
                f"{error.object[error.start]!r} is not in the character set of "
                f"MSH-18 {declared or '(empty: ASCII)'}.",
                "Declare one that has it, such as UNICODE UTF-8.",
            ) from error

    def __getitem__(self, path: str) -> str:
        """Return a field or component, unescaped; empty if it is not there.

        Parameters
        ----------
        path : str
            ``"PID-5"``, or ``"PID-5.1"`` for the first component, of the
            first segment of that name and the first repetition.
        """
        name, _, rest = path.partition("-")
        field, _, component = rest.partition(".")
        for fields in self._segments:
            if fields[0] == name:
                return _value(fields, int(field), int(component) if component else None)
        return ""

    def all(self, path: str) -> list[str]:
        """Return the same field of every segment of that name, in order."""
        name, _, rest = path.partition("-")
        field, _, component = rest.partition(".")
        return [
            _value(fields, int(field), int(component) if component else None)
            for fields in self._segments
            if fields[0] == name
        ]

    def repetitions(self, path: str) -> list[str]:
        """Return every repetition of a field as it is written, such as each ID of ``"PID-3"``."""
        name, _, field = path.partition("-")
        for fields in self._segments:
            if fields[0] == name and int(field) < len(fields):
                return [text for text in fields[int(field)].split("~") if text]
        return []

    @property
    def type(self) -> str:
        """Message type and trigger event, such as ``"ADT^A04"``."""
        return "^".join(filter(None, (self["MSH-9.1"], self["MSH-9.2"])))

    @property
    def control_id(self) -> str:
        """MSH-10, which the acknowledgment repeats in MSA-2."""
        return self["MSH-10"]

    def table(self, name: str = "") -> Table:
        """Return the message field by field, empty fields left out.

        Parameters
        ----------
        name : str, optional
            Only segments of this name.
        """
        rows = [
            (f"{fields[0]}-{number}", FIELD_NAMES.get(f"{fields[0]}-{number}", ""), value)
            for fields in self._segments
            if not name or fields[0] == name
            for number, value in enumerate(fields)
            if number and value
        ]
        title = f"{name} {SEGMENT_NAMES.get(name, '')}".strip() if name else self.type
        return Table(("field", "name", "value"), rows, title)

    def __str__(self) -> str:
        return self.text.replace("\r", "\n").rstrip("\n")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def acknowledge(
    message: Message,
    code: str,
    control_id: str,
    time: datetime,
    text: str = "",
    *,
    enhanced: bool = False,
) -> Message:
    """Write an acknowledgment of a message (HL7 v2.5.1 2.9.2 and 2.9.3).

    Parameters
    ----------
    message : Message
        What is acknowledged.
    code : str
        MSA-1 (table 0008): ``"AA"``, ``"AE"`` or ``"AR"``; in enhanced mode
        ``"CA"``, ``"CE"`` or ``"CR"`` before it.
    control_id : str
        MSH-10 of the acknowledgment itself.
    time : datetime
        MSH-7.
    text : str, optional
        MSA-3, why it was not accepted.
    enhanced : bool
        Whether it says itself that nobody has to acknowledge it (MSH-15 and MSH-16 NE).
    """
    never = "NE" if enhanced else ""
    header = Header(
        sender=(message["MSH-5"], message["MSH-6"]),
        receiver=(message["MSH-3"], message["MSH-4"]),
        message_type=f"ACK^{event}^ACK" if (event := message["MSH-9.2"]) else "ACK",
        control_id=control_id,
        time=time,
        version=message["MSH-12"] or "2.3.1",
        accept=never,
        application=never,
    )
    fields = {1: code, 2: escape(message.control_id), 3: escape(text)}
    return Message.build(header, segment("MSA", {n: v for n, v in fields.items() if v or n < 3}))


def reject_unreadable(code: str, control_id: str, time: datetime, text: str) -> Message:
    """Write an acknowledgment for bytes that have no header to answer to."""
    header = Header(("", ""), ("", ""), "ACK", control_id, time)
    return Message.build(header, segment("MSA", {1: code, 2: "", 3: escape(text)}))


def fields_of(line: str, separator: str = "|") -> list[str]:
    """Return the fields of a segment by their numbers, its name at 0."""
    fields = line.split(separator)
    if fields[0] == "MSH":
        fields.insert(1, separator)  # MSH-1 is the separator itself (HL7 v2.5.1 2.14.9.1)
    return fields


def _require_readable(text: str) -> None:
    if not text.startswith("MSH"):
        raise Hl7Error(
            f"The message begins with {text[:12]!r} instead of MSH.",
            "Every message begins with the segment MSH (HL7 v2.5.1 chapter 2).",
            code="AR",
        )
    segments = text.rstrip("\r\n")
    # With both, each segment but the first would begin with a line feed and go unseen.
    if "\r\n" in segments or ("\n" in segments and "\r" not in segments):
        raise Hl7Error(
            "The segments end with line feeds (0x0A) instead of carriage returns (0x0D).",
            "End every segment with a carriage return alone (HL7 v2.5.1 2.5.4).",
            code="AR",
        )


def _value(fields: list[str], field: int, component: int | None) -> str:
    if field >= len(fields):
        return ""
    if fields[0] == "MSH" and field < 3:
        return fields[field]
    repetition = fields[field].split("~", 1)[0]
    if component is None:
        return unescape(repetition) if "^" not in repetition else repetition
    parts = repetition.split("^")
    return unescape(parts[component - 1]) if component <= len(parts) else ""
