"""A day of the department: nothing is lost, one seed gives one day, Ctrl-C harms nobody."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.day import Day
from labsim.day.records import DayExam
from labsim.errors import AssociationFailed, ConfigurationError
from labsim.faults import UnknownAeTitle
from labsim.systems.modality import Modality

MONDAY = datetime(2026, 3, 2)
EXAMINED = {"completed", "reported"}


@pytest.fixture
def community() -> Iterator[Hospital]:
    """A community hospital in the night before Monday, 2 March 2026."""
    with Hospital(seed=7, site="community", clock=ManualClock(MONDAY)) as running:
        yield running


def examined(day: Day) -> list[DayExam]:
    return [exam for exam in day.exams if exam.outcome in EXAMINED]


def test_a_day_of_100_exams_leaves_no_study_unmatched(community: Hospital) -> None:
    day = community.day(100, progress=False)
    assert len(day.exams) == 100
    assert [exam.problem for exam in day.exams if exam.problem] == []
    assert len(day.unmatched()) == 0
    done = examined(day)
    assert len(done) > 80
    assert {exam.outcome for exam in day.exams} >= {"reported", "no show", "discontinued"}
    assert {exam.planned.kind for exam in day.exams} >= {"outpatient", "inpatient", "emergency"}
    assert any(exam.planned.without_order for exam in done)

    # The HIS: an order for each exam, and the result of each that is reported
    orders = {order.placer_order: order for order in community.his.orders()}
    assert len(orders) == 100
    for exam in day.exams:
        order = orders[exam.placer_order]
        results = {r.placer_order: r for r in community.his.chart(exam.patient_id)}
        if exam.outcome == "reported":
            assert (order.status, results[exam.placer_order].status) == ("RESULTED", "F")
            assert results[exam.placer_order].accession == exam.accession
        elif exam.preliminary is None:
            assert exam.placer_order not in results
        assert (order.status == "CANCELLED") == (exam.outcome == "cancelled")

    # The RIS: a procedure for each, in the state in which the day left it
    states = {
        "reported": "REPORTED",
        "completed": "COMPLETED",
        "discontinued": "DISCONTINUED",
        "cancelled": "CANCELLED",
        "no show": "SCHEDULED",
    }
    for exam in day.exams:
        assert community.ris.procedure(exam.accession).status == states[exam.outcome]
    assert len(community.ris.unmatched()) == 0
    unread = {entry.accession for entry in community.ris.reading_list()}
    assert unread == {exam.accession for exam in done if exam.outcome == "completed"}
    documents = [(row[0], row[4]) for row in community.ris.documents.table()]
    assert {state for _, state in documents} == {"stored"}
    assert {accession for accession, _ in documents} >= {
        exam.accession for exam in done if exam.outcome == "reported"
    }

    # The scanners: everything is sent and committed
    assert [scanner.waiting() for scanner in community.modalities()] == [0] * 6
    kept = [row for scanner in community.modalities() for row in scanner.table()]
    # The scanner never hears the number of what it began without an order.
    assert sorted(row[0] for row in kept if row[1] == "COMPLETED") == sorted(
        "" if exam.planned.without_order else exam.accession for exam in done
    )
    for row in kept:
        assert row[2] == row[3] == row[4]

    # On each scanner one at a time, and nobody before an emergency that waits
    for scanner in day.scanners:
        for (_, end), (begin, _) in itertools.pairwise(scanner.busy):
            assert end <= begin
    for exam in done:
        assert exam.arrived is not None
        assert exam.begun is not None
        assert exam.completed is not None
        assert exam.arrived <= exam.begun < exam.completed
        assert exam.reported is None or exam.completed < exam.reported
        if exam.planned.priority == "S":
            called = [e.begun for e in done if e.station == exam.station and e is not exam]
            assert not any(exam.arrived < time < exam.begun for time in called if time)

    # The PACS: exactly the images of the scanners, each file with its entry
    for exam in day.exams:
        assert community.pacs.count(exam.study_uid) == exam.images
    assert sum(exam.images for exam in day.exams) == sum(row[2] for row in kept)
    assert len(community.pacs.consistency()) == 0


def test_the_same_seed_gives_the_same_day() -> None:
    assert course() == course()


def course() -> tuple[Any, ...]:
    """Return what happened in a day, without what threads and the machine's clock decide."""
    with Hospital(seed=7, site="community", clock=ManualClock(MONDAY)) as hospital:
        day = hospital.day(15, progress=False)
        told = Counter(
            (
                event.hospital_time,
                event.source,
                event.peer,
                event.kind,
                event.transaction,
                event.summary,
                tuple(
                    sorted(
                        (name, value)
                        for name, value in event.keys.items()
                        if name not in ("association", "message")
                    )
                ),
            )
            for event in hospital.journal.all()
            # An audit message goes when its sender finds time, while the day goes on.
            if event.kind not in ("association", "syslog") and event.source != "audit"
        )
        return day.events, day.table().rows, told


