"""The channels of an integration engine, as data: what comes, what becomes of it, where it goes.

A condition is one line, such as ``PV1-2 != "E"``; a step is one small table,
such as ``{ map = "OBR-4.1", table = "examinations" }``. There is nothing
else, and nothing is executed: whoever can read a message can read a channel.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.functional_validators import AfterValidator

_PLACE = re.compile(r"(?!MSH-[12]\b)[A-Z][A-Z0-9]{2}-[1-9]\d*(\.[1-9]\d*)?")
_SEGMENT = re.compile(r"(?!MSH)[A-Z][A-Z0-9]{2}")
_CONDITION = re.compile(
    r"(?P<place>\S+) (?P<verb>==|!=|in|not in|starts with|is empty|is not empty)(?: (?P<value>.+))?"
)
_LISTS = ("in", "not in")
_ALONE = ("is empty", "is not empty")


@dataclass(frozen=True)
class Condition:
    """One condition on a message.

    Parameters
    ----------
    place : str
        ``"PV1-2"`` or ``"MSH-9.1"``.
    verb : str
        ``"=="``, ``"!="``, ``"in"``, ``"not in"``, ``"starts with"``,
        ``"is empty"`` or ``"is not empty"``.
    values : tuple of str
        What the place is compared with.
    """

    place: str
    verb: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises
        ------
        ValueError
            If it is none.
        """
        found = _CONDITION.fullmatch(text.strip())
        if found is None or not _PLACE.fullmatch(found["place"]):
            raise ValueError(f'{text!r} is no condition; write it like PV1-2 != "E"')
        verb = found["verb"]
        return cls(found["place"], verb, tuple(_values(text, verb, found["value"])))


def _values(text: str, verb: str, written: str | None) -> list[str]:
    if (written is None) is not (verb in _ALONE):
        raise ValueError(f"{text!r} has nothing to compare with, or too much")
    if written is None:
        return []
    try:
        value = json.loads(written)
    except ValueError as error:
        raise ValueError(f'{text!r}: write text as "…" and a list as ["…", "…"]') from error
    values = value if verb in _LISTS else [value]
    if not isinstance(values, list) or not all(isinstance(entry, str) for entry in values):
        raise ValueError(f"{text!r}: in and not in need a list of texts, the others one text")
    return values


def _place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        raise ValueError(f'{text!r} is no field of a message; write it like "PID-5.1"')
    return text


def _deletable(text: str) -> str:
    if not (_PLACE.fullmatch(text) or _SEGMENT.fullmatch(text)):
        raise ValueError(f'{text!r} is no field or segment that can be deleted, like "ZDS"')
    return text


def _condition(text: str) -> str:
    Condition.parse(text)
    return text


