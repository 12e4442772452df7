from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.records import Patient, Procedure

Station = Callable[..., AbstractContextManager[Any]]
Image = Callable[..., FileDataset]
Send = Callable[..., list[int]]
Heard = Callable[[Hospital, str], None]

STUDY, OTHER = make_uid("corrected study"), make_uid("study of the same patient")
SERIES = [make_uid("corrected series", number) for number in range(2)]


@pytest.fixture
def people(hospital: Hospital) -> tuple[Patient, Patient]:
    """Two patients of the HIS."""
    register = hospital.his.register_patient
    return register("Vega^Ines", "1970-01-31", "F"), register("Möller^Åke", "1950-12-24", "M")


@pytest.fixture
def images(image: Image, people: tuple[Patient, Patient]) -> list[FileDataset]:
    """Three images in two series of the first patient, the last referring to the first."""
    shared = {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientID": people[0].patient_id,
        "IssuerOfPatientID": people[0].issuer,
        "PatientName": people[0].name,
        "PatientBirthDate": people[0].birth_date,
        "StudyInstanceUID": STUDY,
        "AccessionNumber": "A1",
        "InstitutionName": "Rivière",
    }
    made = [image(SeriesInstanceUID=SERIES[n // 2], InstanceNumber=n, **shared) for n in range(3)]
    for each in made:
        source, step = Dataset(), Dataset()
        source.ReferencedSOPClassUID = made[0].SOPClassUID
        source.ReferencedSOPInstanceUID = made[0].SOPInstanceUID
        step.AccessionNumber = "A1"
        each.SourceImageSequence = Sequence([source])
        each.RequestAttributesSequence = Sequence([step])
    return made


@pytest.fixture
def archive(hospital: Hospital, send: Send, images: list[FileDataset]) -> Iterator[Hospital]:
    assert send(hospital, *images) == [0, 0, 0]
    return hospital


def order(hospital: Hospital, patient: Patient, heard: Heard) -> Procedure:
    """Order and schedule, and wait until the archive knows of it."""
    procedure = hospital.ris.schedule(hospital.his.place_order(patient.patient_id).placer_order)
    assert hospital.journal.wait_for(
        lambda e: e.source == "pacs" and e.keys.get("accession") == procedure.accession, 5
    )
    return procedure


def found(hospital: Hospital, **keys: str) -> list[tuple[str, ...]]:
    """Return patient, study, accession number and number of images of what a query finds."""
    wanted = ("PatientID", "StudyInstanceUID", "AccessionNumber", "NumberOfStudyRelatedInstances")
    answers = hospital.tools.findscu(**(dict.fromkeys(wanted, "") | keys))
    return [tuple(str(answer[key].value) for key in wanted) for answer in answers]


# Move


def test_a_study_moves_to_another_patient(
    archive: Hospital, people: tuple[Patient, Patient], images: list[FileDataset], heard: Heard
) -> None:
    wrong, right = people
    order(archive, right, heard)
    before = [path.read_bytes() for path in archive.pacs.paths(STUDY)]
    moved = archive.pacs.move_study(STUDY, right.patient_id, reason="wrong entry picked")
    assert (moved.number, moved.kind, moved.images) == (1, "move", 3)
    assert ("PatientName", "Vega^Ines", "Möller^Åke") in moved.changes
    assert found(archive, PatientID=wrong.patient_id) == []
    assert found(archive, PatientID=right.patient_id) == [(right.patient_id, STUDY, "A1", "3")]
    got = archive.tools.getscu(STUDY)
    assert {(i.PatientID, str(i.PatientName), i.PatientBirthDate) for i in got} == {
        (right.patient_id, "Möller^Åke", "19501224")
    }
    assert {i.SOPInstanceUID for i in got} == {i.SOPInstanceUID for i in images}
    assert {str(i.InstitutionName) for i in got} == {"Rivière"}
    assert [path.read_bytes() for path in archive.pacs.paths(STUDY)] == before
    heard(archive, "correction 1 by administrator: PatientID")


def test_what_a_move_replaced_is_told_in_every_image(
    archive: Hospital, people: tuple[Patient, Patient], heard: Heard
) -> None:
    order(archive, people[1], heard)
    archive.pacs.move_study(STUDY, people[1].patient_id, reason="wrong entry picked")
    archive.pacs.qc.correct(STUDY, accession="A2", reason="wrong order", coded_reason="COERCE")
    for image in archive.tools.getscu(STUDY):
        first, second = image.OriginalAttributesSequence
        was = first.ModifiedAttributesSequence[0]
        assert (was.PatientID, str(was.PatientName)) == (people[0].patient_id, "Vega^Ines")
        assert (first.ReasonForTheAttributeModification, first.ModifyingSystem) == (
            "CORRECT",
            "PACS",
        )
        assert len(first.AttributeModificationDateTime) == 14
        assert [e.keyword for e in second.ModifiedAttributesSequence[0]] == ["AccessionNumber"]
        assert second.ModifiedAttributesSequence[0].AccessionNumber == "A1"
        assert second.ReasonForTheAttributeModification == "COERCE"
        assert (image.AccessionNumber, image.PatientID) == ("A2", people[1].patient_id)


def test_a_move_is_only_tried_out(archive: Hospital, people: tuple[Patient, Patient]) -> None:
    archive.pacs._announced.remember(people[1])
    plan = archive.pacs.move_study(STUDY, people[1].patient_id, reason="x", dry_run=True)
    assert (plan.number, plan.images) == (0, 3)
    assert "Nothing is done yet" in str(plan)
    assert found(archive)[0][0] == people[0].patient_id
    assert len(archive.pacs.corrections()) == 0


def test_the_plan_names_who_keeps_a_wrong_copy(
    archive: Hospital, station: Station, people: tuple[Patient, Patient]
) -> None:
    archive.pacs._announced.remember(people[1])
    with station(archive, "READER"):
        archive.pacs.routes.add("all", "READER")
        archive.pacs.routes.study(STUDY)
        archive.pacs.retry()
    plan = archive.pacs.move_study(STUDY, people[1].patient_id, reason="x", dry_run=True)
    assert ("copies sent before", "READER", "stay as they are") in plan.changes


def test_images_that_come_after_the_move_are_filed_with_the_others(
    archive: Hospital, send: Send, image: Image, people: tuple[Patient, Patient]
) -> None:
    wrong, right = people
    archive.pacs._announced.remember(right)
    archive.pacs.move_study(STUDY, right.patient_id, reason="wrong entry picked")
    late = {"PatientID": wrong.patient_id, "IssuerOfPatientID": wrong.issuer}
    stranger = {"PatientID": "P999999", "IssuerOfPatientID": wrong.issuer}
    assert send(archive, image(StudyInstanceUID=STUDY, **late)) == [0x0000]
    assert send(archive, image(StudyInstanceUID=STUDY, **stranger)) == [0xC001]
    assert found(archive) == [(right.patient_id, STUDY, "A1", "4")]
    assert {i.PatientID for i in archive.tools.getscu(STUDY)} == {right.patient_id}


def test_a_move_is_taken_back(
    archive: Hospital, send: Send, image: Image, people: tuple[Patient, Patient]
) -> None:
    wrong, right = people
    archive.pacs._announced.remember(right)
    archive.pacs.move_study(STUDY, right.patient_id, reason="wrong entry picked")
    archive.pacs.undo_correction(1, reason="it was right before")
    assert found(archive) == [(wrong.patient_id, STUDY, "A1", "3")]
    got = archive.tools.getscu(STUDY)
    assert {i.PatientID for i in got} == {wrong.patient_id}
    assert not any("OriginalAttributesSequence" in i for i in got)
    assert [row[-1] for row in archive.pacs.corrections()] == ["undone"]
    with pytest.raises(ConfigurationError, match="Correction 1 is undone already"):
        archive.pacs.undo_correction(1, reason="again")


def test_the_later_correction_is_taken_back_first(
    archive: Hospital, people: tuple[Patient, Patient]
) -> None:
    archive.pacs._announced.remember(people[1])
    archive.pacs.move_study(STUDY, people[1].patient_id, reason="one")
    archive.pacs.qc.correct(STUDY, accession="A2", reason="two")
    with pytest.raises(ConfigurationError, match="Correction 2 came after 1"):
        archive.pacs.undo_correction(1, reason="x")
    archive.pacs.undo_correction(2, reason="x")
    archive.pacs.undo_correction(1, reason="x")
    assert found(archive) == [(people[0].patient_id, STUDY, "A1", "3")]


def test_corrections_hold_over_a_restart(
    tmp_path: Path, send: Send, image: Image, people: tuple[Patient, Patient]
) -> None:
    sent = image()
    uid = str(sent.StudyInstanceUID)
    with Hospital(path=tmp_path) as hospital:
        send(hospital, sent)
        hospital.pacs._announced.remember(people[1])
        hospital.pacs.move_study(uid, people[1].patient_id, reason="x")
        hospital.stop()
        hospital.start()
        [got] = hospital.tools.getscu(uid)
        assert got.PatientID == people[1].patient_id


@pytest.mark.parametrize(
    ("uid", "patient_id", "reason", "why"),
    [
        (STUDY, "P000002", " ", "needs a reason"),
        (STUDY, "P000001", "x", "is of patient P000001 already"),
        (STUDY, "P777777", "x", "have named patient P777777 of RIVERSIDE"),
        (STUDY, "P000002^^^ELSEWHERE", "x", "have named patient P000002 of ELSEWHERE"),
        (SERIES[0], "P000002", "x", "Only a whole study can move"),
        ("1.2.3", "P000002", "x", "no study, series or instance '1.2.3'"),
    ],
)
def test_a_move_that_cannot_be_right_is_refused(
    archive: Hospital,
    people: tuple[Patient, Patient],
    uid: str,
    patient_id: str,
    reason: str,
    why: str,
) -> None:
    archive.pacs._announced.remember(people[1])
    with pytest.raises((ConfigurationError, NotFound), match=why):
        archive.pacs.move_study(uid, patient_id, reason=reason)
    assert found(archive)[0][0] == people[0].patient_id


# Correct


def test_one_image_is_corrected_and_the_others_are_not(
    archive: Hospital, images: list[FileDataset]
) -> None:
    archive.pacs.qc.correct(str(images[0].SOPInstanceUID), Laterality="L", reason="side not set")
    archive.pacs.qc.correct(SERIES[1], SeriesDescription="Lünge", reason="wrong words")
    got = {str(i.SOPInstanceUID): i for i in archive.tools.getscu(STUDY)}
    sides = [got[str(i.SOPInstanceUID)].get("Laterality") for i in images]
    assert sides == ["L", None, None]
    [series] = archive.tools.findscu(
        level="SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES[1], SeriesDescription=""
    )
    assert series.SeriesDescription == "Lünge"
    told = got[str(images[0].SOPInstanceUID)].OriginalAttributesSequence[0]
    assert told.ModifiedAttributesSequence[0]["Laterality"].VM == 0


@pytest.mark.parametrize(
    ("uid", "attributes", "why"),
    [
        (STUDY, {"accession": "A1"}, "Nothing to correct"),
        (STUDY, {"PatientName": "New^Name"}, "is of the patient"),
        (STUDY, {"Side": "L"}, "no keyword"),
        (STUDY, {"StudyInstanceUID": "1.2"}, "no text that can be corrected"),
        (STUDY, {"SeriesDescription": "x"}, "SeriesDescription belongs to series"),
        (SERIES[0], {"accession": "A2"}, "AccessionNumber belongs to studies"),
        (STUDY, {"accession": "A2", "coded_reason": "WRONG"}, "'WRONG' is no coded reason"),
    ],
)
def test_what_cannot_be_corrected_is_refused(
    archive: Hospital, uid: str, attributes: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        archive.pacs.qc.correct(uid, reason="x", **attributes)
    assert len(archive.pacs.corrections()) == 0


# Split and merge


def test_a_split_series_becomes_new_instances_of_the_order_it_belongs_to(
    archive: Hospital, people: tuple[Patient, Patient], images: list[FileDataset], heard: Heard
) -> None:
    wrong, right = people
    procedure = order(archive, right, heard)
    done = archive.pacs.split_study(
        STUDY, series=[SERIES[0]], accession=procedure.accession, reason="two patients in one"
    )
    assert done.into_uid == procedure.study_uid
    assert sorted(found(archive)) == sorted(
        [
            (wrong.patient_id, STUDY, "A1", "1"),
            (right.patient_id, procedure.study_uid, procedure.accession, "2"),
        ]
    )
    old = {str(i.SOPInstanceUID) for i in images}
    got = archive.tools.getscu(procedure.study_uid)
    assert not {str(i.SOPInstanceUID) for i in got} & old
    assert {str(i.SeriesInstanceUID) for i in got}.isdisjoint(SERIES)
    assert {(i.PatientID, str(i.PatientName)) for i in got} == {(right.patient_id, "Möller^Åke")}
    assert [bytes(i.PixelData) for i in got] == [bytes(i.PixelData) for i in images[:2]]
    # What one refers to came along, so the reference does.
    assert {i.SourceImageSequence[0].ReferencedSOPInstanceUID for i in got} == {
        got[0].SOPInstanceUID
    }
    assert not any("RequestAttributesSequence" in i for i in got)  # of the wrong order
    was = got[0].OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert (was.SOPInstanceUID, was.StudyInstanceUID) == (images[0].SOPInstanceUID, STUDY)
    assert was.RequestAttributesSequence[0].AccessionNumber == "A1"
    assert {row[3] for row in archive.pacs.rejected()} == {"Incorrect Modality Worklist Entry"}
    assert len(archive.pacs.consistency()) == 0


def test_split_off_images_keep_the_patient_and_accession_number_if_nothing_else_is_said(
    archive: Hospital, people: tuple[Patient, Patient], images: list[FileDataset]
) -> None:
    done = archive.pacs.split_study(
        STUDY, instances=[str(images[2].SOPInstanceUID)], reason="two exams in one"
    )
    [got] = archive.tools.getscu(done.into_uid)
    assert (got.PatientID, got.AccessionNumber) == (people[0].patient_id, "A1")
    assert "RequestAttributesSequence" in got
    # It refers to an image that stayed.
    assert got.SourceImageSequence[0].ReferencedSOPInstanceUID == images[0].SOPInstanceUID


def test_split_off_images_of_another_patient_do_not_keep_the_accession_number(
    archive: Hospital, people: tuple[Patient, Patient]
) -> None:
    archive.pacs._announced.remember(people[1])
    done = archive.pacs.split_study(
        STUDY, series=[SERIES[1]], to_patient_id=people[1].patient_id, reason="two patients"
    )
    [got] = archive.tools.getscu(done.into_uid)
    assert (got.PatientID, got.AccessionNumber) == (people[1].patient_id, "")


def test_the_validator_finds_no_new_error_in_split_off_images(
    hospital: Hospital, small_scans: None, peer: Callable[[str], Path], tmp_path: Path
) -> None:
    exam = hospital.exam()
    assert exam.procedure is not None
    uids = [str(i.SOPInstanceUID) for i in exam.images]
    done = hospital.pacs.split_study(exam.procedure.study_uid, instances=uids[:1], reason="x")
    hospital.pacs.qc.correct(exam.procedure.study_uid, accession="ÄÖ", reason="x")
    for number, image in enumerate(
        [
            *hospital.tools.getscu(done.into_uid),
            *hospital.tools.getscu(exam.procedure.study_uid)[:1],
        ]
    ):
        file = tmp_path / f"{number}.dcm"
        image.save_as(file, enforce_file_format=True)
        checked = subprocess.run(
            [peer("dciodvfy"), file], capture_output=True, text=True, check=False
        )
        assert "Error" not in checked.stderr


def test_a_split_is_taken_back(archive: Hospital, images: list[FileDataset]) -> None:
    done = archive.pacs.split_study(STUDY, series=[SERIES[0]], reason="two exams in one")
    archive.pacs.undo_correction(done.number, reason="it was one")
    assert [(row[1], row[3]) for row in found(archive)] == [(STUDY, "3")]
    assert {i.SOPInstanceUID for i in archive.tools.getscu(STUDY)} == {
        i.SOPInstanceUID for i in images
    }
    assert [row[-1] for row in archive.pacs.corrections()] == ["undone"]


def test_a_split_that_a_stop_cut_off_is_finished(
    tmp_path: Path, send: Send, images: list[FileDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hospital(path=tmp_path) as hospital:
        send(hospital, *images)
        taken: list[str] = []
        take = hospital.pacs._storing.take

        def stop_after_one(dataset: FileDataset, own_title: str) -> None:
            if taken:
                raise KeyboardInterrupt
            taken.append(str(dataset.SOPInstanceUID))
            take(dataset, own_title)

        monkeypatch.setattr(hospital.pacs._storing, "take", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            hospital.pacs.split_study(STUDY, series=[SERIES[0]], reason="two exams in one")
        assert [row[-1] for row in hospital.pacs.corrections()] == ["begun"]
        hospital.stop()
        monkeypatch.undo()
        hospital.start()
        assert [row[-1] for row in hospital.pacs.corrections()] == ["done"]
        assert sorted(row[3] for row in found(hospital)) == ["1", "2"]
        assert len(hospital.pacs.consistency()) == 0


def test_two_studies_of_one_patient_are_merged(
    archive: Hospital, send: Send, image: Image, people: tuple[Patient, Patient]
) -> None:
    ours = {"PatientID": people[0].patient_id, "IssuerOfPatientID": people[0].issuer}
    send(archive, image(StudyInstanceUID=OTHER, AccessionNumber="A9", StudyDate="20260303", **ours))
    done = archive.pacs.merge_studies(OTHER, STUDY, reason="one exam, sent as two")
    assert done.kind == "merge"
    assert [(row[1], row[2], row[3]) for row in found(archive)] == [(STUDY, "A1", "4")]
    assert {(i.AccessionNumber, i.StudyDate) for i in archive.tools.getscu(STUDY)} == {
        ("A1", "20260302")
    }


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"series": SERIES}, "the whole study"),
        ({"series": ["1.2.3"]}, "has no series or image 1.2.3"),
        ({}, "none named"),
        ({"series": SERIES[:1], "reason": ""}, "needs a reason"),
        ({"series": SERIES[:1], "to_patient_id": "P777777"}, "have named patient P777777"),
    ],
)
def test_a_split_that_cannot_be_right_is_refused(
    archive: Hospital, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises((ConfigurationError, NotFound), match=why):
        archive.pacs.split_study(STUDY, **({"reason": "x"} | settings))
    assert len(archive.pacs.corrections()) == 0
    assert [row[3] for row in found(archive)] == ["3"]


def test_an_order_of_somebody_else_does_not_get_the_images(
    archive: Hospital, people: tuple[Patient, Patient], heard: Heard
) -> None:
    procedure = order(archive, people[1], heard)
    with pytest.raises(ConfigurationError, match="was ordered for patient"):
        archive.pacs.split_study(
            STUDY,
            series=SERIES[:1],
            accession=procedure.accession,
            to_patient_id=people[0].patient_id,
            reason="x",
        )


def test_studies_of_two_patients_are_not_merged(
    archive: Hospital, send: Send, image: Image
) -> None:
    send(archive, image(StudyInstanceUID=OTHER))
    with pytest.raises(ConfigurationError, match="are of two patients"):
        archive.pacs.merge_studies(OTHER, STUDY, reason="x")
    with pytest.raises(ConfigurationError, match="not merged with itself"):
        archive.pacs.merge_studies(STUDY, STUDY, reason="x")


def test_the_files_stay_as_the_scanner_sent_them(
    archive: Hospital, images: list[FileDataset]
) -> None:
    archive.pacs.split_study(STUDY, series=[SERIES[0]], reason="two exams in one")
    kept = {
        str(dataset.SOPInstanceUID): dataset
        for path in (archive.pacs.folder / "files").rglob("*.dcm")
        if "PixelData" in (dataset := dcmread(path))
    }
    for image in images:
        assert kept[str(image.SOPInstanceUID)].PatientID == image.PatientID
    assert len(kept) == 5  # the three, and two made new
