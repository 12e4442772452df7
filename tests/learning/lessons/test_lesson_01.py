from collections.abc import Iterator
from datetime import datetime, time, timedelta

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.learning.exercise import Exercise
from labsim.learning.lessons.lesson_01 import COLUMN, ROW, TASKS
from labsim.learning.outcome import Verdict


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        running.exam()
        yield running


def test_name_passes_only_when_all_three_systems_have_it(clinic: Hospital) -> None:
    exercise = Exercise(1, TASKS[0], clinic)
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

    clinic.his.update_patient("P000001", name="Novak^Ada")
    outcome = exercise.check()
    assert outcome.verdict is Verdict.INCORRECT
    assert outcome.desired == "Novák^Ada"
    assert "HIS Novak^Ada" in outcome.actual

    clinic.his.update_patient("P000001", name="Novák^Ada")
    assert clinic.settle()
    assert exercise.check().passed


def test_tomorrow_is_judged_by_what_the_worklist_answers(clinic: Hospital) -> None:
    exercise = Exercise(2, TASKS[1], clinic)
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

    order = clinic.his.place_order("P000001", "CTHEAD")
    assert "not been scheduled" in exercise.check().reason

    clinic.ris.schedule(order.placer_order)
    assert "0 entries" in exercise.check().reason

    tomorrow = (clinic.journal.now() + timedelta(days=1)).date()
    late = clinic.his.place_order("P000001", "CTHEAD")
    clinic.ris.schedule(late.placer_order, start=datetime.combine(tomorrow, time(9, 30)))
    assert "093000" in exercise.check().actual


def test_tomorrow_at_half_past_eight_passes() -> None:
    with Hospital(seed=7) as fresh:
        patient = fresh.his.register_patient()
        order = fresh.his.place_order(patient.patient_id, "CTHEAD")
        tomorrow = (fresh.journal.now() + timedelta(days=1)).date()
        fresh.ris.schedule(order.placer_order, start=datetime.combine(tomorrow, time(8, 30)))
        assert Exercise(2, TASKS[1], fresh).check().passed


def test_given_up_needs_the_ris_to_know(clinic: Hospital) -> None:
    exercise = Exercise(3, TASKS[2], clinic)
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED
    order = clinic.his.place_order("P000001")
    procedure = clinic.ris.schedule(order.placer_order)
    [entry] = clinic.ct.query_worklist(accession=procedure.accession)
    step = clinic.ct.start_step(entry)
    assert "still thinks" in exercise.check().reason
    clinic.ct.discontinue_step(step)
    assert exercise.check().passed


def test_given_up_with_images_in_the_archive_is_not_given_up() -> None:
    with Hospital(seed=7) as fresh:
        order = fresh.his.place_order(fresh.his.register_patient().patient_id)
        fresh.ris.schedule(order.placer_order)
        [entry] = fresh.ct.query_worklist()
        step = fresh.ct.start_step(entry)
        fresh.ct.acquire(step)
        fresh.ct.send()
        fresh.ct.discontinue_step(step)
        outcome = Exercise(3, TASKS[2], fresh).check()
        assert outcome.verdict is Verdict.INCORRECT
        assert "24 images" in outcome.actual


def test_hounsfield_tells_each_mistake_apart(clinic: Hospital) -> None:
    exercise = Exercise(4, TASKS[3], clinic)
    image = dcmread(clinic.pacs.paths(clinic.ris.procedures()[0].study_uid)[0])
    stored = int(image.pixel_array[ROW, COLUMN])
    exchanged = int(image.pixel_array[COLUMN, ROW]) - 1024
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED
    assert "as stored" in exercise.check(stored).reason
    assert "exchanged" in exercise.check(exchanged).reason
    assert "no number" in exercise.check("lung").reason
    assert exercise.check(12345).verdict is Verdict.INCORRECT
    assert exercise.check(stored - 1024).passed


def test_hounsfield_without_an_exam_cannot_be_checked(hospital: Hospital) -> None:
    assert Exercise(4, TASKS[3], hospital).check(1).verdict is Verdict.CANNOT_CHECK


def test_unknown_title_rejects_each_wrong_repair_for_its_own_reason() -> None:
    with Hospital(seed=7) as fresh:
        exercise = Exercise(7, TASKS[6], fresh)
        assert "Nothing is broken yet" in exercise.check().reason

        exam = exercise.begin()
        assert "1/1/3" in exam.problem  # type: ignore[attr-defined]
        assert fresh.ct.echo() == "0x0000 Success"
        assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

        fresh.pacs.register_ae("ct1", host="ct1", port=104)
        assert "letter for letter" in exercise.check().reason
        fresh.pacs.remove_ae("ct1")

        fresh.pacs.register_ae("ANYBODY", host="ct1", port=104)
        assert "let somebody in" in exercise.check().reason
        fresh.pacs.remove_ae("ANYBODY")

        fresh.pacs.register_ae("CT1", host="ct1", port=11112)
        assert "wrong address" in exercise.check().reason

        fresh.pacs.register_ae("CT1", host="ct1", port=104, may_store=False)
        assert "may not store" in exercise.check().reason

        fresh.pacs.register_ae("CT1", host="ct1", port=104)
        outcome = exercise.check()
        assert "still wait" in outcome.reason
        assert "24 images" in outcome.actual

        fresh.ct.send()
        assert exercise.check().passed
        assert fresh.pacs.count(exam.procedure.study_uid) == 24  # type: ignore[attr-defined]


def test_the_fault_is_not_told_by_the_journal_that_learners_see() -> None:
    with Hospital(seed=7) as fresh:
        Exercise(7, TASKS[6], fresh).begin()
        seen = " ".join(event.summary for event in fresh.journal.events())
        assert "fault" not in seen
        assert "AE title CT1 removed" not in seen
        assert "rejected 1/1/3" in seen


def test_addendum_keeps_what_was_signed_and_reaches_chart_and_archive(clinic: Hospital) -> None:
    exercise = Exercise(5, TASKS[4], clinic)
    accession = clinic.ris.procedures()[0].accession
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

    clinic.ris.addendum(accession, "Nothing else.")
    assert "does not name the finding" in exercise.check().reason

    clinic.ris.addendum(accession, "Small cyst of the liver.")
    assert exercise.check().passed


def test_append_is_two_completed_steps_with_all_their_images(
    hospital: Hospital, small_scans: None
) -> None:
    exercise = Exercise(6, TASKS[5], hospital)
    hospital.exam()
    [procedure] = hospital.ris.procedures()
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

    more = hospital.ct.append(procedure.accession)
    assert "not come to its end" in exercise.check().reason

    hospital.ct.acquire(more)
    hospital.ct.complete_step(more)
    assert "4 images wait" in exercise.check().actual

    hospital.ct.send()
    assert exercise.check().passed
