"""Opening a study: its priors, and nothing that the archive would not show now."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, NotFound

Store = Callable[..., list[FileDataset]]
CHEST = {"BodyPartExamined": "CHEST", "PatientID": "K000001"}


def accessions(hospital: Hospital, study: str) -> list[str]:
    return [prior.accession for prior in hospital.workstation.open(study).priors]


def test_priors_come_the_most_recent_first_and_hang_beside_it(
    archive: Hospital, store: Store
) -> None:
    for number, date in ((1, "20260302"), (2, "20250101"), (3, "20260101"), (4, "20240101")):
        store(archive, number, StudyDate=date, **CHEST)
    reading = archive.workstation.open("K1")
    assert [prior.accession for prior in reading.priors] == ["K3", "K2"]
    assert [(row[1], row[2], row[5]) for row in reading.table()] == [
        ("prior", "K3", 2),
        ("current", "K1", 2),
    ]
    assert reading.remarks == []
    assert [row[0] for row in archive.workstation.cache.table()] == ["K2", "K3", "K1"]
    assert {row[7] for row in archive.workstation.cache.table()} == {"open"}
    assert [image.AccessionNumber for image in reading.images(1)] == ["K3", "K3"]
    assert reading.images(2)[0].pixel_array.shape == (64, 64)
    with pytest.raises(NotFound, match="no display set 3"):
        reading.images(3)
    assert "Silva^Ines, K000001^^^RIVERSIDE, K1" in str(reading)


def test_what_is_no_prior(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    store(archive, 2, StudyDate="20260101", **CHEST | {"BodyPartExamined": "HEAD"})
    store(archive, 3, StudyDate="20260101", Modality="MR", **CHEST)
    store(archive, 4, StudyDate="20260303", **CHEST)
    reading = archive.workstation.open("K1")
    assert reading.priors == []
    assert reading.hanging.protocol.name == "Volume"
    assert reading.remarks == [
        "There are newer studies of this patient: K4.",
        "No prior: none of 2 earlier studies is CT CHEST.",
    ]


def test_a_patient_who_is_here_for_the_first_time(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    [remark] = archive.workstation.open("K1").remarks
    assert remark == "No prior: the archive has no earlier study of this patient."


def test_a_plate_and_a_detector_are_alike(archive: Hospital, store: Store) -> None:
    store(archive, 1, Modality="DX", **CHEST)
    store(archive, 2, StudyDate="20260101", Modality="CR", **CHEST)
    assert accessions(archive, "K1") == ["K2"]


def test_as_many_priors_as_were_asked_for(archive: Hospital, store: Store) -> None:
    for number in (1, 2, 3, 4):
        store(archive, number, 1, StudyDate=f"2026010{5 - number}", **CHEST)
    for wanted, found in (("0", []), ("1", ["K2"]), ("3", ["K2", "K3", "K4"])):
        archive.workstation.configure("priors", wanted)
        assert accessions(archive, "K1") == found
    with pytest.raises(ConfigurationError, match="no number of priors"):
        archive.workstation.configure("priors", "many")


def test_the_prior_of_the_other_side_is_not_shown(archive: Hospital, store: Store) -> None:
    knee = {"BodyPartExamined": "KNEE", "PatientID": "K000001"}
    store(archive, 1, Laterality="L", **knee)
    store(archive, 2, StudyDate="20260102", Laterality="R", **knee)
    store(archive, 3, StudyDate="20260101", Laterality="L", **knee)
    reading = archive.workstation.open("K1")
    assert [prior.accession for prior in reading.priors] == ["K3"]
    assert reading.remarks == ["K2 is of the other side: not shown as a prior."]


# Never another patient


def test_the_same_number_of_another_issuer_is_another_person(
    archive: Hospital, store: Store
) -> None:
    store(archive, 1, **CHEST)
    other = {"IssuerOfPatientID": "ELSEWHERE", "PatientName": "Else^Somebody"}
    store(archive, 2, StudyDate="20260101", **CHEST | other)
    reading = archive.workstation.open("K1")
    assert reading.priors == []
    assert reading.remarks[0] == (
        "K000001 of ELSEWHERE is another person, Else^Somebody: nothing of theirs is shown."
    )
    assert [row[0] for row in archive.workstation.cache.table()] == ["K1"]


def test_who_may_be_the_same_person_is_named_and_not_shown(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    store(archive, 2, StudyDate="20260101", **CHEST | {"PatientID": "K000009"})
    reading = archive.workstation.open("K1")
    assert reading.priors == []
    assert reading.remarks[0] == (
        "Silva^Ines with the same birth date has studies under K000009 of RIVERSIDE: not shown, "
        "until the two are merged."
    )


def test_a_number_is_no_wild_card(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST | {"PatientID": "K*"})
    store(archive, 2, StudyDate="20260101", **CHEST | {"PatientName": "Else^Somebody"})
    assert accessions(archive, "K1") == []


def test_without_a_number_there_are_no_priors(archive: Hospital, store: Store) -> None:
    for number in (1, 2):
        store(archive, number, StudyDate=f"2026010{3 - number}", **CHEST | {"PatientID": ""})
    [remark] = archive.workstation.open("K1").remarks
    assert remark == "The study has no Patient ID: no priors were looked for."


def test_an_image_that_names_somebody_else_is_not_shown(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    ws = archive.workstation
    # An index that was mended by hand: the files say otherwise.
    archive.pacs.db.run("UPDATE patients SET patient_id = 'K000002'")
    with pytest.raises(NotFound, match="2 images name another patient than the archive does"):
        ws.open("K1")
    assert ws.reading is None


# What has changed at the archive


def test_what_was_corrected_since_is_fetched_anew(archive: Hospital, store: Store) -> None:
    images = store(archive, 1, **CHEST)
    store(archive, 2, PatientName="Else^Somebody", PatientID="K000002")
    ws, uid = archive.workstation, str(images[0].StudyInstanceUID)
    assert ws.open("K1").study.patient.name == "Silva^Ines"
    archive.pacs.qc.correct(uid, reason="another patient", patient_id="K000002^^^RIVERSIDE")
    reading = ws.open("K1")
    assert reading.remarks[0] == "K1: 2 images were fetched anew, as corrected since."
    assert reading.study.patient.patient_id == "K000002"
    assert {str(image.PatientName) for image in reading.images(1)} == {"Else^Somebody"}
    assert archive.workstation.open("K1").remarks == reading.remarks[1:]


def test_what_was_rejected_since_is_gone(archive: Hospital, store: Store) -> None:
    first, _ = store(archive, 1, **CHEST)
    ws = archive.workstation
    ws.open("K1")
    archive.pacs.reject(str(first.SOPInstanceUID))
    reading = ws.open("K1")
    assert len(reading.images(1)) == 1
    assert reading.remarks[0] == "K1: 1 images that the archive no longer gives are gone."
    assert str(first.SOPInstanceUID) not in ws.cache.uids(reading.study.study_uid)


def test_an_archive_that_is_down_leaves_what_is_here(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    ws = archive.workstation
    uid = ws.open("K1").study.study_uid
    archive.pacs.stop_service("dicom")
    for name in ("K1", uid):
        reading = ws.open(name)
        assert len(reading.images(1)) == 2
        assert "could not be asked" in reading.remarks[0]
        assert "may be incomplete" in reading.remarks[1]
    with pytest.raises(AssociationFailed):
        ws.open("K2")


def test_a_prior_that_cannot_be_fetched_is_named(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    store(archive, 2, StudyDate="20260101", **CHEST)
    archive.workstation.retrieve("K1")
    archive.workstation.configure("destination", "WS9")
    reading = archive.workstation.open("K1")
    assert reading.priors == []
    assert "The prior K2 is not shown: PACS answered the C-MOVE with 0xA801" in reading.remarks[0]
    archive.workstation.cache.clear()
    with pytest.raises(DimseFailed, match="0xA801"):
        archive.workstation.open("K1")


def test_a_study_that_came_in_part_says_so(archive: Hospital, store: Store) -> None:
    store(archive, 1, **CHEST)
    ws = archive.workstation
    ws.retrieve("K1")
    ws.cache.resize(ws.cache.used * 3 // 4)
    assert "K1: only 1 of 2 images came." in ws.open("K1").remarks


# What is open


def test_what_is_open_stays_in_the_cache(archive: Hospital, store: Store) -> None:
    for number in (1, 2):
        store(archive, number)
    ws = archive.workstation
    ws.open("K1")
    with pytest.raises(ConfigurationError, match="what is open takes"):
        ws.cache.resize(ws.cache.used - 1)
    ws.cache.resize(ws.cache.used)
    with pytest.raises(DimseFailed, match="0xA702"):
        ws.retrieve("K2")
    ws.close()
    assert ws.reading is None
    assert ws.retrieve("K2").complete
    assert [row[0] for row in ws.cache.table()] == ["K2"]


def test_what_was_open_at_a_restart_is_not_any_more(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    archive.workstation.open("K1")
    archive.rebuild("ws1")
    [row] = archive.workstation.cache.table()
    assert (row[0], row[7]) == ("K1", "")


def test_who_looked_at_what_is_in_the_audit_trail() -> None:
    with Hospital(seed=7, site="community") as hospital:
        exam = hospital.exam("DXCHEST")
        assert exam.patient is not None
        reading = hospital.workstation.open(exam.accession, user="moritz")
        assert reading.hanging.protocol.name == "Chest, two views"
        assert [row[5] for row in reading.table()] == [1, 1]
        assert hospital.settle()
        assert hospital.workstation.trail.resend() == 0
        [found] = hospital.audit.search(event="110103")
        assert "moritz" in str(found)
        assert exam.patient.patient_id in str(found)
