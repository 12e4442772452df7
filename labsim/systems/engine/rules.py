"""What a channel's conditions and steps do with a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labsim.channels import (
    ChannelSpec,
    Condition,
    CopyStep,
    DeleteStep,
    DestinationSpec,
    MapStep,
    SetStep,
)
from labsim.errors import Hl7Error
from labsim.wire.hl7 import Message, unescape
from labsim.wire.hl7_edit import (
    Path,
    raw_value,
    with_changed,
    with_raw_value,
    without,
    written,
)

Tables = Mapping[str, Mapping[str, str]]
_Step = SetStep | CopyStep | MapStep | DeleteStep
# What a destination asks for in MSH-15 and MSH-16 (HL7 table 0155).
_MODES = {"original": ("", ""), "accept": ("AL", "NE"), "application": ("AL", "AL")}


def failed_condition(conditions: Sequence[str], message: Message) -> str:
    """Return the first condition that is not true, empty if all are."""
    for text in conditions:
        if not _is_true(Condition.parse(text), message):
            return text
    return ""


def _is_true(condition: Condition, message: Message) -> bool:
    # The type is compared as everybody says it, without the message structure (MSH-9.3).
    value = message.type if condition.place == "MSH-9" else message[condition.place]
    match condition.verb:
        case "==" | "in":
            return value in condition.values
        case "!=" | "not in":
            return value not in condition.values
        case "starts with":
            return value.startswith(condition.values[0])
        case "is empty":
            return not value
        case _:
            return bool(value)


def transformed(
    text: str, channel: ChannelSpec, destination: DestinationSpec, tables: Tables
) -> str:
    """Return a message as a destination gets it.

    Raises
    ------
    Hl7Error
        If a lookup table has no entry for a value, or the message cannot be written any more.
    """
    result = text
    for step in (*channel.steps, *destination.steps):
        result = _after(result, step, tables)
    if destination.application:
        path = Path.of("MSH-5")
        result = with_raw_value(result, path, written(destination.application, path))
    for place, value in zip(("MSH-15", "MSH-16"), _MODES[destination.acknowledgment], strict=True):
        if value:
            result = with_raw_value(result, Path.of(place), value)
    if result != text:
        Message(result).encode()  # what the wire would refuse is an error here already
    return result


def _after(text: str, step: _Step, tables: Tables) -> str:
    path = Path.of(step.place)
    if isinstance(step, DeleteStep):
        return without(text, path)
    if isinstance(step, SetStep):
        return with_raw_value(text, path, written(step.to, path))
    if isinstance(step, CopyStep):
        return with_raw_value(text, Path.of(step.to), raw_value(text, path))
    table = tables.get(step.table, {})
    return with_changed(text, path, lambda raw: _looked_up(raw, step, path, table))


def _looked_up(raw: str, step: MapStep, path: Path, table: Mapping[str, str]) -> str:
    value = unescape(raw)
    if not value or (step.keep_unknown and value not in table):
        return raw
    found = table.get(value, step.default)
    if found is None:
        raise Hl7Error(f"{step.place} {value!r} is not in the lookup table {step.table!r}.")
    return written(found, path)
