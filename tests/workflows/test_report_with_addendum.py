"""A resident reads, an attending signs, another adds: what each system holds at the end."""

from __future__ import annotations

from pydicom import dcmread

from labsim import Hospital
from labsim.systems.ris.report_text import ReportText


def test_a_report_with_an_addendum_reaches_chart_ris_and_archive(department: Hospital) -> None:
    patient = department.his.register_patient("Silva^Ines")
    order = department.his.place_order(patient.patient_id, "CTTHORAX", "Cough")
    procedure = department.ris.schedule(order.placer_order)
    accession = procedure.accession
    scanner = department.scanner(procedure.station)
    step = scanner.start_step(scanner.query_worklist(accession=accession)[0])
    scanner.acquire(step)
    scanner.send(accession)
    scanner.complete_step(step)

    [waiting] = department.ris.reading_list()
    department.ris.take(waiting.accession, "Bianchi^Elena")
    draft = ReportText(history="Cough", findings="Shadow in the left lung.", impression="Tumour?")
    department.ris.report(accession, draft, interpreter="Bianchi^Elena", status="P")
    department.ris.take(accession, "Okafor^Ngozi")
    final = ReportText(history="Cough", findings="Nodule, 8 mm.", impression="Follow up.")
    department.ris.report(accession, final)
    department.ris.addendum(accession, "Unchanged since 2019.", interpreter="Quist^Noah")

    # The RIS: reported, nothing to read, three documents with the archive
    assert department.ris.procedure(accession).status == "REPORTED"
    assert department.ris.reading_list() == []
    kept = [(row[1], row[2], row[4]) for row in department.ris.documents.table()]
    assert kept == [
        ("P", "Bianchi^Elena", "stored"),
        ("F", "Okafor^Ngozi", "stored"),
        ("C", "Quist^Noah", "stored"),
    ]
    # The chart: one result, corrected, with the signed text and the addendum
    [result] = department.his.chart(patient.patient_id)
    assert (result.status, result.interpreter) == ("C", "Quist^Noah")
    assert result.text.startswith(final.text)
    assert result.text.endswith("Unchanged since 2019.")
    assert department.his.orders()[0].status == "RESULTED"
    # The archive: the images and the reports, in one study of one patient
    files = [dcmread(path) for path in department.pacs.paths(procedure.study_uid)]
    reports = [file for file in files if file.Modality == "SR"]
    assert [report.VerificationFlag for report in reports] == ["UNVERIFIED", "VERIFIED", "VERIFIED"]
    assert {file.PatientID for file in files} == {patient.patient_id}
    images = {file.SOPInstanceUID for file in files} - {file.SOPInstanceUID for file in reports}
    evidence = reports[-1].CurrentRequestedProcedureEvidenceSequence
    named = {
        item.ReferencedSOPInstanceUID
        for study in evidence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert named == images
    assert len(department.pacs.consistency()) == 0
    # The scanner: nothing waits
    assert scanner.waiting() == 0
