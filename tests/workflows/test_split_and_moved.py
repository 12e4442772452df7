"""The next patient was scanned under the entry of the one before, and the day is put right."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from labsim import Hospital
from labsim.systems.records import Procedure


@pytest.fixture
def expected(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> Callable[[str], Procedure]:
    """Schedule a CT for somebody, and wait until the archive expects it."""

    def schedule(name: str) -> Procedure:
        patient = department.his.register_patient(name)
        procedure = scheduled("CTTHORAX", patient.patient_id)
        seen("pacs", "study announced", accession=procedure.accession)
        return procedure

    return schedule


def scan(department: Hospital, procedure: Procedure, times: int = 1) -> None:
    """Scan under the entry of an examination, and send."""
    scanner = department.scanner(procedure.station)
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    for _ in range(times):
        scanner.acquire(step)
    assert scanner.send(procedure.accession).waiting == 0
    scanner.complete_step(step)


def held_by(department: Hospital, study_uid: str) -> set[tuple[str, str, str]]:
    """Return patient, name and accession number in the images of a study, as they are sent."""
    return {
        (str(i.PatientID), str(i.PatientName), str(i.AccessionNumber))
        for i in department.tools.getscu(study_uid)
    }


def test_images_of_the_next_patient_are_split_off(
    department: Hospital,
    station: Callable[..., AbstractContextManager[Any]],
    expected: Callable[[str], Procedure],
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    pacs = department.pacs
    vega = expected("Vega^Ines")
    moeller = expected("Möller^Åke")
    with station(department, "READER") as reader:
        pacs.routes.add("all", "READER")
        scan(department, vega, times=2)  # the second time it was Möller who lay there
        pacs.retry()
        series = department.tools.findscu(
            level="SERIES", StudyInstanceUID=vega.study_uid, SeriesNumber="2", SeriesInstanceUID=""
        )
        wrong = [str(found.SeriesInstanceUID) for found in series]
        plan = pacs.split_study(
            vega.study_uid, series=wrong, accession=moeller.accession, reason="tried", dry_run=True
        )
        assert ("copies sent before", "READER", "stay as they are") in plan.changes
        assert pacs.count(moeller.study_uid) == 0
        pacs.split_study(
            vega.study_uid, series=wrong, accession=moeller.accession, reason="scanned under Vega"
        )
        pacs.retry()
        received = list(reader.images)

    # The archive, as anybody sees it
    assert held_by(department, vega.study_uid) == {(vega.patient_id, "Vega^Ines", vega.accession)}
    right = (moeller.patient_id, "Möller^Åke", moeller.accession)
    assert held_by(department, moeller.study_uid) == {right}
    assert len(department.tools.getscu(vega.study_uid)) == 4
    assert len(department.tools.getscu(moeller.study_uid)) == 4
    # The workstation has got the note about the wrong ones, and the right ones.
    assert {i.Modality for i in received} == {"CT", "KO"}
    [note] = [i for i in received if i.Modality == "KO"]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    new = [i for i in received if i.StudyInstanceUID == moeller.study_uid]
    assert {(i.PatientID, str(i.PatientName), i.AccessionNumber) for i in new} == {right}
    assert len(new) == 4
    # Every other system at the end
    assert [p.status for p in department.ris.procedures()] == ["COMPLETED", "SCHEDULED"]
    until(lambda: [o.status for o in department.his.orders()] == ["COMPLETED", "SCHEDULED"])
    assert department.ct.waiting() == 0
    assert len(pacs.qc.table()) == 0
    assert len(pacs.consistency()) == 0
    [row] = pacs.corrections()
    assert (row[1], row[3], row[6], row[8]) == ("split", 4, "scanned under Vega", "done")


def test_a_study_of_the_wrong_patient_is_caught_moved_and_released(
    department: Hospital,
    station: Callable[..., AbstractContextManager[Any]],
    expected: Callable[[str], Procedure],
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    pacs, scanner = department.pacs, department.ct
    pacs.qc.set_rule("patient differs", hold=True)
    vega = expected("Vega^Ines")
    moeller = expected("Möller^Åke")
    [entry] = scanner.query_worklist(accession=moeller.accession)
    entry.PatientID, entry.PatientName = vega.patient_id, "Vega^Ines"  # typed over at the console
    with station(department, "READER") as reader:
        pacs.routes.add("all", "READER")
        step = scanner.start_step(entry)
        scanner.acquire(step)
        assert scanner.send(moeller.accession).waiting == 0
        scanner.complete_step(step)
        pacs.retry()
        assert reader.images == []
        assert department.tools.findscu(StudyInstanceUID=moeller.study_uid) == []
        assert pacs.qc.reasons(moeller.study_uid) == [
            f"ordered for patient {moeller.patient_id}^^^HILLSIDE, "
            f"came for {vega.patient_id}^^^HILLSIDE"
        ]
        pacs.move_study(moeller.study_uid, moeller.patient_id, reason="wrong name typed in")
        pacs.retry()
        received = list(reader.images)

    right = {(moeller.patient_id, "Möller^Åke", moeller.accession)}
    assert len(received) == 4
    assert {(i.PatientID, str(i.PatientName), i.AccessionNumber) for i in received} == right
    assert held_by(department, moeller.study_uid) == right
    assert department.tools.findscu(PatientID=vega.patient_id) == []
    assert len(pacs.qc.table()) == 0
    assert [row[1] for row in pacs.corrections()] == ["move"]
    assert len(pacs.rejected()) == 0
    assert len(pacs.consistency()) == 0
    assert scanner.waiting() == 0
    assert [p.status for p in department.ris.procedures()] == ["SCHEDULED", "COMPLETED"]
    until(lambda: [o.status for o in department.his.orders()] == ["SCHEDULED", "COMPLETED"])