Place = Annotated[str, AfterValidator(_place)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class SetStep(_Part):
    """Give a field a value."""

    place: Place = Field(alias="set")
    to: str


class CopyStep(_Part):
    """Give a field the value of another."""

    place: Place = Field(alias="copy")
    to: Place


class MapStep(_Part):
    """Look a field's value up in a table, and put what stands there in its place.

    A value that the table does not have becomes `default`, or stays with
    `keep_unknown`; with neither, the message is an error. An empty field stays empty.
    """

    place: Place = Field(alias="map")
    table: Name
    default: str | None = None
    keep_unknown: bool = False


class DeleteStep(_Part):
    """Empty a field, or leave every segment of a name out."""

    place: Annotated[str, AfterValidator(_deletable)] = Field(alias="delete")


_KINDS: dict[str, type[_Part]] = {
    "set": SetStep,
    "copy": CopyStep,
    "map": MapStep,
    "delete": DeleteStep,
}


def _kind_of(step: Any) -> str | None:
    if isinstance(step, dict):
        kinds = [kind for kind in _KINDS if kind in step]
        return kinds[0] if len(kinds) == 1 else None
    return next((kind for kind, model in _KINDS.items() if isinstance(step, model)), None)


Step = Annotated[
    Annotated[SetStep, Tag("set")]
    | Annotated[CopyStep, Tag("copy")]
    | Annotated[MapStep, Tag("map")]
    | Annotated[DeleteStep, Tag("delete")],
    Discriminator(
        _kind_of,
        custom_error_type="step",
        custom_error_message="a step has exactly one of set, copy, map, delete",
    ),
]


class DestinationSpec(_Part):
    """Where a channel sends to, and how patiently.

    Parameters
    ----------
    name : str
        Of its own within the channel.
    host, port
        Where it listens.
    application : str
        Becomes MSH-5; it stays what it was if left out.
    steps : list
        After those of the channel, for this destination only.
    acknowledgment : str
        ``"original"``, or in the enhanced mode ``"accept"`` (CA is the last word)
        or ``"application"`` (AA must follow) (HL7 v2.5.1 2.9).
    timeout : float
        Seconds to wait for an acknowledgment.
    retry_every : float
        Seconds from a failed attempt to the next.
    attempts : int or None
        After how many failed ones a message goes to the error queue; None for never.
    pause : float
        Seconds between one message and the next, for a receiver that needs them.
    keep_open : bool
        Whether the connection stays open from message to message.
    hang_up_when_late : bool
        Whether a connection is given up when an acknowledgment did not come in time.
    match_control_id : bool
        Whether an acknowledgment counts only if its MSA-2 is the message's MSH-10.
    """

    name: Name
    host: str = Field(min_length=1)
    port: Port
    application: str = ""
    steps: list[Step] = []
    acknowledgment: Literal["original", "accept", "application"] = "original"
    timeout: float = Field(5.0, gt=0, le=60)
    retry_every: float = Field(5.0, gt=0)
    attempts: int | None = Field(None, ge=1)
    pause: float = Field(0.0, ge=0, le=60)
    keep_open: bool = True
    hang_up_when_late: bool = True
    match_control_id: bool = True


class ChannelSpec(_Part):
    """One channel.

    Parameters
    ----------
    name : str
        Its name.
    sender : str
        The application that it takes messages of (MSH-3), empty for any.
    receiver : str
        The application that they are for (MSH-5), empty for any.
    messages : mapping of str to str
        Types of messages, such as ``"ADT^A04"`` or ``"ADT^*"``, and the IHE
        transaction that each is, empty for none; the first that fits counts.
    filter : list of str
        Conditions; a message goes on if all are true.
    steps : list
        What is done to it, in order.
    destinations : list
        Where it goes, each with a queue of its own.
    remember_for : float
        Seconds for which a repeated message is recognised; 0 for never.
    compare : str
        What makes a message a repeated one, beside MSH-3, MSH-4 and MSH-10:
        ``"content"`` for all of it, ``"control id"`` for nothing else.
    """

    name: Name
    sender: str = ""
    receiver: str = ""
    messages: dict[str, str] = Field(min_length=1)
    filter: list[Annotated[str, AfterValidator(_condition)]] = []
    steps: list[Step] = []
    destinations: list[DestinationSpec] = Field(min_length=1)
    remember_for: float = Field(3600.0, ge=0)
    compare: Literal["content", "control id"] = "content"

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        names = [destination.name for destination in self.destinations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two destinations are called {name!r}")
        return self

    def transaction(self, message_type: str) -> str | None:
        """Return the IHE transaction of a type of message, None if the channel does not take it."""
        for wanted, transaction in self.messages.items():
            if wanted == message_type or (
                wanted.endswith("*") and message_type.startswith(wanted[:-1])
            ):
                return transaction
        return None

    def destination(self, name: str) -> DestinationSpec | None:
        """Return one destination by its name."""
        return next((found for found in self.destinations if found.name == name), None)

    def tables(self) -> set[str]:
        """Return the names of the lookup tables that its steps use."""
        lists = [self.steps, *(destination.steps for destination in self.destinations)]
        return {step.table for steps in lists for step in steps if isinstance(step, MapStep)}


def require_consistent(channels: list[ChannelSpec], tables: dict[str, dict[str, str]]) -> None:
    """Compare channels with each other and with the lookup tables.

    Raises
    ------
    ValueError
        If two have one name, or one uses a table that is not there.
    """
    names = [channel.name for channel in channels]
    for channel in channels:
        if names.count(channel.name) > 1:
            raise ValueError(f"two channels are called {channel.name!r}")
        for table in sorted(channel.tables() - set(tables)):
            raise ValueError(f"channel {channel.name!r} uses a table {table!r} that is not there")
