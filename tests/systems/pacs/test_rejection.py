from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, KeyObjectSelectionDocumentStorage
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_GET
from labsim.systems.pacs import commitment
from labsim.systems.pacs.key_objects import read_note
from labsim.wire.network import free_port

Dial = Callable[..., AbstractContextManager[Association]]
Station = Callable[..., AbstractContextManager[Any]]
Image = Callable[..., FileDataset]
Send = Callable[..., list[int]]
Heard = Callable[[Hospital, str], None]
Keys = Callable[..., Dataset]

STUDY, OTHER = make_uid("rejected study"), make_uid("study left alone")
SERIES = [make_uid("rejected series", number) for number in range(2)]


@pytest.fixture
def images(image: Image) -> list[FileDataset]:
    """Three images of one study in two series, and one of another study of the patient."""
    shared = {"PatientID": "P1", "StudyInstanceUID": STUDY, "AccessionNumber": "A1"}
    return [
        *(image(SeriesInstanceUID=SERIES[n // 2], InstanceNumber=n, **shared) for n in range(3)),
        image(PatientID="P1", StudyInstanceUID=OTHER),
    ]


@pytest.fixture
def archive(send: Send, images: list[FileDataset]) -> Iterator[Hospital]:
    """A clinic with these images, and a workstation that is down."""
    with Hospital(seed=7) as running:
        running.pacs.register_ae("READER", host="127.0.0.1", port=free_port())
        assert send(running, *images) == [0, 0, 0, 0]
        yield running


def counts(hospital: Hospital, dial: Dial, keys: Keys, calling: str = "TOOLS") -> tuple[int, ...]:
    """Return how many studies, series and instances a query finds of the patient."""
    names = [f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")]
    identifier = keys(QueryRetrieveLevel="PATIENT", PatientID="P1", **dict.fromkeys(names, ""))
    with dial(hospital, "pacs", PATIENT_ROOT_FIND, calling=calling) as association:
        answers = [a for _, a in association.send_c_find(identifier, PATIENT_ROOT_FIND) if a]
    return tuple(int(answers[0][name].value) for name in names) if answers else ()


def fetch(hospital: Hospital, dial: Dial, keys: Keys, calling: str) -> list[str]:
    """Return the SOP Instance UIDs that a C-GET of the study brings."""
    got: list[str] = []

    def keep(event: evt.Event) -> int:
        got.append(str(event.dataset.SOPInstanceUID))
        return 0x0000

    identifier = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    classes = (CTImageStorage, KeyObjectSelectionDocumentStorage)
    with dial(
        hospital,
        "pacs",
        STUDY_ROOT_GET,
        *classes,
        calling=calling,
        roles=tuple(build_role(sop_class, scp_role=True) for sop_class in classes),
        handlers=((evt.EVT_C_STORE, keep),),
    ) as association:
        list(association.send_c_get(identifier, STUDY_ROOT_GET))
    return got


def note_file(hospital: Hospital, note_uid: str) -> Path:
    row = hospital.pacs.db.row("SELECT file FROM instances WHERE sop_uid = ?", note_uid)
    assert row is not None
    return hospital.pacs.folder / "files" / str(row["file"])


# What is hidden


@pytest.mark.parametrize(
    ("uid", "left"),
    [("image", (2, 3, 3)), ("series", (2, 2, 2)), ("study", (1, 1, 1))],
)
def test_what_is_rejected_is_in_no_answer_and_in_no_count(
    archive: Hospital,
    dial: Dial,
    keys: Keys,
    images: list[FileDataset],
    uid: str,
    left: tuple[int, ...],
) -> None:
    assert counts(archive, dial, keys) == (2, 3, 4)
    wanted = {"image": images[0].SOPInstanceUID, "series": SERIES[0], "study": STUDY}[uid]
    archive.pacs.reject(wanted, text="blurred")
    assert counts(archive, dial, keys) == left
    got = fetch(archive, dial, keys, "TOOLS")
    assert len(got) == left[2] - 1
    assert images[0].SOPInstanceUID not in got
    files = [dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in archive.pacs.paths(STUDY)]
    assert images[0].SOPInstanceUID in files  # it is kept all the same


def test_a_patient_of_whom_all_is_rejected_is_not_found(
    archive: Hospital, dial: Dial, keys: Keys
) -> None:
    archive.pacs.reject(STUDY, OTHER, reason="safety")
    assert counts(archive, dial, keys) == ()
    assert archive.tools.findscu(PatientID="P1") == []


def test_who_has_the_right_sees_all_with_the_note(
    archive: Hospital, dial: Dial, keys: Keys, images: list[FileDataset]
) -> None:
    [note] = archive.pacs.reject(images[0].SOPInstanceUID)
    archive.pacs.register_ae("QC", host="qc", port=104)
    assert len(fetch(archive, dial, keys, "QC")) == 2
    archive.pacs.visibility.grant("QC")
    assert set(fetch(archive, dial, keys, "QC")) == {
        note,
        *(i.SOPInstanceUID for i in images[:3]),
    }
    assert counts(archive, dial, keys, "QC") == (2, 4, 5)
    archive.pacs.visibility.revoke("QC")
    assert len(fetch(archive, dial, keys, "QC")) == 2
    with pytest.raises(ConfigurationError, match="No AE title 'NOBODY'"):
        archive.pacs.visibility.grant("NOBODY")


def test_what_is_rejected_goes_on_no_disc(
    archive: Hospital, images: list[FileDataset], tmp_path: Path
) -> None:
    archive.pacs.reject(images[0].SOPInstanceUID)
    disc = archive.pacs.export(tmp_path / "disc", study_uids=[STUDY], web=False)
    assert {uid for _, uid in disc.files} == {i.SOPInstanceUID for i in images[1:3]}


def test_nobody_is_promised_what_is_rejected(archive: Hospital, images: list[FileDataset]) -> None:
    archive.pacs.reject(images[0].SOPInstanceUID)
    references = [(str(CTImageStorage), str(i.SOPInstanceUID)) for i in images[:2]]
    committed, failed = commitment.judge(
        references,
        archive.pacs._index,
        archive.pacs._files,
        archive.pacs._rejections.is_rejected,
    )
    assert committed == [references[1]]
    assert failed == [(references[0], commitment.NO_SUCH_INSTANCE)]


def test_a_hospital_may_show_what_was_rejected_for_quality(
    archive: Hospital, dial: Dial, keys: Keys, images: list[FileDataset]
) -> None:
    archive.pacs.reject(images[0].SOPInstanceUID)
    archive.pacs.show_rejected("quality", hide=False)
    assert len(fetch(archive, dial, keys, "TOOLS")) == 4  # with the note
    archive.pacs.reject(images[1].SOPInstanceUID, reason="safety")
    assert len(fetch(archive, dial, keys, "TOOLS")) == 3


def test_rejections_hold_over_a_restart(tmp_path: Path, send: Send, image: Image) -> None:
    sent = image()
    with Hospital(path=tmp_path) as hospital:
        send(hospital, sent)
        hospital.pacs.reject(sent.StudyInstanceUID, reason="worklist")
        hospital.stop()
        hospital.start()
        assert hospital.tools.findscu(StudyInstanceUID=sent.StudyInstanceUID) == []


# The note


@pytest.mark.parametrize(
    ("reason", "title"),
    [
        ("quality", ("113001", "Rejected for Quality Reasons")),
        ("safety", ("113037", "Rejected for Patient Safety Reasons")),
        ("worklist", ("113038", "Incorrect Modality Worklist Entry")),
        ("expired", ("113039", "Data Retention Policy Expired")),
        ("113037", ("113037", "Rejected for Patient Safety Reasons")),
    ],
)
def test_the_title_of_a_note_says_why(
    archive: Hospital, images: list[FileDataset], reason: str, title: tuple[str, str]
) -> None:
    [uid] = archive.pacs.reject(SERIES[0], reason=reason, text="so it is")
    note = dcmread(note_file(archive, uid))
    concept = note.ConceptNameCodeSequence[0]
    assert (concept.CodeValue, concept.CodeMeaning) == title
    assert concept.CodingSchemeDesignator == "DCM"
    assert read_note(note) == (title[0], "so it is", [i.SOPInstanceUID for i in images[:2]])
    assert (note.StudyInstanceUID, note.PatientID, note.AccessionNumber) == (STUDY, "P1", "A1")


def test_the_validator_finds_no_error_in_a_note(
    hospital: Hospital, small_scans: None, peer: Callable[[str], Path]
) -> None:
    exam = hospital.exam(name="Ångström^Åse")
    assert exam.procedure is not None
    uids = [str(image.SOPInstanceUID) for image in exam.images]
    notes = [
        *hospital.pacs.reject(uids[0], modifier="motion", text="Patientin atmet, zu früh"),
        *hospital.pacs.reject(uids[1], reason="worklist"),
        hospital.pacs.key_images(exam.procedure.study_uid, uids[2:], "referrer", "here"),
    ]
    for uid in notes:
        checked = subprocess.run(
            [peer("dciodvfy"), note_file(hospital, uid)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Error" not in checked.stderr
        assert "KeyObjectSelectionDocument" in checked.stderr
    content = dcmread(note_file(hospital, notes[0])).ContentSequence
    modifier = content[0]
    assert modifier.ConceptNameCodeSequence[0].CodeValue == "113011"
    assert modifier.ConceptCodeSequence[0].CodeMeaning == "Motion blur"
    images = [item for item in content if item.ValueType == "IMAGE"]
    assert images
    # Their purpose is the title of the note, and not said again (PS3.16 TID 2010).
    assert [item for item in images if "ConceptNameCodeSequence" in item] == []


def test_every_study_gets_a_note_of_its_own(archive: Hospital) -> None:
    assert len(archive.pacs.reject(STUDY, OTHER)) == 2
    assert {row[0] for row in archive.pacs.rejected()} >= {"A1"}
    assert len(archive.pacs.rejected()) == 4


def test_a_note_goes_to_those_who_have_the_images_and_to_nobody_else(
    archive: Hospital, station: Station, images: list[FileDataset], heard: Heard
) -> None:
    with station(archive, "READER") as reader, station(archive, "OTHER") as other:
        archive.pacs.routes.add("one study", "READER", StudyInstanceUID=STUDY)
        archive.pacs.routes.study(STUDY)
        heard(archive, "images sent to READER: one study")
        archive.pacs.retry()
        assert len(reader.images) == 3
        [note] = archive.pacs.reject(images[0].SOPInstanceUID)
        heard(archive, "1 images sent to READER: rejection note")
        archive.pacs.reject(OTHER)
        archive.pacs.retry()
    assert reader.uids[3:] == [note]
    assert other.images == []


@pytest.mark.parametrize(
    ("uids", "more", "why"),
    [
        (["1.2.3"], {}, "no study, series or instance '1.2.3'"),
        ([STUDY], {"reason": "ugly"}, "'ugly' is no reason to reject"),
        ([STUDY], {"modifier": "ugly"}, "'ugly' is no fault of quality"),
        ([STUDY], {"reason": "safety", "modifier": "motion"}, "the reason is 'safety'"),
    ],
)
def test_what_cannot_be_rejected(
    archive: Hospital, uids: list[str], more: dict[str, str], why: str
) -> None:
    with pytest.raises((NotFound, ConfigurationError), match=why):
        archive.pacs.reject(*uids, **more)
    assert len(archive.pacs.rejected()) == 0


def test_what_is_rejected_is_not_rejected_again(archive: Hospital) -> None:
    archive.pacs.reject(STUDY)
    with pytest.raises(NotFound, match="nothing to reject"):
        archive.pacs.reject(STUDY)


# Notes that come


def foreign_note(hospital: Hospital, uid: str, new_uid: str, **changes: str) -> FileDataset:
    """Return a note of the archive as another system would have made it."""
    note = dcmread(note_file(hospital, uid))
    note.SOPInstanceUID = note.file_meta.MediaStorageSOPInstanceUID = new_uid
    note.SeriesInstanceUID = make_uid("series of", new_uid)
    for keyword, value in changes.items():
        setattr(note, keyword, value)
    return note


def test_a_note_of_a_scanner_is_honoured(
    archive: Hospital, send: Send, images: list[FileDataset], dial: Dial, keys: Keys
) -> None:
    [own] = archive.pacs.reject(images[0].SOPInstanceUID, text="movement")
    archive.pacs.unreject(images[0].SOPInstanceUID, reason="for the test")
    assert len(fetch(archive, dial, keys, "TOOLS")) == 3
    assert send(archive, foreign_note(archive, own, make_uid("foreign note"))) == [0x0000]
    assert len(fetch(archive, dial, keys, "TOOLS")) == 2
    last = list(archive.pacs.rejected())[-1]
    assert last[3:6] == ("Rejected for Quality Reasons", "movement", "CT1")


def test_a_note_may_come_before_its_images(
    archive: Hospital, send: Send, image: Image, images: list[FileDataset], dial: Dial, keys: Keys
) -> None:
    late = image(PatientID="P1", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES[1])
    [own] = archive.pacs.reject(images[0].SOPInstanceUID)
    note = foreign_note(archive, own, make_uid("early note"))
    series = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = late.SOPInstanceUID
    assert send(archive, note, late) == [0x0000, 0x0000]
    assert late.SOPInstanceUID not in fetch(archive, dial, keys, "TOOLS")


def test_a_note_hides_nothing_of_another_study(
    archive: Hospital, send: Send, image: Image, images: list[FileDataset], heard: Heard
) -> None:
    stranger = image(PatientID="P2")
    send(archive, stranger)
    [own] = archive.pacs.reject(images[0].SOPInstanceUID)
    note = foreign_note(archive, own, make_uid("wrong note"))
    series = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = stranger.SOPInstanceUID
    send(archive, note)
    heard(archive, "rejection note of CT1 ignored: it names images of another study")
    assert len(archive.tools.findscu(PatientID="P2")) == 1


def test_a_key_image_note_rejects_nothing(
    archive: Hospital, dial: Dial, keys: Keys, images: list[FileDataset]
) -> None:
    note = archive.pacs.key_images(STUDY, [images[1].SOPInstanceUID], "teaching", "look")
    assert len(archive.pacs.rejected()) == 0
    got = fetch(archive, dial, keys, "TOOLS")
    assert set(got) == {note, *(i.SOPInstanceUID for i in images[:3])}
    assert read_note(dcmread(note_file(archive, note)))[0] == "113004"
    with pytest.raises(NotFound, match=r"has no image 1\.2\.3"):
        archive.pacs.key_images(STUDY, ["1.2.3"])
    with pytest.raises(ConfigurationError, match="'nice' is no title of a key image note"):
        archive.pacs.key_images(STUDY, [images[1].SOPInstanceUID], "nice")


def test_the_same_image_again_stays_rejected_unless_its_time_was_over(
    archive: Hospital, send: Send, images: list[FileDataset], dial: Dial, keys: Keys
) -> None:
    archive.pacs.reject(images[0].SOPInstanceUID, reason="quality")
    archive.pacs.reject(images[1].SOPInstanceUID, reason="expired")
    send(archive, images[0], images[1])
    assert set(fetch(archive, dial, keys, "TOOLS")) == {i.SOPInstanceUID for i in images[1:3]}


# Taking back


def test_a_rejection_is_taken_back(
    archive: Hospital, images: list[FileDataset], dial: Dial, keys: Keys, heard: Heard
) -> None:
    archive.pacs.reject(STUDY)
    assert archive.pacs.unreject(images[0].SOPInstanceUID, reason="it was fine") == 1
    assert fetch(archive, dial, keys, "TOOLS") == [images[0].SOPInstanceUID]
    assert archive.pacs.unreject(STUDY, reason="all of it") == 2
    assert set(fetch(archive, dial, keys, "TOOLS")) == {i.SOPInstanceUID for i in images[:3]}
    assert {row[7] for row in archive.pacs.rejected()} == {"taken back"}
    heard(archive, "rejection of 2 images taken back: all of it")
    with pytest.raises(NotFound, match="is rejected"):
        archive.pacs.unreject(STUDY, reason="again")
    with pytest.raises(ConfigurationError, match="for a reason"):
        archive.pacs.unreject(STUDY, reason=" ")
