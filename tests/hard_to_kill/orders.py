"""HL7 messages over a plain socket, to a hospital that may die, and which of them it accepted."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable

from victims import Victim, place_of

from labsim import Hospital

_START, _END = b"\x0b", b"\x1c\r"


def order(number: int) -> str:
    """Return an order (ORM^O01) of the HIS; placer order number and control ID tell which."""
    return "\r".join(
        (
            "MSH|^~\\&|HIS|X|RIS|X|20260302103000||ORM^O01"
            f"|M{number:06d}|P|2.3.1||||||UNICODE UTF-8",
            f"PID|1||H{number % 7:06d}^^^OUTSIDE^PI||Doe^Jane||19700101|F",
            f"ORC|NW|O{number:06d}^HIS",
            f"OBR|1|O{number:06d}^HIS||CTHEAD^CT head^99LABSIM",
            "",
        )
    )


def control_id(message: str) -> str:
    return message.split("|")[9]


class Caller:
    """Sends messages over one connection, each when the one before has been answered."""

    def __init__(self, target: Victim | Hospital, system: str) -> None:
        self._connection = socket.create_connection(place_of(target, system, "mllp"), 20)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, message: str) -> str:
        """Return MSA-1 and MSA-2 of the answer; empty if there is none any more."""
        try:
            self._connection.sendall(_START + message.encode() + _END)
            answer = b""
            while not answer.endswith(_END):
                more = self._connection.recv(4096)
                if not more:
                    return ""
                answer += more
        except ConnectionError:
            return ""
        [msa] = [line for line in answer.decode().split("\r") if line.startswith("MSA|")]
        return "|".join(msa.split("|")[1:3])


def send_until_killed(
    caller: Caller, first: int, before: Callable[[], object]
) -> tuple[list[str], str]:
    """Send orders one after the other; return the accepted, and the one that was not answered.

    `before` is called when the first has been accepted.
    """
    accepted: list[str] = []
    for number in itertools.count(first):
        message = order(number)
        answer = caller.send(message)
        if not answer:
            return accepted, message
        assert answer == f"AA|{control_id(message)}"
        accepted.append(message)
        if number == first:
            before()
    raise AssertionError
