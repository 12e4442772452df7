"""A study leaves the department for a teaching file: nobody can tell whose it is, but the site."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.deid.leaks import facts_of, find_leaks
from labsim.deid.pixels import find_text
from labsim.deid.pseudonyms import Pseudonyms
from labsim.errors import NotFound

OPTIONS = ("retain_modified_dates", "clean_descriptors", "clean_structured_content")


def test_a_study_with_its_report_is_released(
    department: Hospital, tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    exam = department.exam("CTHEAD", name="Lindberg^Astrid")
    assert exam.complete, exam.problem
    assert exam.procedure is not None
    study_uid, tools = exam.procedure.study_uid, department.tools
    originals = tools.getscu(study_uid)

    key = Pseudonyms(tmp_path / "project.db")
    made = tools.deidentify(study_uid, tmp_path / "teaching", options=OPTIONS, pseudonyms=key)

    # All of it is there, valid, and says nothing of her.
    released = [dcmread(made.path / file) for file, _ in made.files]
    assert len(released) == len(originals)
    assert {image.Modality for image in released} == {"CT", "SR"}
    assert made.left_out == []
    assert made.leaks == []
    assert find_leaks(made.path, facts_of(originals)) == []
    for file, _ in made.files:
        command = [peer("dciodvfy"), made.path / file]
        judged = subprocess.run(command, capture_output=True, text=True, check=False)
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []

    # It is one study still: the report names the images, and says what they show.
    [report] = [one for one in released if one.Modality == "SR"]
    images = {str(one.SOPInstanceUID) for one in released} - {str(report.SOPInstanceUID)}
    [study] = report.CurrentRequestedProcedureEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    named = {str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence}
    assert named == images
    said = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
    assert "No haemorrhage, no mass effect. Ventricles of normal width." in said
    assert released[0].StudyDescription == "CT head"

    # The site can tell who it was, until it throws its list away.
    pseudonym = str(report.PatientID)
    assert key.original(pseudonym).startswith(exam.procedure.patient_id)
    assert key.original(str(report.StudyInstanceUID)) == study_uid
    key.forget()
    with pytest.raises(NotFound):
        key.original(pseudonym)
    key.close()

    # The department's own systems know nothing of it, but that the images were fetched.
    assert {str(i.SOPInstanceUID) for i in tools.getscu(study_uid)} == {
        str(i.SOPInstanceUID) for i in originals
    }
    assert tools.findscu(PatientID=pseudonym) == []
    assert [event for event in department.journal.all() if "de-identified" in event.summary]


def test_another_archive_takes_it_as_a_new_study(department: Hospital, tmp_path: Path) -> None:
    exam = department.exam("CTHEAD")
    assert exam.procedure is not None
    made = department.tools.deidentify(exam.procedure.study_uid, tmp_path / "teaching")
    before = {str(study.StudyInstanceUID) for study in department.tools.findscu("archive")}
    done = department.tools.import_folder(made.path, system="archive")
    assert (done.stored, done.refused) == (len(made.files), [])
    after = {str(study.StudyInstanceUID) for study in department.tools.findscu("archive")}
    assert len(after - before) == 1


def test_what_a_learner_missed_is_named(department: Hospital, tmp_path: Path) -> None:
    exam = department.exam("CTHEAD", name="Lindberg^Astrid")
    assert exam.procedure is not None
    study_uid = exam.procedure.study_uid
    for number, image in enumerate(department.tools.getscu(study_uid)):
        image.PatientName, image.PatientID = "ANON", "ANON"  # which is not enough
        image.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    found = department.tools.find_leaks(tmp_path, study_uid)
    places = {(leak.attribute, leak.what) for leak in found}
    assert {
        ("AccessionNumber", "accession number"),
        ("PatientBirthDate", "birth date"),
        ("InstitutionName", "institution"),
        ("StudyInstanceUID", "UID"),
        ("MediaStorageSOPInstanceUID", "UID"),
    } <= places
    assert "name" not in {leak.what for leak in found}


def test_an_ultrasound_study_leaves_without_the_name_in_its_pixels_or_not_at_all(
    department: Hospital, tmp_path: Path
) -> None:
    exam = department.exam("USABDOMEN")
    assert exam.procedure is not None
    study_uid, tools = exam.procedure.study_uid, department.tools
    made = tools.deidentify(study_uid, tmp_path / "teaching")
    released = [dcmread(made.path / file) for file, _ in made.files]
    pictures = [image for image in released if image.Modality == "US"]
    assert len(pictures) == len(exam.images)
    assert made.left_out == []
    assert [find_text(image) for image in exam.images if not find_text(image)] == []
    assert [find_text(image) for image in pictures] == [[]] * len(pictures)
    codes = [item.CodeValue for item in pictures[0].DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101"]

    bare = tools.deidentify(study_uid, tmp_path / "bare", pixel_cleaner=None)
    assert {dcmread(bare.path / file).Modality for file, _ in bare.files} == {"SR"}
    assert len(bare.left_out) == len(exam.images)


def test_a_study_that_is_not_there_is_said_to_be_missing(
    department: Hospital, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=r"no study 1\.2\.3"):
        department.tools.deidentify("1.2.3", tmp_path / "none")
