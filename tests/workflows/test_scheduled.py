"""The simple case: one order, one scheduled step, one performed step, one study."""

from __future__ import annotations

from collections.abc import Callable

from pydicom import dcmread

from labsim import Hospital
from labsim.systems.records import Procedure


def test_an_examination_as_ordered_leaves_every_system_agreed(
    department: Hospital, scheduled: Callable[..., Procedure], seen: Callable[..., None]
) -> None:
    procedure, ct = scheduled("CTTHORAX"), department.ct
    [entry] = ct.worklist()
    step = ct.start_step(entry)
    seen("ris", "examination IN PROGRESS", accession=procedure.accession)
    assert [row[0] for row in ct.worklist().table()] == []
    paths = ct.acquire(step)
    ct.update_step(step)
    assert [row[6] for row in department.ris.performed_steps()] == [4]
    assert str(ct.send()) == "4 images sent, none waiting."
    ct.complete_step(step)
    department.ris.report(procedure.accession, "Normal.")
    seen("his", "filed in the chart", placer_order=procedure.placer_order)

    [order] = department.his.orders()
    assert (order.status, order.code) == ("RESULTED", "CTTHORAX")
    [result] = department.his.chart(procedure.patient_id)
    assert (result.accession, result.study_uid) == (procedure.accession, procedure.study_uid)
    done = department.ris.procedure(procedure.accession)
    assert (done.status, done.performed_code, done.flag) == ("REPORTED", "", "")
    assert len(department.ris.unmatched()) == len(department.ris.discrepancies()) == 0
    assert [row[1:4] for row in ct.table()] == [["COMPLETED", 4, 4]]
    [study] = department.pacs.table()
    assert (study[0], study[3], study[6]) == (procedure.patient_id, procedure.accession, 4)
    image = dcmread(paths[0])
    [performed] = image.ReferencedPerformedProcedureStepSequence
    assert performed.ReferencedSOPInstanceUID == step
    told = department.ris.db.value("SELECT dose FROM performed_steps")
    assert told.startswith("TotalDLP=")


def test_each_kind_of_scanner_works_through_the_simple_case(
    department: Hospital, scheduled: Callable[..., Procedure]
) -> None:
    for code in ("MRKNEEL", "DXHANDR", "CRBED", "MGSCREEN", "USABDOMEN"):
        procedure = scheduled(code)
        scanner = department.scanner(procedure.station)
        step = scanner.start_step(scanner.worklist())
        scanner.acquire(step)
        assert scanner.send().waiting == 0
        scanner.complete_step(step)
        assert department.ris.procedure(procedure.accession).status == "COMPLETED"
        assert department.pacs.count(procedure.study_uid) > 0
    doses = department.ris.db.rows(
        "SELECT modality FROM performed_steps WHERE modality IN ('DX', 'MG') AND images > 0"
    )
    assert len(doses) == 2
