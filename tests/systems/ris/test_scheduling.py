"""Stations are taken by one examination at a time: free slots, hours, blocks, emergencies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError
from labsim.systems.records import Procedure

pytestmark = pytest.mark.usefixtures("small_scans")
NOW = datetime(2026, 3, 2, 10, 30)


@pytest.fixture
def department() -> Iterator[Hospital]:
    with Hospital(seed=7, clock=ManualClock(NOW)) as running:
        yield running


def ordered(hospital: Hospital, code: str = "CTHEAD", priority: str = "R") -> str:
    patient = hospital.his.register_patient()
    return hospital.his.place_order(patient.patient_id, code, priority=priority).placer_order


def times(hospital: Hospital, *procedures: Procedure) -> list[str]:
    return [hospital.ris.procedure(p.accession).start[8:16] for p in procedures]


def test_the_first_comes_now_and_the_next_when_the_station_is_free(department: Hospital) -> None:
    codes = ("CTHEAD", "CTABDOMEN", "CTHEAD")  # 15, 20 and 15 minutes
    planned = [department.ris.schedule(ordered(department, code)) for code in codes]
    assert times(department, *planned) == ["02T10:30", "02T10:45", "02T11:05"]


def test_a_station_that_has_finished_early_is_free(department: Hospital) -> None:
    first = department.ris.schedule(ordered(department))
    [entry] = department.ct.query_worklist()
    step = department.ct.start_step(entry)
    department.ct.acquire(step)
    department.ct.complete_step(step)
    second = department.ris.schedule(ordered(department))
    assert times(department, first, second) == ["02T10:30", "02T10:30"]


def test_a_gap_is_used_if_it_is_long_enough(department: Hospital) -> None:
    ris = department.ris
    ris.schedule(ordered(department), start=datetime(2026, 3, 2, 10, 48))
    long = ris.schedule(ordered(department, "CTABDOMEN"))
    short = ris.schedule(ordered(department))
    assert times(department, long, short) == ["02T11:03", "02T10:30"]


def test_two_things_at_once_are_refused(department: Hospital) -> None:
    first = department.ris.schedule(ordered(department), start=datetime(2026, 3, 2, 12))
    number = ordered(department)
    with pytest.raises(ConfigurationError, match=rf"taken from 12:00 to 12:15: {first.accession}"):
        department.ris.schedule(number, start=datetime(2026, 3, 2, 12, 14))
    assert [o.status for o in department.ris.orders()] == ["SCHEDULED", "RECEIVED"]
    department.ris.schedule(number, start=datetime(2026, 3, 2, 12, 15))


def test_hours_are_kept(department: Hospital) -> None:
    department.ris.set_hours("CT1", "07:00", "10:50")
    today, tomorrow = (department.ris.schedule(ordered(department)) for _ in range(2))
    assert times(department, today, tomorrow) == ["02T10:30", "03T07:00"]
    with pytest.raises(ConfigurationError, match="CT1 is closed at 22:00"):
        department.ris.schedule(ordered(department), start=datetime(2026, 3, 2, 22))
    assert [tuple(row) for row in department.ris.resources()] == [("CT1", "CT", "07:00", "10:50")]


@pytest.mark.parametrize(
    ("station", "opens", "closes", "why"),
    [
        ("CT1", "19:00", "07:00", "cannot be open"),
        ("CT1", "7", "19:00", "cannot be open"),
        ("XX1", "07:00", "19:00", "'XX1' is no station"),
    ],
)
def test_hours_that_cannot_be_are_refused(
    department: Hospital, station: str, opens: str, closes: str, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        department.ris.set_hours(station, opens, closes)


def test_an_emergency_comes_now_and_the_others_move_on(department: Hospital) -> None:
    ris = department.ris
    routine = [ris.schedule(ordered(department)) for _ in range(2)]
    stat = ris.schedule(ordered(department, priority="S"))
    assert times(department, stat) == ["02T10:30"]
    assert times(department, *routine) == ["02T11:00", "02T10:45"]  # the second stays in its place
    entries = department.ct.query_worklist()
    assert [str(entry.AccessionNumber) for entry in entries] == [
        stat.accession,
        routine[1].accession,
        routine[0].accession,
    ]
    department.ris.worker.submit(lambda: None).result(5)  # what it told before is delivered
    moved = department.journal.events(source="ris", transaction="RAD-13", kind="hl7")
    assert {event.keys["accession"] for event in moved} == {routine[0].accession}
    assert {str(event.detail.get("answer", "ACK AA")) for event in moved} == {"ACK AA"}


def test_an_emergency_waits_for_what_has_begun_and_for_another_one(department: Hospital) -> None:
    department.ris.schedule(ordered(department))
    [entry] = department.ct.query_worklist()
    department.ct.start_step(entry)
    stats = [department.ris.schedule(ordered(department, priority="S")) for _ in range(2)]
    assert times(department, *stats) == ["02T10:45", "02T11:00"]


def test_an_emergency_asks_for_no_hours(department: Hospital) -> None:
    department.ris.set_hours("CT1", "07:00", "10:00")
    stat = department.ris.schedule(ordered(department, priority="S"))
    routine = department.ris.schedule(ordered(department))
    assert times(department, stat, routine) == ["02T10:30", "03T07:00"]


def test_what_was_planned_on_a_station_that_fails_moves(department: Hospital) -> None:
    ris = department.ris
    planned = [ris.schedule(ordered(department)) for _ in range(2)]
    moved = ris.block("CT1", NOW, datetime(2026, 3, 2, 12), "tube change")
    assert [p.accession for p in moved] == [p.accession for p in planned]
    assert times(department, *planned) == ["02T12:00", "02T12:15"]
    with pytest.raises(ConfigurationError, match="10:30 to 12:00: tube change"):
        ris.schedule(ordered(department), start=datetime(2026, 3, 2, 11))
    ris.unblock("CT1")
    assert times(department, ris.schedule(ordered(department))) == ["02T10:30"]
    with pytest.raises(ConfigurationError, match="'XX1' is no station"):
        ris.block("XX1", NOW, datetime(2026, 3, 2, 12))
    with pytest.raises(ConfigurationError, match="until later"):
        ris.block("CT1", NOW, NOW)


def test_the_calendar_shows_a_day(department: Hospital) -> None:
    first = department.ris.schedule(ordered(department))
    department.ris.block("CT1", datetime(2026, 3, 2, 12), datetime(2026, 3, 2, 13), "service")
    assert [list(row) for row in department.ris.calendar()] == [
        ["CT1", "10:30", "10:45", first.accession, "CT head", "R", "SCHEDULED"],
        ["CT1", "12:00", "13:00", "", "service", "", "BLOCKED"],
    ]
    assert [row[-1] for row in department.ris.calendar(date(2026, 3, 3))] == ["FREE"]


def test_a_moved_examination_is_told_to_archive_and_worklist(department: Hospital) -> None:
    procedure = department.ris.schedule(ordered(department))
    moved = department.ris.reschedule(procedure.accession, start=datetime(2026, 3, 3, 9))
    assert (moved.accession, moved.study_uid) == (procedure.accession, procedure.study_uid)
    assert department.ct.query_worklist() == []
    [entry] = department.ct.query_worklist(date="20260303")
    assert entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartTime == "090000"
    events = department.journal.events(transaction="RAD-13", source="ris")
    message = department.message(events[0])
    assert (message["ORC-1"], message["ORC-5"], message["OBR-27.4"]) == (
        "XO",
        "SC",
        "20260303090000",
    )
    # Back to where it was, as soon as it can be.
    assert department.ris.reschedule(procedure.accession).start == procedure.start


def test_the_station_that_is_free_first_is_taken() -> None:
    with Hospital(seed=7, site="community", clock=ManualClock(NOW)) as community:
        numbers = [ordered(community, code) for code in ("DXCHEST", "CRCHEST", "DXCHEST")]
        planned = [community.ris.schedule(number) for number in numbers]
        assert [(p.station, p.start[11:16]) for p in planned] == [
            ("DX1", "10:30"),
            ("CR1", "10:30"),
            ("DX1", "10:40"),
        ]


def test_a_change_to_another_kind_of_scanner_finds_a_place_there() -> None:
    with Hospital(seed=7, site="community", clock=ManualClock(NOW)) as community:
        community.ris.schedule(ordered(community, "MRHEAD"))
        procedure = community.ris.schedule(ordered(community, "CTHEAD"))
        changed = community.ris.change(procedure.accession, code="MRKNEEL")
        assert (changed.station, changed.modality, changed.start[11:16]) == ("MR1", "MR", "11:00")
        assert changed.accession == procedure.accession


def test_an_examination_that_no_station_does_stays_as_it_was(department: Hospital) -> None:
    procedure = department.ris.schedule(ordered(department))
    with pytest.raises(ConfigurationError, match="no MR station"):
        department.ris.change(procedure.accession, code="MRHEAD")
    assert department.ris.procedure(procedure.accession) == procedure
    assert department.ris.orders()[0].code == "CTHEAD"


def test_a_cancellation_needs_a_reason(department: Hospital) -> None:
    procedure = department.ris.schedule(ordered(department))
    with pytest.raises(ConfigurationError, match="needs a reason"):
        department.ris.cancel(procedure.accession, " ")
    assert department.ris.procedure(procedure.accession).status == "SCHEDULED"
