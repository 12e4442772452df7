"""Key images: a document in the archive that says which images matter."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import KeyObjectSelectionDocumentStorage

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, NotFound

Store = Callable[..., list[FileDataset]]


def test_key_images_are_in_the_archive_and_shown_again(
    small_scans: None, peer: Callable[[str], Path]
) -> None:
    with Hospital(seed=7, site="community") as hospital:
        ws, exam = hospital.workstation, hospital.exam("CTTHORAX")
        opened = ws.open(exam.accession)
        chosen = [str(header.SOPInstanceUID) for header in opened.study.headers[1:3]]
        marked = ws.mark_key_images(*chosen, title="teaching", text="Knoten links", user="moritz")
        assert str(marked.key_images[0]) == "For Teaching: image 2, 3. Knoten links"
        note = hospital.tools.findscu(
            level="IMAGE",
            StudyInstanceUID=marked.study.study_uid,
            SOPClassUID=KeyObjectSelectionDocumentStorage,
        )
        assert [each.SOPInstanceUID for each in note] == [marked.key_images[0].sop_uid]
        path = next((hospital.path / "ws1").rglob(f"{marked.key_images[0].sop_uid}.dcm"))
        judged = subprocess.run(
            [peer("dciodvfy"), path], capture_output=True, text=True, check=False
        )
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []

        # Anybody else, elsewhere, and after the cache was cleared
        ws.close()
        ws.cache.clear()
        again = ws.open(exam.accession, user="anna")
        [found] = again.key_images
        assert (found.title, found.text) == ("For Teaching", "Knoten links")
        assert [str(image.SOPInstanceUID) for image in found.images] == chosen
        assert "Key images. For Teaching: image 2, 3. Knoten links" in str(again)
        assert len(again.images(1)) == len(opened.study.headers)  # the note itself does not hang

        assert hospital.settle()
        ws.trail.resend()
        seen = hospital.audit.search(event="110103", source="ws1")
        assert len(seen) == 3
        assert len(hospital.audit.search(event="110103", user="moritz")) == 1


def test_a_note_is_about_the_open_study(archive: Hospital, store: Store) -> None:
    ws = archive.workstation
    image, _ = store(archive, 1)
    other, _ = store(archive, 2)
    with pytest.raises(ConfigurationError, match="Nothing is open"):
        ws.mark_key_images(str(image.SOPInstanceUID))
    ws.open("K1")
    with pytest.raises(ConfigurationError, match="has to name an image"):
        ws.mark_key_images()
    with pytest.raises(NotFound, match="open study K1 has no image"):
        ws.mark_key_images(str(image.SOPInstanceUID), str(other.SOPInstanceUID))
    with pytest.raises(ConfigurationError, match="no title"):
        ws.mark_key_images(str(image.SOPInstanceUID), title="pretty")
    assert ws.reading is not None
    assert ws.reading.key_images == []


def test_a_note_that_the_archive_does_not_take_is_none(archive: Hospital, store: Store) -> None:
    ws = archive.workstation
    image, _ = store(archive, 1)
    ws.open("K1")
    archive.pacs.register_ae("WS1", host="ws1", port=104, may_store=False)
    with pytest.raises(DimseFailed, match="0x0124"):
        ws.mark_key_images(str(image.SOPInstanceUID))
    archive.pacs.stop_service("dicom")
    with pytest.raises(AssociationFailed):
        ws.mark_key_images(str(image.SOPInstanceUID))
    assert ws.reading is not None
    assert ws.reading.key_images == []
    assert len(ws.cache.uids(ws.reading.study.study_uid)) == 2


def test_a_key_image_that_was_rejected_is_not_shown(archive: Hospital, store: Store) -> None:
    ws = archive.workstation
    first, second = store(archive, 1)
    ws.open("K1")
    ws.mark_key_images(str(first.SOPInstanceUID), str(second.SOPInstanceUID))
    archive.pacs.reject(str(first.SOPInstanceUID))
    [note] = ws.open("K1").key_images
    assert [image.SOPInstanceUID for image in note.images] == [second.SOPInstanceUID]


def test_a_note_that_has_no_room_here_is_in_the_archive(archive: Hospital, store: Store) -> None:
    ws = archive.workstation
    image, _ = store(archive, 1)
    ws.open("K1")
    ws.cache.resize(ws.cache.used)
    marked = ws.mark_key_images(str(image.SOPInstanceUID))
    assert len(marked.key_images) == 1
    assert archive.pacs.sql("SELECT COUNT(*) FROM instances")[0][0] == 3
    assert len(ws.cache.uids(marked.study.study_uid)) == 2
