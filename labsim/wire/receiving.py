"""What stands behind an HL7 interface: handlers by message type, or one receiver of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from labsim.errors import Hl7Error, LabError
from labsim.wire.hl7 import Message


@dataclass(frozen=True)
class Taken:
    """A kind of message that a system takes in.

    Parameters
    ----------
    transaction : str
        The IHE transaction it is, for this system.
    handle : callable
        What to do with it; raises `Hl7Error` to refuse it.
    """

    transaction: str
    handle: Callable[[Message], None]


@dataclass(frozen=True)
class Arrival:
    """A message that has come in and can be read.

    Parameters
    ----------
    message : Message
        As decoded.
    data : bytes
        As it came.
    caller : str
        The system that sent it; for one from outside, its MSH-3.
    """

    message: Message
    data: bytes
    caller: str


class NotNow(LabError):
    """A message is neither taken nor refused: the connection ends without an answer."""


Verdict = Hl7Error | NotNow | None


class Receiver(Protocol):
    """What stands behind an HL7 interface."""

    @property
    def batch(self) -> int:
        """How many messages of one caller it takes at once, if so many are waiting."""
        ...

    def transaction(self, message: Message) -> str:
        """Return the IHE transaction that a message is, empty if it is none."""
        ...

    def take(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict]:
        """Take messages in, and return a verdict on each; `NotNow` is the last one."""
        ...


class ByType:
    """Takes in one message after the other, each by its type."""

    batch = 1

    def __init__(self, takes: Mapping[str, Taken]) -> None:
        self._takes = takes

    def transaction(self, message: Message) -> str:
        """Return the transaction that its type is here."""
        taken = self._takes.get(message.type)
        return taken.transaction if taken else ""

    def take(self, arrivals: Sequence[Arrival]) -> Sequence[Verdict]:
        """Let the handler of its type take each in."""
        return [self._take(arrival.message) for arrival in arrivals]

    def _take(self, message: Message) -> Hl7Error | None:
        taken = self._takes.get(message.type)
        try:
            if taken is None:
                known = ", ".join(sorted(self._takes))
                raise Hl7Error(f"{message.type} is not taken here, only {known}.", code="AR")
            require_control_id(message)
            taken.handle(message)
        except Hl7Error as error:
            return error
        return None


def require_control_id(message: Message) -> None:
    """Refuse a message that no acknowledgment could name.

    Raises
    ------
    Hl7Error
        If MSH-10 is empty.
    """
    if not message.control_id:
        raise Hl7Error("MSH-10 Message Control ID is empty.", code="AR")
