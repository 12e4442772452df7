"""A patient's name was wrong: corrected before the exam, between scan and sending, and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labsim import Hospital
from labsim.systems.records import Procedure

Until = Callable[[Callable[[], Any]], Any]


def ordered(department: Hospital, until: Until, patient_id: str, code: str) -> Procedure:
    """Order and schedule an examination."""
    number = department.his.place_order(patient_id, code).placer_order
    until(lambda: number in [order.placer_order for order in department.ris.orders()])
    return department.ris.schedule(number)


def scanned(department: Hospital, procedure: Procedure) -> str:
    """Take the images of an examination, without sending them."""
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    scanner.acquire(step)
    return step


def require_everywhere(
    department: Hospital, until: Until, procedure: Procedure, name: str, birth_date: str
) -> None:
    """Require one name for a patient in every system, and in the images that it sends."""
    patient_id = procedure.patient_id
    assert department.his.patient(patient_id).name == name
    assert department.ris.patient(patient_id).name == name
    kept = until(lambda: department.pacs.patient(patient_id))
    assert (kept.name, kept.birth_date) == (name, birth_date)
    images = department.tools.getscu(procedure.study_uid)
    assert len(images) == len(department.pacs.paths(procedure.study_uid)) > 0
    assert {(str(i.PatientName), i.PatientBirthDate, i.PatientID) for i in images} == {
        (name, birth_date, patient_id)
    }
    [study] = department.tools.findscu(PatientID=patient_id, PatientName="")
    assert study.PatientName == name


def test_a_correction_before_the_exam_reaches_worklist_scanner_and_archive(
    department: Hospital, until: Until
) -> None:
    patient = department.his.register_patient("Sliva^Ines", "1980-02-28", "F")
    procedure = ordered(department, until, patient.patient_id, "CTHEAD")
    department.his.update_patient(
        patient.patient_id, name="Silva^Łucja", birth_date="1980-02-29", sex="F"
    )
    until(lambda: department.ris.patient(patient.patient_id).name == "Silva^Łucja")
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    assert (str(entry.PatientName), entry.PatientBirthDate) == ("Silva^Łucja", "19800229")
    step = scanned(department, procedure)
    assert scanner.send().waiting == 0
    scanner.complete_step(step)
    require_everywhere(department, until, procedure, "Silva^Łucja", "19800229")


def test_a_correction_after_the_exam_reaches_archive_images_and_chart(
    department: Hospital, until: Until
) -> None:
    patient = department.his.register_patient("Sliva^Ines", "1980-02-28", "F")
    procedure = ordered(department, until, patient.patient_id, "DXCHEST")
    step = scanned(department, procedure)
    scanner = department.scanner(procedure.station)
    scanner.send()
    scanner.complete_step(step)
    department.ris.report(procedure.accession, "Normal.")
    department.his.update_patient(patient.patient_id, name="Silva^Łucja")
    until(lambda: department.ris.patient(patient.patient_id).name == "Silva^Łucja")
    until(lambda: getattr(department.pacs.patient(patient.patient_id), "name", "") == "Silva^Łucja")
    require_everywhere(department, until, procedure, "Silva^Łucja", "19800228")
    assert department.tools.findscu(PatientName="SLIVA*") == []
    [result] = until(lambda: department.his.chart(patient.patient_id))
    assert (result.accession, result.text) == (procedure.accession, "Normal.")
    # The scanner keeps what it took; the archive corrects what it sends.
    assert department.ris.procedure(procedure.accession).status == "REPORTED"


def test_a_correction_of_somebody_who_has_gone_home_is_about_no_visit(
    department: Hospital, until: Until
) -> None:
    patient = department.his.register_patient("Sliva^Ines", "1980-02-28", "F")
    procedure = ordered(department, until, patient.patient_id, "CRCHEST")
    scanned(department, procedure)
    department.scanner(procedure.station).send()
    department.his.discharge(patient.patient_id)
    department.his.update_person(patient.patient_id, name="Silva^Ines")
    until(lambda: getattr(department.pacs.patient(patient.patient_id), "name", "") == "Silva^Ines")
    require_everywhere(department, until, procedure, "Silva^Ines", "19800228")
    [visit] = department.ris.registry.visits(department.ris.patient(patient.patient_id))
    assert visit.status == "DISCHARGED"
    heard = department.journal.events(source="pacs", kind="hl7", transaction="RAD-12")
    kinds = [department.message(event).type for event in heard]  # type: ignore[union-attr]
    assert [kind for kind in kinds if kind.startswith("ADT")] == ["ADT^A03", "ADT^A31"]
    assert department.message(heard[-2])["PV1-2"] == "N"
