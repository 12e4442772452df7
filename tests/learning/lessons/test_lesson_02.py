"""Exercises of the department day: each outcome, each wrong way for its own reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.learning.exercise import Exercise
from labsim.learning.lessons.lesson_02 import TASKS
from labsim.learning.outcome import Verdict


@pytest.fixture
def community(small_scans: None) -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


@pytest.fixture(scope="module")
def after_a_day() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        running.day(exams=25, progress=False)
        yield running


def exercise(number: int, hospital: Hospital) -> Exercise:
    return Exercise(number, TASKS[number - 1], hospital)


def test_where_people_wait_is_told_by_the_longest_queue(after_a_day: Hospital) -> None:
    question = exercise(1, after_a_day)
    longest = {
        row[0]: row[4] for row in after_a_day.days[-1].utilisation() if isinstance(row[4], int)
    }
    most = max(longest, key=longest.__getitem__)
    least = min(longest, key=longest.__getitem__)
    assert question.check().verdict is Verdict.NOT_ATTEMPTED
    assert "no scanner of this hospital" in question.check("CT9").reason
    assert longest[least] < longest[most]
    assert question.check(least).verdict is Verdict.INCORRECT
    assert question.check(most).passed


def test_the_slowest_report_is_told_by_its_accession_number(after_a_day: Hospital) -> None:
    question = exercise(2, after_a_day)
    reported = [e for e in after_a_day.days[-1].exams if e.turnaround is not None]
    reported.sort(key=lambda e: e.turnaround.total_seconds() if e.turnaround else 0)
    assert question.check().verdict is Verdict.NOT_ATTEMPTED
    assert "accession number" in question.check("A9999999").reason
    assert "Another report" in question.check(reported[0].accession).reason
    assert question.check(reported[-1].accession).passed


def test_without_a_day_nothing_can_be_said(community: Hospital) -> None:
    assert exercise(1, community).check("CT1").verdict is Verdict.CANNOT_CHECK


def test_the_emergency_is_solved_for_the_right_patient_only(community: Hospital) -> None:
    task = exercise(3, community)
    assert "Nothing has happened yet" in task.check().reason
    other = community.his.register_patient()
    [[step, *_]] = task.begin()  # type: ignore[misc, attr-defined]
    assert task.check().verdict is Verdict.NOT_ATTEMPTED

    right = community.his.patients()[-1]
    community.ris.schedule(community.his.place_order(right.patient_id, "CTHEAD").placer_order)
    assert "belongs to none" in task.check().reason

    community.ris.match(step, other.patient_id)
    outcome = task.check()
    assert outcome.verdict is Verdict.INCORRECT
    assert "Okoye" in outcome.desired


def test_the_emergency_has_one_number_everywhere(community: Hospital) -> None:
    task = exercise(3, community)
    [[step, *_]] = task.begin()  # type: ignore[misc, attr-defined]
    assert len(task.begin()) == 1  # type: ignore[arg-type]  # again: nothing new happens
    right = community.his.patients()[-1]
    procedure = community.ris.match(step, right.patient_id)
    assert task.check().passed

    report = exercise(5, community)
    assert "no report yet" in report.check().reason
    community.ris.report(procedure.accession, "Findings: Nothing.", status="P")
    assert "preliminary" in report.check().reason
    community.ris.report(procedure.accession, "Findings: No haemorrhage.")
    assert report.check().passed


def test_the_report_waits_for_the_emergency(community: Hospital) -> None:
    assert "exercise 3 first" in exercise(5, community).check().reason


def test_a_silent_queue_is_started_and_the_order_arrives_once(community: Hospital) -> None:
    task = exercise(4, community)
    assert "Nothing is broken yet" in task.check().reason
    task.begin()
    assert task.check().verdict is Verdict.NOT_ATTEMPTED
    assert community.ris.orders() == []

    community.engine.channel("his-to-ris").destination("ris").start()
    assert task.check().passed


def test_an_order_placed_again_is_no_repair(community: Hospital) -> None:
    task = exercise(4, community)
    task.begin()
    patient = community.his.patients()[-1]
    community.his.place_order(patient.patient_id, "DXCHEST")
    community.engine.channel("his-to-ris").destination("ris").start()
    outcome = task.check()
    assert outcome.verdict is Verdict.INCORRECT
    assert "examined twice" in outcome.reason
