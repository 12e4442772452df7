"""Systems that are killed while HL7 messages come, wait and go: none is lost, none overtakes."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from orders import Caller, control_id, order, send_until_killed
from victims import Victim, Victims, require_whole

from labsim import Hospital

KILLS = 6
WAIT = 20.0


@pytest.mark.parametrize("queue", ["stopped", "running"])
def test_what_the_engine_accepted_arrives_in_order(
    tmp_path: Path, victims: Victims, times: int, queue: str
) -> None:
    accepted, maybe = _order_until_killed(
        tmp_path, victims, "engine", times, "community", stopped=queue == "stopped"
    )
    with Hospital(path=tmp_path, site="community") as hospital:
        hospital.engine.channel("his-to-ris").destination("ris").start()
        assert hospital.settle(WAIT)
        require_whole(hospital)
        arrived = _arrived(hospital, "ris")
        # What was on its way when the engine died may come twice: its control ID tells.
        once = list(dict.fromkeys(arrived))
        assert [number for number in once if number not in maybe] == accepted
        assert len(arrived) - len(once) <= KILLS * times
        orders = _orders(hospital)
        assert [number for number in orders if number not in maybe] == accepted
        assert set(orders) <= set(accepted) | maybe


def test_what_the_ris_accepted_is_scheduled_and_told(
    tmp_path: Path, victims: Victims, times: int
) -> None:
    accepted, maybe = _order_until_killed(tmp_path, victims, "ris", times, "clinic")
    with Hospital(path=tmp_path) as hospital:
        assert hospital.settle(WAIT)
        require_whole(hospital)
        orders = _orders(hospital)
        assert [number for number in orders if number not in maybe] == accepted
        hospital.ris.schedules_at_once = True
        with Caller(hospital, "ris") as caller:  # who got no answer sends again
            for number in sorted(maybe):
                assert caller.send(order(int(number[1:]))) == f"AA|{number}"
        assert hospital.settle(WAIT)
        assert sorted(_orders(hospital)) == sorted([*accepted, *maybe])
        procedures = hospital.ris.procedures()
        assert sorted(p.placer_order.replace("O", "M") for p in procedures) == sorted(
            [*accepted, *maybe]
        )
        assert [row[3] for row in hospital.ris.outbox.table()].count("waiting") == 0
        announced = hospital.pacs.db.rows("SELECT accession FROM expected_studies")
        assert {row["accession"] for row in announced} == {p.accession for p in procedures}


def _order_until_killed(
    folder: Path, victims: Victims, system: str, times: int, site: str, *, stopped: bool = False
) -> tuple[list[str], set[str]]:
    """Send orders to a system that is killed again and again.

    Returns the control IDs of all that were accepted, and of those that were not answered.
    """
    chance = random.Random(f"{system} {stopped}")
    accepted: list[str] = []
    maybe: set[str] = set()
    for kill in range(KILLS * times):
        victim = victims(folder, site=site)
        assert victim.ask("require_whole(hospital)")
        _prepare(victim, stopped=stopped)
        assassin = threading.Timer(chance.uniform(0, 0.2), victim.kill)
        with Caller(victim, system) as caller:
            came, cut_off = send_until_killed(caller, kill * 10_000, assassin.start)
        assassin.join()
        accepted += map(control_id, came)
        maybe.add(control_id(cut_off))
    assert len(accepted) > KILLS * times
    return accepted, maybe


def _prepare(victim: Victim, *, stopped: bool) -> None:
    victim.ask("setattr(hospital.ris, 'schedules_at_once', True)")
    if stopped:
        victim.ask("hospital.engine.channel('his-to-ris').destination('ris').stop()")


def _arrived(hospital: Hospital, system: str) -> list[str]:
    """Return the control IDs of the orders that a system has received, in the order of the day."""
    events = hospital.journal.events(source=system, kind="hl7")
    received = (e for e in events if e.detail.get("request"))
    return [e.keys["control_id"] for e in received if e.keys["control_id"].startswith("M")]


def _orders(hospital: Hospital) -> list[str]:
    """Return the control IDs of the messages that brought the orders of the RIS."""
    return [order.placer_order.replace("O", "M") for order in hospital.ris.orders()]
