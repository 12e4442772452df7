"""What the repository reads out of an audit message, to find it by."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime

from labsim.errors import ConfigurationError
from labsim.systems.audit.message import NotAnAuditMessage, read


def people(root: ET.Element) -> Iterator[str]:
    """Return every name under which a participant may be looked for."""
    for participant in root.findall("ActiveParticipant"):
        user = participant.get("UserID", "")
        alternative = participant.get("AlternativeUserID", "")
        titles = alternative.partition("AETITLES=")[2].split(";")
        names = [user, user.partition("@")[0], participant.get("UserName", "")]
        plain = [] if any(titles) else [alternative]
        yield from dict.fromkeys(filter(None, [*names, *plain, *(t.strip() for t in titles)]))


def objects(root: ET.Element) -> Iterator[tuple[str, str, str]]:
    """Return ID type code, ID and issuer of each object."""
    for thing in root.findall("ParticipantObjectIdentification"):
        kind = thing.find("ParticipantObjectIDTypeCode")
        identifier, _, rest = thing.get("ParticipantObjectID", "").partition("^^^")
        code = kind.get("csd-code", "") if kind is not None else ""
        yield code, identifier, rest.partition("&")[0]


def meaning(code: ET.Element | None) -> str:
    """Return a code in words, empty for none."""
    if code is None:
        return ""
    return code.get("originalText") or code.get("csd-code") or ""


def pretty(xml: str) -> str:
    """Return a message with one element a line."""
    try:
        root = read(xml)
    except NotAnAuditMessage:
        return xml
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def utc(text: str) -> str:
    """Return a time as UTC; one without a zone is the hospital's.

    Raises
    ------
    ConfigurationError
        If it is no time.
    """
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat(timespec="milliseconds")
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no time.", "For example 2026-03-02T10:30."
        ) from error


def utc_or_empty(text: str) -> str:
    """Return a time as UTC, empty for what is none."""
    try:
        return utc(text)
    except ConfigurationError:
        return ""


def local(time: str) -> str:
    """Return a time of `utc` as the hospital's."""
    if not time:
        return ""
    return datetime.fromisoformat(time).astimezone().replace(tzinfo=None).isoformat(sep=" ")[:19]
