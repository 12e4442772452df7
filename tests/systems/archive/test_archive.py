"""The archive as a second store, set up in its own way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import DimseFailed, LabError

Image = Callable[..., FileDataset]
Put = Callable[..., list[int]]


def other(image: Image, first: FileDataset) -> FileDataset:
    """Make an image with the UIDs of another and other pixels."""
    uids = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID")
    return image(**{keyword: first[keyword].value for keyword in uids}, PixelData=bytes(8))


def test_the_archive_listens_beside_the_pacs(town: Hospital) -> None:
    found = {(e.protocol, str(e.address), e.title) for e in town.archive.endpoints}
    assert ("dicom", "archive:104", "ARCHIVE") in found
    assert ("mllp", "archive:2575", "ARCHIVE") in found
    assert set(town.archive.endpoints) <= set(town.endpoints())


def test_a_university_hospital_has_one_too_and_a_clinic_says_that_it_has_none(
    hospital: Hospital,
) -> None:
    with Hospital(site="university") as large:
        assert large.archive.name == "archive"
    with pytest.raises(LabError, match="no archive"):
        _ = hospital.archive


def test_what_is_stored_is_found_and_sent(town: Hospital, image: Image, put: Put) -> None:
    one = image()
    assert put(town, one) == [0x0000]
    uid = str(one.StudyInstanceUID)
    (answer,) = town.tools.findscu("archive", StudyInstanceUID=uid)
    assert answer.RetrieveAETitle == "ARCHIVE"
    (moved,) = town.tools.movescu(uid, system="archive")
    assert moved.PixelData == one.PixelData
    assert town.tools.findscu("pacs", StudyInstanceUID=uid) == []
    assert town.archive.count(uid) == 1
    assert [e.source for e in town.journal.events() if "image stored" in e.summary] == ["archive"]


def test_the_real_findscu_finds_it(
    town: Hospital, image: Image, put: Put, peer: Callable[[str], Path]
) -> None:
    one = image()
    put(town, one)
    place = next(e.local for e in town.archive.endpoints if e.protocol == "dicom")
    to = ["-v", "-S", "-aet", "TOOLS", "-aec", "ARCHIVE", place.host, str(place.port)]
    wanted = ("QueryRetrieveLevel=STUDY", f"StudyInstanceUID={one.StudyInstanceUID}", "PatientID")
    keys = [part for key in wanted for part in ("-k", key)]
    done = subprocess.run(
        [str(peer("findscu")), *to, *keys],
        capture_output=True,
        text=True,
        timeout=30,
        env={"TCP_NODELAY": "1"},
    )
    assert str(one.PatientID) in done.stdout + done.stderr


def test_scanners_do_not_store_here(
    town: Hospital, dial: Callable[..., AbstractContextManager[Association]]
) -> None:
    with dial(town, "archive", CTImageStorage, calling="CT1") as association:
        assert association.is_rejected
    assert [row[0] for row in town.archive.ae_titles()] == ["PACS", "TOOLS"]
    assert "ARCHIVE" in [row[0] for row in town.pacs.ae_titles()]


def test_another_content_with_the_same_uid_is_refused_here_and_kept_out_quietly_at_the_pacs(
    town: Hospital, image: Image, put: Put
) -> None:
    one = image()
    changed = other(image, one)
    assert put(town, one, changed, one) == [0x0000, 0x0111, 0x0000]
    assert put(town, one, changed, to="pacs", calling="TOOLS") == [0x0000, 0x0000]


def test_queries_here_must_be_hierarchical(town: Hospital) -> None:
    with pytest.raises(DimseFailed, match="A900"):
        town.tools.findscu("archive", level="SERIES", PatientID="K1")
    assert town.tools.findscu("pacs", level="SERIES", PatientID="K1") == []


def test_its_audit_messages_and_tables_bear_its_own_name(
    town: Hospital, image: Image, put: Put
) -> None:
    put(town, image())
    assert town.archive.table().caption == "Studies in ARCHIVE"
    town.settle()
    events = [entry[2] for entry in town.audit.search(source="archive", limit=20)]
    assert "DICOM Instances Transferred" in events


def test_what_was_stored_and_configured_outlives_a_restart(
    tmp_path: Path, image: Image, put: Put
) -> None:
    one = image()
    with Hospital(site="community", path=tmp_path) as first:
        put(first, one)
        first.archive.configure_duplicates("replace")
    with Hospital(site="community", path=tmp_path) as again:
        assert again.archive.count(str(one.StudyInstanceUID)) == 1
        assert put(again, other(image, one)) == [0x0000]
