from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset

from labsim.database import Database
from labsim.systems.pacs import index
from labsim.systems.pacs.index import (
    DuplicateInstance,
    Index,
    WrongPatient,
    date_of,
    name_keys,
)
from labsim.systems.records import Patient

Image = Callable[..., FileDataset]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "index.sqlite", index.SCHEMA)
    yield opened
    opened.close()


@pytest.fixture
def archive(db: Database) -> Index:
    return Index(db)


def add(archive: Index, made: FileDataset, file: str = "a/b/c.dcm") -> bool:
    stored: dict[str, Any] = {
        "transfer_syntax": str(made.file_meta.TransferSyntaxUID),
        "file": file,
        "bytes": 100,
        "received_from": "CT1",
        "received_at": "2026-03-02T10:30:00",
    }
    return archive.add(made, stored)


def counts(db: Database) -> list[int]:
    tables = ("patients", "studies", "series", "instances")
    return [db.value(f"SELECT COUNT(*) FROM {table}") for table in tables]


def test_an_instance_is_new_once(archive: Index, db: Database, image: Image) -> None:
    made = image()
    assert add(archive, made)
    assert not add(archive, made, "other.dcm")
    assert counts(db) == [1, 1, 1, 1]
    assert archive.files() == {"other.dcm"}


def test_images_of_a_series_share_what_is_above_them(
    archive: Index, db: Database, image: Image
) -> None:
    first = image()
    second = image(
        PatientID=first.PatientID,
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
    )
    add(archive, first)
    add(archive, second)
    assert counts(db) == [1, 1, 1, 2]


def test_a_refused_instance_leaves_no_row(archive: Index, db: Database, image: Image) -> None:
    first = image()
    add(archive, first)
    with pytest.raises(WrongPatient):
        add(archive, image(StudyInstanceUID=first.StudyInstanceUID))
    with pytest.raises(DuplicateInstance):
        add(archive, image(SOPInstanceUID=first.SOPInstanceUID))
    assert counts(db) == [1, 1, 1, 1]


def test_the_same_id_of_another_issuer_is_another_patient(
    archive: Index, db: Database, image: Image
) -> None:
    for issuer in ("RIVERSIDE", "ELSEWHERE", ""):
        add(archive, image(PatientID="P1", IssuerOfPatientID=issuer))
    assert counts(db) == [3, 3, 3, 3]


def test_a_correction_is_for_the_patient_of_that_issuer(archive: Index, image: Image) -> None:
    here = image(PatientID="P1", IssuerOfPatientID="RIVERSIDE")
    elsewhere = image(PatientID="P1", IssuerOfPatientID="ELSEWHERE")
    for made in (here, elsewhere):
        add(archive, made, f"{made.SOPInstanceUID}.dcm")
    assert archive.update_patient(Patient("P1", "RIVERSIDE", "New^Name", "19700131", "F"))
    changed, same = archive.find(here.SOPInstanceUID), archive.find(elsewhere.SOPInstanceUID)
    assert changed is not None
    assert same is not None
    assert (changed.patient.name, changed.corrected) == ("New^Name", True)
    assert (same.patient.name, same.corrected) == ("Silva^Ines", False)


def test_a_correction_is_kept_for_images_to_come(archive: Index, image: Image) -> None:
    corrected = Patient("P1", "RIVERSIDE", "New^Name", "19700131", "F")
    assert not archive.update_patient(corrected)
    made = image(PatientID="P1", IssuerOfPatientID="RIVERSIDE")
    add(archive, made)
    found = archive.find(made.SOPInstanceUID)
    assert found is not None
    assert (found.patient, found.corrected) == (corrected, True)


def test_images_come_in_the_order_of_their_numbers(archive: Index, image: Image) -> None:
    first = image(InstanceNumber=10)
    shared = {
        keyword: first[keyword].value
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    }
    second = image(InstanceNumber=9, **shared)
    for made in (first, second):
        add(archive, made)
    found = archive.instances("STUDY", {"st.study_uid": [first.StudyInstanceUID]})
    assert [i.sop_uid for i in found] == [second.SOPInstanceUID, first.SOPInstanceUID]


def test_without_the_unique_key_nothing_is_named(archive: Index, image: Image) -> None:
    made = image()
    add(archive, made)
    assert archive.instances("SERIES", {"st.study_uid": [made.StudyInstanceUID]}) == []
    assert archive.find("1.2.3") is None


def test_old_dates_and_names_are_made_comparable() -> None:
    assert date_of("1993.08.22") == "19930822"
    assert date_of(None) == ""
    assert name_keys("YAMADA^Tarou=山田^太郎") == {
        "name_key": "yamada^tarou",
        "ideographic_key": "山田^太郎",
        "phonetic_key": "",
    }