def test_time_goes_on_after_the_day(community: Hospital) -> None:
    first = community.day(3, progress=False)
    assert first.start == MONDAY
    assert first.end >= MONDAY + timedelta(days=1)
    assert community.clock.now() == first.end
    second = community.day(3, start=first.end + timedelta(hours=9), progress=False)
    assert second.start == first.end + timedelta(hours=9)
    assert [exam.accession for exam in second.exams] != [exam.accession for exam in first.exams]
    assert community.days == [first, second]
    times = [event.hospital_time for event in community.journal.events(kind="state")]
    assert times == sorted(times)
    with pytest.raises(ConfigurationError, match="cannot begin"):
        community.day(3, start=MONDAY)


def test_an_interrupted_day_leaves_a_usable_hospital(
    community: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, done = Modality.complete_step, []

    def interrupted(scanner: Modality, mpps_uid: str) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(mpps_uid)
        complete(scanner, mpps_uid)

    with monkeypatch.context() as patch:
        patch.setattr(Modality, "complete_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            community.day(20, progress=False)
    stopped = community.clock.now()
    assert MONDAY < stopped < MONDAY + timedelta(days=1)
    assert [scanner.quick_scans for scanner in community.modalities()] == [False] * 6
    assert community.days == []
    exam = community.exam("DXHANDL")
    assert exam.problem == ""
    times = [event.hospital_time for event in exam.transcript()]
    assert min(times) >= stopped.isoformat(timespec="milliseconds")
    day = community.day(3, progress=False)
    assert len(day.exams) == 3


def test_a_day_shows_what_a_fault_does_and_goes_on(community: Hospital) -> None:
    community.inject(UnknownAeTitle("DX1"))
    day = community.day(12, progress=False)
    shot = [exam for exam in examined(day) if exam.station == "DX1"]
    others = [exam for exam in examined(day) if exam.station != "DX1"]
    assert shot
    assert others
    for exam in shot:
        assert "1/1/3" in exam.problem
        assert exam.images == 0
    assert {exam.problem for exam in others} == {""}
    missing = {row[2] for row in day.unmatched() if row[0] == "no images"}
    assert missing == {exam.accession for exam in shot}
    community.heal()
    assert community.scanner("DX1").send().waiting == 0
    assert len(day.unmatched()) == 0


def test_a_report_that_does_not_go_out_is_signed_all_the_same(community: Hospital) -> None:
    community.pacs.remove_ae("RIS")
    day = community.day(4, progress=False)
    reported = [exam for exam in day.exams if exam.outcome == "reported"]
    assert reported
    assert all("At the report" in exam.problem for exam in reported)
    with pytest.raises(AssociationFailed):
        community.ris.documents.resend()
    community.pacs.register_ae("RIS", host="ris", port=104)
    assert community.ris.documents.resend() >= len(reported)


def test_what_makes_no_day_is_said(community: Hospital) -> None:
    for wrong in ({"exams": 0}, {"emergencies": 2.0}, {"images": "tiny"}):
        with pytest.raises(ConfigurationError):
            community.day(progress=False, **wrong)  # type: ignore[arg-type]
    assert community.clock.now() == MONDAY


@pytest.mark.parametrize("site", ["clinic", "university"])
def test_a_day_at_every_size(site: str) -> None:
    with Hospital(seed=7, site=site, clock=ManualClock(MONDAY)) as hospital:
        day = hospital.day(8, progress=False)
        assert [exam.problem for exam in day.exams if exam.problem] == []
        assert examined(day)
        assert len(day.unmatched()) == 0
