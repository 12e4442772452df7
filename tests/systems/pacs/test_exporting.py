from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    RLELossless,
)

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.media import read_disc
from labsim.systems.records import Patient
from labsim.tools import Import

Image = Callable[..., FileDataset]


def store(hospital: Hospital, folder: Path, *images: FileDataset) -> Import:
    folder.mkdir()
    for number, image in enumerate(images):
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    taken = hospital.tools.import_folder(folder)
    assert taken.refused == []
    return taken


def exam_of(hospital: Hospital) -> tuple[Patient, str]:
    exam = hospital.exam()
    assert exam.problem == ""
    assert exam.patient is not None
    assert exam.procedure is not None
    return exam.patient, exam.procedure.study_uid


def test_a_patient_takes_the_images_along_bit_for_bit(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    patient, study_uid = exam_of(hospital)
    disc = hospital.pacs.export(tmp_path / "cd", patient_id=patient.patient_id)
    stored = {dcmread(path).SOPInstanceUID: path for path in hospital.pacs.paths(study_uid)}
    content = read_disc(disc.path)
    assert (content.refused, content.mismatches) == ([], [])
    assert {image.header.SOPInstanceUID for image in content.images} == set(stored)
    for image in content.images:
        written, kept = dcmread(image.path), dcmread(stored[image.header.SOPInstanceUID])
        assert written.get("PixelData") == kept.get("PixelData")  # the report has none
        assert written.to_json() == kept.to_json()


def test_a_correction_is_on_the_disc(hospital: Hospital, small_scans: None, tmp_path: Path) -> None:
    patient, _ = exam_of(hospital)
    hospital.his.update_patient(patient.patient_id, name="Zieliński^Łucja")
    update = hospital.journal.wait_for(
        lambda event: event.source == "pacs" and "updated" in event.summary, 5
    )
    assert update is not None
    disc = hospital.pacs.export(tmp_path / "cd", patient_id=patient.patient_id)
    assert {str(image.header.PatientName) for image in read_disc(disc.path).images} == {
        "Zieliński^Łucja"
    }
    assert "Zieliński, Łucja" in (disc.path / "INDEX.HTM").read_text(encoding="utf-8")
    assert read_disc(disc.path).mismatches == []


def test_images_of_two_patients_are_not_on_one_disc_by_mistake(
    hospital: Hospital, image: Image, tmp_path: Path
) -> None:
    first, second = image(PatientID="A1"), image(PatientID="B2")
    store(hospital, tmp_path / "in", first, second)
    uids = [first.StudyInstanceUID, second.StudyInstanceUID]
    with pytest.raises(ConfigurationError, match=r"images of 2 patients: A1\^\^\^, B2"):
        hospital.pacs.export(tmp_path / "cd", study_uids=uids)
    assert not (tmp_path / "cd").exists()
    disc = hospital.pacs.export(tmp_path / "cd", study_uids=uids, allow_many_patients=True)
    assert {i.header.PatientID for i in read_disc(disc.path).images} == {"A1", "B2"}


def test_two_patients_of_one_number_are_never_on_one_disc(
    hospital: Hospital, image: Image, tmp_path: Path
) -> None:
    first = image(PatientID="A1", IssuerOfPatientID="X")
    second = image(PatientID="A1", IssuerOfPatientID="Y")
    store(hospital, tmp_path / "in", first, second)
    uids = [first.StudyInstanceUID, second.StudyInstanceUID]
    with pytest.raises(ConfigurationError, match="Two patients have one number"):
        hospital.pacs.export(tmp_path / "cd", study_uids=uids, allow_many_patients=True)


def test_a_patient_of_another_issuer_is_named_with_it(
    hospital: Hospital, image: Image, tmp_path: Path
) -> None:
    store(hospital, tmp_path / "in", image(PatientID="A1", IssuerOfPatientID="X"))
    with pytest.raises(NotFound, match="no images of patient A1"):
        hospital.pacs.export(tmp_path / "cd", patient_id="A1")
    assert len(hospital.pacs.export(tmp_path / "cd", patient_id="A1^^^X").files) == 1


def test_compressed_images_are_decompressed_for_a_cd(
    hospital: Hospital, image: Image, tmp_path: Path
) -> None:
    packed = image()
    packed.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    store(hospital, tmp_path / "in", packed)
    (kept,) = hospital.pacs.paths(packed.StudyInstanceUID)
    assert dcmread(kept).file_meta.TransferSyntaxUID == RLELossless
    disc = hospital.pacs.export(tmp_path / "cd", study_uids=[packed.StudyInstanceUID])
    (written,) = read_disc(disc.path).images
    assert written.header.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(dcmread(written.path).pixel_array.ravel(), [256, 770, 1284, 1798])


def key_object(images: list[FileDataset]) -> Dataset:
    made = hd.ko.KeyObjectSelectionDocument(
        evidence=images,
        content=hd.ko.KeyObjectSelection(
            document_title=codes.DCM.OfInterest,
            referenced_objects=images,
            description="Look here",
        ),
        series_instance_uid=make_uid("key objects"),
        series_number=90,
        sop_instance_uid=make_uid("key object"),
        instance_number=1,
        manufacturer="labsim",
    )
    made.IssuerOfPatientID = images[0].IssuerOfPatientID
    return made


def report(image: FileDataset) -> FileDataset:
    made = document_of(image, ComprehensiveSRStorage, "SR", 91)
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator = "18748-4", "LN"
    title.CodeMeaning = "Diagnostic imaging report"
    made.ConceptNameCodeSequence = [title]
    return made


def presentation_state(image: FileDataset) -> FileDataset:
    made = document_of(image, GrayscaleSoftcopyPresentationStateStorage, "PR", 92)
    made.PresentationCreationDate, made.PresentationCreationTime = "20260302", "110000"
    made.ContentLabel = "LUNG"
    shown = Dataset()
    shown.ReferencedSOPClassUID = image.SOPClassUID
    shown.ReferencedSOPInstanceUID = image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID = image.SeriesInstanceUID
    series.ReferencedImageSequence = [shown]
    made.ReferencedSeriesSequence = [series]
    return made


def document_of(image: FileDataset, sop_class: str, modality: str, number: int) -> FileDataset:
    made = FileDataset("", {}, file_meta=image.file_meta.copy(), preamble=b"\0" * 128)
    made.update({e.tag: e for e in image if e.tag.group in (0x0010,)})
    made.StudyInstanceUID, made.StudyID = image.StudyInstanceUID, "1"
    made.StudyDate, made.StudyTime = image.StudyDate, image.StudyTime
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
    uid = make_uid(modality, image.SOPInstanceUID)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid
    made.SeriesInstanceUID = make_uid("series", uid)
    made.Modality, made.SeriesNumber, made.InstanceNumber = modality, number, 1
    made.ContentDate, made.ContentTime = "20260302", "110000"
    return made


def test_documents_and_presentation_states_are_in_the_dicomdir(
    hospital: Hospital, small_scans: None, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    _, study_uid = exam_of(hospital)
    images = [dcmread(path) for path in hospital.pacs.paths(study_uid)[:4]]
    documents = [key_object(images[:1]), report(images[0]), presentation_state(images[0])]
    store(hospital, tmp_path / "in", *documents)  # type: ignore[arg-type]
    disc = hospital.pacs.export(tmp_path / "cd", study_uids=[study_uid])
    records = dcmread(disc.path / "DICOMDIR").DirectoryRecordSequence
    kinds = [record.DirectoryRecordType for record in records]
    assert {"KEY OBJECT DOC", "SR DOCUMENT", "PRESENTATION"} < set(kinds)
    assert kinds.count("IMAGE") == 4
    (key_objects,) = (r for r in records if r.DirectoryRecordType == "KEY OBJECT DOC")
    assert key_objects.ConceptNameCodeSequence[0].CodeMeaning == "Of Interest"
    assert "ContentSequence" not in key_objects  # it has no title modifier
    done = subprocess.run(
        [str(peer("dciodvfy")), str(disc.path / "DICOMDIR")],
        capture_output=True,
        timeout=30,
    )
    assert b"Error" not in done.stderr


def test_an_export_is_in_the_journal_of_its_patient(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    patient, study_uid = exam_of(hospital)
    hospital.pacs.export(tmp_path / "cd.zip", patient_id=patient.patient_id)
    event = hospital.journal.events()[-1]
    assert event.source == "pacs"
    assert event.summary == f"5 images of patient {patient.patient_id} exported to cd.zip"
    assert event.keys == {"study_uid": study_uid, "patient_id": patient.patient_id}


def test_a_file_that_is_gone_is_left_out_and_named(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    _, study_uid = exam_of(hospital)
    lost = hospital.pacs.paths(study_uid)[1]
    uid = dcmread(lost).SOPInstanceUID
    lost.unlink()
    disc = hospital.pacs.export(tmp_path / "cd", study_uids=[study_uid])
    [(left_out, why)] = disc.left_out
    assert left_out == uid
    assert why.startswith("file cannot be read: ")
    assert len(disc.files) == 4  # with the report


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"study_uids": ["1.2.3"]}, r"The PACS has no study 1\.2\.3"),
        ({"patient_id": "P999999"}, "The PACS has no images of patient P999999"),
        ({}, "of studies or of a patient"),
        ({"study_uids": ["1.2"], "patient_id": "P1"}, "of studies or of a patient"),
    ],
)
def test_what_cannot_be_exported_says_so(
    hospital: Hospital, tmp_path: Path, wanted: dict[str, object], words: str
) -> None:
    with pytest.raises((NotFound, ConfigurationError), match=words):
        hospital.pacs.export(tmp_path / "cd", **wanted)  # type: ignore[arg-type]
    assert not (tmp_path / "cd").exists()
