from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from labsim import Hospital
from labsim.errors import ConfigurationError, LabError
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION
from labsim.systems.pacs.storing import StoredInstance

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A clinic in a folder of a folder, so that it can be seen what gets out of it."""
    with Hospital(seed=7, path=tmp_path_factory.mktemp("around") / "state") as running:
        yield running


def files(hospital: Hospital) -> set[Path]:
    """Return every file in the hospital's folder and beside it."""
    return {path for path in hospital.path.parent.rglob("*") if path.is_file()}


def encoded(dataset: Dataset) -> bytes:
    """Return a data set as it travels, without preamble and meta information."""
    data = encode(dataset, *dataset.original_encoding)
    assert data
    return data


# What is taken


def test_an_image_is_kept_as_it_came(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image(PatientName="Łęcka^Żaneta")
    with dial(clinic, "pacs", CTImageStorage) as association:
        assert association.send_c_store(sent).Status == 0x0000
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert encoded(dcmread(path)) == encoded(sent)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_an_image_is_kept_in_the_syntax_it_came_in(
    clinic: Hospital, dial: Dial, image: Image, syntax: UID
) -> None:
    sent = image(syntax)
    with dial(clinic, "pacs", build_context(CTImageStorage, syntax)) as association:
        assert association.send_c_store(sent).Status == 0x0000
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    kept = dcmread(path)
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert encoded(kept) == encoded(sent)


def test_compressed_pixels_stay_compressed(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image()
    sent.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    with dial(clinic, "pacs", build_context(CTImageStorage, RLELossless)) as association:
        assert association.send_c_store(sent).Status == 0x0000
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).PixelData == sent.PixelData


@pytest.fixture
def replacing(clinic: Hospital) -> Iterator[None]:
    """Let a second image with the UID of the first take its place."""
    clinic.pacs.configure_duplicates("replace")
    yield
    clinic.pacs.configure_duplicates("keep")


@pytest.mark.usefixtures("replacing")
def test_another_image_with_the_uid_takes_the_place_of_the_old(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent = image(PixelData=b"\1" * 8)
    with dial(clinic, "pacs", CTImageStorage) as association:
        assert association.send_c_store(sent).Status == 0x0000
        sent.PixelData = b"\2" * 8
        assert association.send_c_store(sent).Status == 0x0000
    assert clinic.pacs.count(sent.StudyInstanceUID) == 1
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).PixelData == b"\2" * 8
    last = clinic.journal.events(source="pacs", sop_uid=sent.SOPInstanceUID)[-2]
    assert last.summary.startswith("image stored again, in place of the old")


@pytest.mark.usefixtures("replacing")
def test_what_follows_is_told_of_each_stored_image(
    clinic: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Queue[StoredInstance] = Queue()

    def stumble(stored: StoredInstance) -> None:
        raise LabError("no way there")

    monkeypatch.setattr(clinic.pacs._storing, "on_stored", [stumble, told.put])
    sent = image()
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        first = told.get(timeout=5)
        sent.PatientComments = "changed"
        association.send_c_store(sent)
        again = told.get(timeout=5)
        assert association.send_c_store(image(StudyInstanceUID="..")).Status == 0xC000
    assert [(each.header.SOPInstanceUID, each.calling) for each in (first, again)] == [
        (sent.SOPInstanceUID, "TOOLS")
    ] * 2
    assert (first.new, again.new) == (True, False)
    assert [clinic.pacs._files.path(first.file)] == clinic.pacs.paths(sent.StudyInstanceUID)
    assert told.empty()
    errors = clinic.journal.events(source="pacs", kind="error", sop_uid=sent.SOPInstanceUID)
    assert [e.summary for e in errors] == [
        f"after storing: no way there: {sent.SOPInstanceUID}"
    ] * 2


def test_the_same_again_changes_nothing(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image()
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
        written = path.stat().st_mtime_ns
        for policy in ("reject", "replace", "keep"):
            clinic.pacs.configure_duplicates(policy)
            assert association.send_c_store(sent).Status == 0x0000
    assert path.stat().st_mtime_ns == written
    texts = [event.summary for event in clinic.journal.events(sop_uid=sent.SOPInstanceUID)]
    again = "image sent again, the same as before: nothing changed"
    assert sum(text.startswith(again) for text in texts) == 3


def test_the_first_of_two_with_one_uid_is_kept(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image(PixelData=b"\1" * 8)
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        sent.PixelData = b"\2" * 8
        assert association.send_c_store(sent).Status == 0x0000
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).PixelData == b"\1" * 8
    texts = [event.summary for event in clinic.journal.events(sop_uid=sent.SOPInstanceUID)]
    kept = "image sent again with other content: the first is kept"
    assert sum(text.startswith(kept) for text in texts) == 1


def test_the_second_of_two_with_one_uid_may_be_rejected(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent = image(PixelData=b"\1" * 8)
    clinic.pacs.configure_duplicates("reject")
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        sent.PixelData = b"\2" * 8
        answer = association.send_c_store(sent)
    clinic.pacs.configure_duplicates("keep")
    assert answer.Status == 0x0111
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).PixelData == b"\1" * 8


def test_a_lost_image_is_taken_again(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image()
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
        path.unlink()
        assert association.send_c_store(sent).Status == 0x0000
    assert path.is_file()


def test_a_policy_that_is_not_there_is_refused(clinic: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="'keep', 'replace', 'reject'"):
        clinic.pacs.configure_duplicates("merge")


# What is refused


def test_the_same_image_in_another_series_is_refused(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent = image()
    first_series = sent.SeriesInstanceUID
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        sent.SeriesInstanceUID = make_uid("another series")
        answer = association.send_c_store(sent)
    assert answer.Status == 0x0111
    assert answer.ErrorComment == "The instance is in the archive in another series."
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).SeriesInstanceUID == first_series


def test_a_series_in_another_study_is_refused(clinic: Hospital, dial: Dial, image: Image) -> None:
    first = image()
    second = image(SeriesInstanceUID=first.SeriesInstanceUID, PatientID=first.PatientID)
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(first)
        assert association.send_c_store(second).Status == 0x0111
    assert clinic.pacs.count(second.StudyInstanceUID) == 0
    assert [row for row in clinic.pacs.table() if row[5] == 0] == []  # no study without a series


def test_a_study_of_another_patient_is_refused(clinic: Hospital, dial: Dial, image: Image) -> None:
    first = image()
    second = image(StudyInstanceUID=first.StudyInstanceUID, PatientID="SOMEBODY")
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(first)
        answer = association.send_c_store(second)
    assert answer.Status == 0xC001
    assert answer.ErrorComment == "The study is in the archive for another patient."
    assert clinic.pacs.patient("SOMEBODY") is None


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize("uid", ["../../evil", "/evil", "1.2/3", "..", "C:evil", "1..2"])
def test_a_uid_that_leads_elsewhere_is_refused(
    clinic: Hospital, dial: Dial, image: Image, keyword: str, uid: str
) -> None:
    before = files(clinic)
    with dial(clinic, "pacs", CTImageStorage) as association:
        answer = association.send_c_store(image(**{keyword: uid}))
        assert answer.get("Status") in (0xA900, 0xC000)
        assert association.is_established
    assert files(clinic) == before


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_image_without_a_place_is_refused(
    clinic: Hospital, dial: Dial, image: Image, keyword: str
) -> None:
    sent = image(**{keyword: ""})
    with dial(clinic, "pacs", CTImageStorage) as association:
        answer = association.send_c_store(sent)
    assert (answer.Status, answer.ErrorComment) == (0xA900, f"{keyword} is missing")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"\xff" * 200,
        lambda data: b"GET / HTTP/1.1\r\n\r\n" * 10,
        lambda data: data[: data.index(b"Silva") + 2],
        lambda data: data[:-3],
        lambda data: data[:-8],
    ],
    ids=["ones", "text", "in a name", "last pixels missing", "all pixels missing"],
)
def test_a_damaged_data_set_is_refused_and_the_association_lives_on(
    clinic: Hospital,
    dial: Dial,
    image: Image,
    damage: Callable[[bytes], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent, before = image(), files(clinic)
    data = damage(encoded(sent))
    with dial(clinic, "pacs", CTImageStorage) as association:
        with monkeypatch.context() as patch:  # the caller's encoder, so that these bytes go out
            patch.setattr("pynetdicom.association.encode", lambda *_: data)
            answer = association.send_c_store(sent)
        assert answer.Status == 0xC000
        assert files(clinic) == before
        assert association.send_c_store(sent).Status == 0x0000


# An odd length was padded with one byte, which is no loss.
@pytest.mark.parametrize("missing", [0, 2, 20])
def test_a_deflated_image_is_taken_whole_or_not_at_all(
    clinic: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    sent = image(DeflatedExplicitVRLittleEndian, ImageComments="deflated " * 100)
    data = encode(sent, False, True, deflated=True)
    assert data
    context = build_context(CTImageStorage, DeflatedExplicitVRLittleEndian)
    with dial(clinic, "pacs", context) as association, monkeypatch.context() as patch:
        patch.setattr("pynetdicom.association.encode", lambda *_: data[: len(data) - missing])
        answer = association.send_c_store(sent)
    assert answer.Status == (0xC000 if missing else 0x0000)
    for path in clinic.pacs.paths(sent.StudyInstanceUID):
        assert encoded(dcmread(path)) == encoded(sent)


def test_a_truncated_compressed_image_is_refused(
    clinic: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = image()
    sent.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    data = encoded(sent)[:-12]
    with (
        dial(clinic, "pacs", build_context(CTImageStorage, RLELossless)) as association,
        monkeypatch.context() as patch,
    ):
        patch.setattr("pynetdicom.association.encode", lambda *_: data)
        assert association.send_c_store(sent).Status == 0xC000
    assert clinic.pacs.count(sent.StudyInstanceUID) == 0


def test_another_image_than_announced_is_refused(
    clinic: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced, other = image(), image()
    data = encoded(other)
    with (
        dial(clinic, "pacs", CTImageStorage) as association,
        monkeypatch.context() as patch,
    ):
        patch.setattr("pynetdicom.association.encode", lambda *_: data)
        answer = association.send_c_store(announced)
    assert answer.Status == 0xA900
    assert clinic.pacs.count(other.StudyInstanceUID) == 0


@pytest.mark.parametrize("sop_class", ["1.2.826.0.1.3680043.8.498.1", "1.2.840.10008.5.1.1.27"])
def test_a_class_that_the_archive_does_not_have_is_not_accepted(
    clinic: Hospital, dial: Dial, image: Image, sop_class: str
) -> None:
    private = image(SOPClassUID=sop_class)
    with dial(clinic, "pacs", sop_class, CTImageStorage) as association:
        assert [c.abstract_syntax for c in association.rejected_contexts] == [sop_class]
        with pytest.raises(ValueError, match="No presentation context"):
            association.send_c_store(private)
        assert association.send_c_store(image()).Status == 0x0000


def test_the_desk_tells_which_file_was_not_sent(clinic: Hospital, tmp_path: Path) -> None:
    text = tmp_path / "letter.dcm"
    text.write_text("Dear colleague")
    mr = get_testdata_file("MR_small.dcm", download=False)
    answers = clinic.tools.storescu([text, tmp_path / "gone.dcm", str(mr)])
    assert dict(answers)["letter.dcm"] == "not sent: not a DICOM file"
    assert "No such file" in dict(answers)["gone.dcm"]
    assert dict(answers)["MR_small.dcm"] == "0x0000 Success"


# Disks


def fail_with(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("where", "number"),
    [("os.fsync", errno.ENOSPC), ("pathlib.Path.replace", errno.EROFS)],
)
def test_a_full_or_read_only_disk_is_answered_and_keeps_nothing(
    clinic: Hospital,
    dial: Dial,
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    number: int,
) -> None:
    sent, before = image(), files(clinic)
    with dial(clinic, "pacs", CTImageStorage) as association:
        with monkeypatch.context() as patch:
            patch.setattr(where, fail_with(number))
            answer = association.send_c_store(sent)
        assert answer.Status == 0xA700
        assert answer.ErrorComment == f"storage: {os.strerror(number)}"
        assert clinic.pacs.count(sent.StudyInstanceUID) == 0
        assert files(clinic) == before
        assert list((clinic.pacs.folder / "incoming").iterdir()) == []
        assert association.send_c_store(sent).Status == 0x0000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_answered_though_the_journal_is_on_it(
    hospital: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = image()
    with (
        Path("/dev/full").open("w") as file,
        Path("/dev/full").open("r+b", buffering=0) as payloads,
        dial(hospital, "pacs", CTImageStorage) as association,
        monkeypatch.context() as patch,
    ):
        patch.setattr(hospital.journal, "_file", file)
        patch.setattr(hospital.journal, "_payloads", payloads)
        patch.setattr("os.fsync", fail_with(errno.ENOSPC))
        assert association.send_c_store(sent).Status == 0xA700
        assert association.is_established
        hospital.journal.close()
    (event,) = hospital.journal.events(source="pacs", kind="error")
    assert event.summary == "image not stored: No space left on device"


@pytest.mark.usefixtures("replacing")
def test_a_failed_replacement_leaves_the_old_image(
    clinic: Hospital, dial: Dial, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = image(PixelData=b"\1" * 8, InstanceNumber=1)
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
        sent.PixelData, sent.InstanceNumber = b"\2" * 8, 2
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", fail_with(errno.EROFS))
            assert association.send_c_store(sent).Status == 0xA700
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert dcmread(path).PixelData == b"\1" * 8
    (found,) = clinic.tools.findscu(
        level="IMAGE", SOPInstanceUID=sent.SOPInstanceUID, InstanceNumber=""
    )
    assert found.InstanceNumber == 1


def test_an_index_that_cannot_grow_is_a_full_disk(
    hospital: Hospital, dial: Dial, image: Image
) -> None:
    first, second = image(), image(StudyDescription="x" * 60000)
    with dial(hospital, "pacs", CTImageStorage) as association:
        assert association.send_c_store(first).Status == 0x0000
        pages = hospital.pacs.db.value("PRAGMA page_count")
        hospital.pacs.db.value(f"PRAGMA max_page_count = {pages}")
        answer = association.send_c_store(second)
        assert (answer.Status, answer.ErrorComment) == (
            0xA700,
            "storage: pacs.sqlite cannot grow: the database or disk is full.",
        )
        assert hospital.pacs.count(second.StudyInstanceUID) == 0
        hospital.pacs.db.value("PRAGMA max_page_count = 100000")
        assert association.send_c_store(second).Status == 0x0000


# Restarts


def test_half_a_file_of_a_killed_process_is_gone_after_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        half = hospital.pacs.folder / "incoming" / "1.2.3.0badc0de"
    half.write_bytes(b"half of an image")
    with Hospital(path=tmp_path) as hospital:
        assert not half.exists()
        assert len(hospital.pacs.table()) == 0


def test_a_file_without_a_row_is_indexed_again(tmp_path: Path, dial: Dial, image: Image) -> None:
    sent = image()
    with Hospital(path=tmp_path) as hospital:
        with dial(hospital, "pacs", CTImageStorage) as association:
            association.send_c_store(sent)
        database = hospital.pacs.db.path
    with sqlite3.connect(database) as connection:  # as if killed between file and index
        for table in ("instances", "series", "studies", "patients"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    with Hospital(path=tmp_path) as hospital:
        assert hospital.pacs.count(sent.StudyInstanceUID) == 1
        (fetched,) = hospital.tools.getscu(sent.StudyInstanceUID)
        assert fetched.PixelData == sent.PixelData


def test_a_file_that_is_no_image_is_told_and_left(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        stray = hospital.pacs.folder / "files" / "holiday.dcm"
    stray.write_bytes(b"not DICOM at all")
    with Hospital(path=tmp_path) as hospital:
        (event,) = hospital.journal.events(source="pacs", kind="error")
        assert event.summary.startswith("file holiday.dcm belongs to no entry of the index")
    assert stray.exists()


# Who may


def test_who_is_not_registered_may_only_verify(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "pacs", VERIFICATION, calling="STRANGER") as association:
        assert association.send_c_echo().Status == 0x0000
    for wanted in (CTImageStorage, STUDY_ROOT_FIND, STUDY_ROOT_MOVE, STUDY_ROOT_GET):
        with dial(clinic, "pacs", VERIFICATION, wanted, calling="STRANGER") as association:
            assert association.is_rejected
            answer = association.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)


def test_a_wrong_called_title_is_rejected(clinic: Hospital, dial: Dial) -> None:
    for calling in ("TOOLS", "STRANGER"):
        with dial(clinic, "pacs", CTImageStorage, calling=calling, called="PASC") as association:
            answer = association.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)


def test_registering_and_removing_takes_effect_at_once(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    with dial(clinic, "pacs", CTImageStorage, calling="NEW") as association:
        assert association.is_rejected
    clinic.pacs.register_ae("NEW", host="desk", port=11112)
    with dial(clinic, "pacs", CTImageStorage, calling="NEW") as association:
        assert association.send_c_store(image()).Status == 0x0000
        clinic.pacs.remove_ae("NEW")  # the association is still open
        assert association.send_c_store(image()).Status == 0x0124
    with dial(clinic, "pacs", CTImageStorage, calling="NEW") as association:
        assert association.is_rejected


def test_who_may_not_store_may_still_query(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    clinic.pacs.register_ae("READER", host="desk", port=11112, may_store=False)
    sent = image()
    with dial(clinic, "pacs", CTImageStorage, STUDY_ROOT_FIND, calling="READER") as association:
        answer = association.send_c_store(sent)
        assert (answer.Status, answer.ErrorComment) == (0x0124, "READER may store: no")
        asked = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID="")
        statuses = [s.Status for s, _ in association.send_c_find(asked, STUDY_ROOT_FIND)]
        assert statuses[-1] == 0x0000
    assert clinic.pacs.count(sent.StudyInstanceUID) == 0


def test_who_may_not_query_may_still_store(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    clinic.pacs.register_ae("SENDER", host="desk", port=11112, may_query=False)
    sent, before = image(), clinic.journal.all()[-1].seq
    contexts = (CTImageStorage, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)
    asked = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=sent.StudyInstanceUID)
    with dial(clinic, "pacs", *contexts, calling="SENDER") as association:
        assert association.send_c_store(sent).Status == 0x0000
        ((status, _),) = list(association.send_c_find(asked, STUDY_ROOT_FIND))
        assert status.Status == 0x0124
        ((status, _),) = list(association.send_c_get(asked, STUDY_ROOT_GET))
        assert status.Status == 0x0124
        ((status, _),) = list(association.send_c_move(asked, "TOOLS", STUDY_ROOT_MOVE))
        assert status.Status == 0x0124
    events = clinic.journal.events(source="pacs", kind="error", after=before)
    assert [event.summary for event in events] == [
        "C-GET refused: SENDER may query: no",
        "C-MOVE to TOOLS refused: SENDER may query: no",
    ]


def test_an_mr_is_as_welcome_as_a_ct(clinic: Hospital, dial: Dial, image: Image) -> None:
    with dial(clinic, "pacs", MRImageStorage) as association:
        assert association.send_c_store(image(SOPClassUID=MRImageStorage)).Status == 0x0000
