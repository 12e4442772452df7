"""Somebody whom nobody knows is scanned at once, and turns out to be a person with a name.

Both ways of IHE RAD TF-1, Patient Information Reconciliation: the temporary
record gets the true data, or is merged into the record that was there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Patient, Procedure

Until = Callable[[Callable[[], Any]], Any]


def emergency(department: Hospital, until: Until, patient: Patient) -> Procedure:
    """Scan somebody at once, and send the images."""
    order = department.his.place_order(patient.patient_id, "CTHEAD", "Found on road", priority="S")
    until(lambda: order.placer_order in [o.placer_order for o in department.ris.orders()])
    procedure = department.ris.schedule(order.placer_order)
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    assert (str(entry.PatientName), entry.PatientBirthDate) == (patient.name, "")
    asked = {"RequestedProcedurePriority": "", "CurrentPatientLocation": ""}
    [full] = department.tools.findscu("ris", AccessionNumber=procedure.accession, **asked)
    assert (full.RequestedProcedurePriority, full.CurrentPatientLocation) == ("STAT", "ED")
    step = scanner.start_step(entry)
    scanner.acquire(step)
    assert scanner.send().waiting == 0
    scanner.complete_step(step)
    return procedure


def test_the_temporary_record_gets_the_true_name(department: Hospital, until: Until) -> None:
    his, ris, pacs = department.his, department.ris, department.pacs
    unknown = his.register_unidentified("M", "Found on road")
    another = his.register_unidentified("M")
    assert (unknown.name, unknown.birth_date) == ("Doe^Unknown M1", "")
    assert another.name == "Doe^Unknown M2"
    until(lambda: ris.patient(unknown.patient_id))
    procedure = emergency(department, until, unknown)
    [study] = department.tools.findscu(PatientName="DOE*", PatientID="")
    assert study.PatientID == unknown.patient_id

    his.identify(unknown.patient_id, name="García^Mateo", birth_date="1961-07-04")
    until(lambda: getattr(pacs.patient(unknown.patient_id), "name", "") == "García^Mateo")

    assert [p.patient_id for p in his.unidentified()] == [another.patient_id]
    for known in (his, ris):
        patient = known.patient(unknown.patient_id)
        assert (patient.name, patient.birth_date, patient.sex) == ("García^Mateo", "19610704", "M")
    images = department.tools.getscu(procedure.study_uid)
    assert {(str(i.PatientName), i.PatientBirthDate) for i in images} == {
        ("García^Mateo", "19610704")
    }
    assert department.tools.findscu(PatientName="DOE*") == []
    ris.report(procedure.accession, "No fracture.")
    [result] = until(lambda: his.chart(unknown.patient_id))
    assert result.accession == procedure.accession


def test_the_temporary_record_is_merged_into_the_one_that_was_there(
    department: Hospital, until: Until
) -> None:
    his, ris, pacs = department.his, department.ris, department.pacs
    known = his.register_patient("García^Mateo", "1961-07-04", "M")
    unknown = his.register_unidentified("M")
    until(lambda: ris.patient(unknown.patient_id))
    procedure = emergency(department, until, unknown)
    ris.report(procedure.accession, "No fracture.")
    until(lambda: his.chart(unknown.patient_id))

    assert his.identify(unknown.patient_id, known.patient_id).name == "García^Mateo"
    until(lambda: pacs.patient(unknown.patient_id) is None)

    assert his.unidentified() == []
    assert [p.patient_id for p in his.patients()] == [known.patient_id]
    [result] = his.chart(known.patient_id)
    assert result.study_uid == procedure.study_uid
    with pytest.raises(NotFound):
        ris.patient(unknown.patient_id)
    assert ris.procedure(procedure.accession).patient_id == known.patient_id
    images = department.tools.getscu(procedure.study_uid)
    assert {(i.PatientID, str(i.PatientName), i.PatientBirthDate) for i in images} == {
        (known.patient_id, "García^Mateo", "19610704")
    }


def test_who_is_known_is_not_identified_again(department: Hospital) -> None:
    known = department.his.register_patient("García^Mateo")
    unknown = department.his.register_unidentified("F")
    with pytest.raises(ConfigurationError, match="who is known"):
        department.his.identify(known.patient_id, name="Somebody^Else")
    with pytest.raises(ConfigurationError, match="Say who it is"):
        department.his.identify(unknown.patient_id)
    assert department.his.patient(known.patient_id) == known
    assert [p.patient_id for p in department.his.unidentified()] == [unknown.patient_id]
