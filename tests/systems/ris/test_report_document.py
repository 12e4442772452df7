"""Signed reports as documents of the archive: valid, complete, about the right images."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import AssociationFailed, DimseFailed, NotFound
from labsim.sop_classes import BASIC_TEXT_SR
from labsim.systems.records import Procedure
from labsim.systems.ris.report_text import ReportText

pytestmark = pytest.mark.usefixtures("small_scans")
FULL_TEXT = ReportText(
    history="Cough for three weeks.",
    technique="Low dose, no contrast.",
    findings="Lungs clear.\nNo effusion.",
    impression="No acute finding.",
)


@pytest.fixture
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


@pytest.fixture
def completed(clinic: Hospital) -> Procedure:
    order = clinic.his.place_order(clinic.his.register_patient("Ōe^Kenzaburō").patient_id)
    procedure = clinic.ris.schedule(order.placer_order)
    [entry] = clinic.ct.query_worklist()
    step = clinic.ct.start_step(entry)
    clinic.ct.acquire(step)
    clinic.ct.complete_step(step)
    clinic.ct.send()
    return procedure


def paths(clinic: Hospital, procedure: Procedure) -> list[Path]:
    return [
        path
        for path in clinic.pacs.paths(procedure.study_uid)
        if dcmread(path, stop_before_pixels=True).SOPClassUID == BASIC_TEXT_SR
    ]


def documents(clinic: Hospital, procedure: Procedure) -> list[Dataset]:
    return [dcmread(path) for path in paths(clinic, procedure)]


def images(clinic: Hospital, procedure: Procedure) -> list[Dataset]:
    found = [dcmread(path) for path in clinic.pacs.paths(procedure.study_uid)]
    return [dataset for dataset in found if dataset.Modality == "CT"]


def sections(document: Dataset) -> dict[str, list[str]]:
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: [
            text.TextValue for text in item.ContentSequence if text.RelationshipType == "CONTAINS"
        ]
        for item in document.ContentSequence
        if item.ValueType == "CONTAINER"
    }


def problems(program: Path, path: Path) -> list[str]:
    output = subprocess.run(
        [program, "-new", path], capture_output=True, text=True, timeout=60, check=False
    ).stderr
    assert "BasicTextSR" in output
    return [line for line in output.splitlines() if line.startswith("Error")]


def test_a_report_a_final_one_and_an_addendum_are_valid(
    clinic: Hospital, completed: Procedure, peer: Callable[[str], Path]
) -> None:
    key = str(images(clinic, completed)[0].SOPInstanceUID)
    clinic.ris.report(
        completed.accession, FULL_TEXT, interpreter="Bianchi^Elena", status="P", key_images=[key]
    )
    clinic.ris.report(completed.accession, FULL_TEXT, key_images=[key])
    clinic.ris.addendum(completed.accession, "Compared with 2019: unchanged.")
    found = paths(clinic, completed)
    assert len(found) == 3
    for path in found:
        assert problems(peer("dciodvfy"), path) == []


def test_a_report_and_its_images_agree_on_their_study(
    clinic: Hospital, completed: Procedure, peer: Callable[[str], Path]
) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT)
    [document] = documents(clinic, completed)
    image = images(clinic, completed)[0]
    for keyword in (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "ReferringPhysicianName",
    ):
        assert document[keyword].value == image[keyword].value, keyword
    output = subprocess.run(
        [peer("dcentvfy"), *clinic.pacs.paths(completed.study_uid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Error" not in output.stdout + output.stderr


def test_the_sections_are_containers_with_the_words_of_the_reader(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT)
    [document] = documents(clinic, completed)
    assert sections(document) == {
        "History": ["Cough for three weeks."],
        "Current Procedure Descriptions": ["Low dose, no contrast."],
        "Findings": ["Lungs clear.\r\nNo effusion."],
        "Impressions": ["No acute finding."],
    }
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    reported = document.ContentSequence[0]
    assert reported.ConceptNameCodeSequence[0].CodeValue == "121058"
    assert reported.ConceptCodeSequence[0].CodeValue == completed.code


def test_plain_text_is_a_finding(clinic: Hospital, completed: Procedure) -> None:
    clinic.ris.report(completed.accession, "Nothing to see.")
    [document] = documents(clinic, completed)
    assert sections(document) == {"Findings": ["Nothing to see."]}


def test_the_evidence_is_every_image_that_the_scanner_made(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT)
    [document] = documents(clinic, completed)
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    made = images(clinic, completed)
    assert study.StudyInstanceUID == completed.study_uid
    assert series.SeriesInstanceUID == made[0].SeriesInstanceUID
    named = [
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
        for item in series.ReferencedSOPSequence
    ]
    assert named == [(image.SOPClassUID, image.SOPInstanceUID) for image in made]


def test_a_key_image_stands_below_the_finding(clinic: Hospital, completed: Procedure) -> None:
    key = str(images(clinic, completed)[1].SOPInstanceUID)
    clinic.ris.report(completed.accession, FULL_TEXT, key_images=[key])
    [document] = documents(clinic, completed)
    [finding] = [
        item.ContentSequence[0]
        for item in document.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Findings"
    ]
    [image] = finding.ContentSequence
    assert (image.RelationshipType, image.ValueType) == ("INFERRED FROM", "IMAGE")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == key


def test_a_key_image_of_another_examination_is_refused(
    clinic: Hospital, completed: Procedure
) -> None:
    with pytest.raises(NotFound, match=r"has no image 1\.2\.3"):
        clinic.ris.report(completed.accession, FULL_TEXT, key_images=["1.2.3"])
    assert clinic.ris.procedure(completed.accession).status == "COMPLETED"


def test_only_the_final_report_is_verified(clinic: Hospital, completed: Procedure) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT, interpreter="Bianchi^Elena", status="P")
    clinic.ris.report(completed.accession, FULL_TEXT)
    preliminary, final = documents(clinic, completed)
    assert (preliminary.PreliminaryFlag, preliminary.VerificationFlag) == (
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert "VerifyingObserverSequence" not in preliminary
    assert preliminary.AuthorObserverSequence[0].PersonName == "Bianchi^Elena"
    assert (final.PreliminaryFlag, final.CompletionFlag) == ("FINAL", "COMPLETE")
    [verifier] = final.VerifyingObserverSequence
    assert verifier.VerifyingObserverName == "Okafor^Ngozi"


def test_each_document_names_the_one_before(clinic: Hospital, completed: Procedure) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT, status="P")
    clinic.ris.report(completed.accession, FULL_TEXT)
    clinic.ris.addendum(completed.accession, "Unchanged.", interpreter="Quist^Noah")
    found = documents(clinic, completed)
    assert len({document.SOPInstanceUID for document in found}) == 3
    assert [document.InstanceNumber for document in found] == [1, 2, 3]
    assert "PredecessorDocumentsSequence" not in found[0]
    for document, predecessor in zip(found[1:], found, strict=False):
        [study] = document.PredecessorDocumentsSequence
        [series] = study.ReferencedSeriesSequence
        [named] = series.ReferencedSOPSequence
        assert named.ReferencedSOPInstanceUID == predecessor.SOPInstanceUID
    texts = sections(found[2])
    assert texts.pop("Addendum") == ["Unchanged."]
    assert texts == sections(found[1])


def test_what_the_archive_does_not_take_waits_and_is_sent_later(
    clinic: Hospital, completed: Procedure
) -> None:
    removed = clinic.pacs.remove_ae("RIS")
    with pytest.raises(AssociationFailed, match=r"signed.*not recognized"):
        clinic.ris.report(completed.accession, FULL_TEXT)
    [result] = clinic.his.chart(completed.patient_id)  # the clinician has it all the same
    assert result.text == FULL_TEXT.text
    assert [row[4] for row in clinic.ris.documents.table()] == ["waiting"]
    assert documents(clinic, completed) == []
    with pytest.raises(AssociationFailed):
        clinic.ris.documents.resend()
    clinic.pacs.register_ae(removed.ae_title, host=removed.host, port=removed.port)
    assert clinic.ris.documents.resend() == 1
    assert [row[4] for row in clinic.ris.documents.table()] == ["stored"]
    assert len(documents(clinic, completed)) == 1
    assert clinic.ris.documents.resend() == 0


def test_a_refused_document_waits_and_holds_no_other_back(
    clinic: Hospital, completed: Procedure
) -> None:
    other = clinic.exam()
    assert other.procedure is not None
    # Somebody has filed the images of the first examination under the second patient.
    clinic.pacs.db.run(
        "UPDATE studies SET patient = (SELECT patient FROM studies WHERE accession = ?) "
        "WHERE accession = ?",
        other.accession,
        completed.accession,
    )
    with pytest.raises(DimseFailed, match=r"signed, but the archive did not take it: 0xC001"):
        clinic.ris.report(completed.accession, FULL_TEXT)
    clinic.ris.addendum(other.accession, "Unchanged.")  # whose document is taken
    found = {(row[0], row[1]): row[4] for row in clinic.ris.documents.table()}
    assert found == {
        (other.accession, "F"): "stored",
        (completed.accession, "F"): "waiting",
        (other.accession, "C"): "stored",
    }
    with pytest.raises(DimseFailed, match="0xC001"):
        clinic.ris.documents.resend()


def test_what_waited_is_sent_after_a_restart(tmp_path: Path) -> None:
    with Hospital(seed=7, path=tmp_path / "kept") as clinic:
        order = clinic.his.place_order(clinic.his.register_patient().patient_id)
        procedure = clinic.ris.schedule(order.placer_order)
        step = clinic.ct.start_step(clinic.ct.query_worklist()[0])
        clinic.ct.acquire(step)
        clinic.ct.complete_step(step)
        clinic.pacs.remove_ae("RIS")
        with pytest.raises(AssociationFailed):
            clinic.ris.report(procedure.accession, FULL_TEXT)
        clinic.pacs.register_ae("RIS", host="ris", port=104)
    with Hospital(path=tmp_path / "kept") as again:
        stored = again.journal.wait_for(
            lambda event: event.source == "pacs" and "image stored" in event.summary, 5
        )
        assert stored is not None
        assert len(documents(again, procedure)) == 1


def test_the_way_to_the_archive_is_an_ihe_transaction(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, FULL_TEXT)
    steps = {step.transaction: step for step in clinic.journal.exam(completed.accession).steps()}
    assert (steps["RAD-25"].sender, steps["RAD-25"].receiver) == ("ris", "pacs")
    assert steps["RAD-25"].name == "Report Issuing"
