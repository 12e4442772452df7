from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.learning.exercise import Exercise
from labsim.learning.lessons.lesson_00 import TASKS
from labsim.learning.outcome import Verdict


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


def test_every_outcome_of_exercise_1_on_the_way_to_passed(clinic: Hospital) -> None:
    exercise = Exercise(1, TASKS[0], clinic)
    clinic.his.register_patient()
    assert exercise.check().verdict is Verdict.NOT_ATTEMPTED

    patient = clinic.his.register_patient("Rivera^Alex")
    assert "nothing is ordered" in exercise.check().reason

    clinic.his.place_order(patient.patient_id, "CTTHORAX")
    assert "Something else" in exercise.check().reason

    order = clinic.his.place_order(patient.patient_id, "CTHEAD")
    assert "not scheduled" in exercise.check().reason

    procedure = clinic.ris.schedule(order.placer_order)
    assert "no images" in exercise.check().reason

    [entry] = clinic.ct.query_worklist(accession=procedure.accession)
    step = clinic.ct.start_step(entry)
    clinic.ct.acquire(step)
    clinic.ct.send()
    clinic.ct.complete_step(step)
    outcome = exercise.check()
    assert outcome.verdict is Verdict.INCORRECT
    assert "no report" in outcome.reason

    clinic.ris.report(procedure.accession, "Normal.")
    assert exercise.check().passed
