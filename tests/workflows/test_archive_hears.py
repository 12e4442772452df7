"""What HIS and RIS tell of patients and orders reaches the archive by way of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labsim import Hospital
from labsim.systems.records import Procedure

Until = Callable[[Callable[[], Any]], Any]
WAIT = 20.0


def examined(department: Hospital, until: Until, patient_id: str, code: str) -> Procedure:
    """Take an examination as far as the PACS."""
    number = department.his.place_order(patient_id, code).placer_order
    until(lambda: number in [order.placer_order for order in department.ris.orders()])
    procedure = department.ris.schedule(number)
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    scanner.acquire(step)
    assert scanner.send(procedure.accession).waiting == 0
    scanner.complete_step(step)
    return procedure


def test_a_merge_is_followed_in_the_archive_too(department: Hospital, until: Until) -> None:
    his, archive = department.his, department.archive
    keep = his.register_patient("Vega^Ines", "1970-01-31", "F")
    prior = his.register_patient("Vega^Inez", "1970-01-31", "F")
    other = his.register_patient("Weber^Liam")
    first = examined(department, until, keep.patient_id, "DXCHEST")
    second = examined(department, until, prior.patient_id, "DXHANDL")
    apart = examined(department, until, other.patient_id, "DXCHEST")
    assert archive.migrate().wait(WAIT)
    assert archive.patient(prior.patient_id) is not None

    his.merge_patients(keep.patient_id, prior.patient_id)
    assert department.settle(WAIT)

    # HIS, RIS and PACS have one record.
    assert [p.patient_id for p in his.patients()] == [keep.patient_id, other.patient_id]
    assert {p.patient_id for p in department.ris.procedures()} == {
        keep.patient_id,
        other.patient_id,
    }
    assert department.pacs.patient(prior.patient_id) is None
    # The archive has it, too: in its index, in answers, and in the images that it sends.
    assert archive.patient(prior.patient_id) is None
    tools = department.tools
    found = tools.findscu(PatientID=keep.patient_id, PatientName="", system="archive")
    assert {str(f.StudyInstanceUID) for f in found} == {first.study_uid, second.study_uid}
    assert {str(f.PatientName) for f in found} == {"Vega^Ines"}
    archive.configure_hierarchy(strict=False)  # the desk asks for the images of a study at once
    images = tools.getscu(second.study_uid, system="archive")
    assert {(i.PatientID, str(i.PatientName)) for i in images} == {(keep.patient_id, "Vega^Ines")}
    # Nobody else was touched.
    assert {i.PatientID for i in tools.getscu(apart.study_uid, system="archive")} == {
        other.patient_id
    }
    # The engine: nothing waits, and one message went two ways under one name.
    assert department.engine.errors().rows == []
    merges = {
        event.source: event.keys["control_id"]
        for event in department.journal.events(kind="hl7")
        if event.detail.get("type") == "ADT^A40"
        and event.detail["direction"] == "received"
        and event.source in ("pacs", "archive")
    }
    assert set(merges) == {"pacs", "archive"}
    assert merges["pacs"] == merges["archive"]


def test_an_update_and_an_order_reach_the_archive(department: Hospital, until: Until) -> None:
    his, archive = department.his, department.archive
    patient = his.register_patient("Vega^Ines", "1970-01-31", "F")
    procedure = examined(department, until, patient.patient_id, "DXCHEST")
    assert archive.migrate().wait(WAIT)
    expected = "SELECT accession FROM expected_studies"
    assert archive.sql(expected).rows == department.pacs.sql(expected).rows
    his.update_patient(patient.patient_id, name="Vega^Ines Maria")
    assert department.settle(WAIT)
    for system in (department.pacs, archive):
        known = system.patient(patient.patient_id)
        assert known is not None
        assert known.name == "Vega^Ines Maria"
    archive.configure_hierarchy(strict=False)
    images = department.tools.getscu(procedure.study_uid, system="archive")
    assert {str(image.PatientName) for image in images} == {"Vega^Ines Maria"}


def test_a_silent_archive_holds_up_nobody_and_catches_up(
    department: Hospital, until: Until
) -> None:
    his, archive = department.his, department.archive
    patient = his.register_patient("Vega^Ines")
    examined(department, until, patient.patient_id, "DXCHEST")
    assert archive.migrate().wait(WAIT)
    archive.stop_service("mllp")
    his.update_patient(patient.patient_id, name="Vega^Inez")
    until(lambda: department.pacs.patient(patient.patient_id).name == "Vega^Inez")
    before = archive.patient(patient.patient_id)
    assert before is not None
    assert before.name == "Vega^Ines"
    archive.start_service("mllp")
    channel = department.engine.channel("ris-to-pacs")
    channel.stop()
    channel.start()  # at once, not when the next attempt is due
    assert department.settle(WAIT)
    after = archive.patient(patient.patient_id)
    assert after is not None
    assert after.name == "Vega^Inez"
