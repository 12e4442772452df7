"""Key images: what a reader points out in a study, as a document in the archive (IHE KIN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from pydicom.dataset import Dataset

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.facility import Facility
from labsim.systems.pacs.key_objects import (
    KEY_IMAGE_TITLES,
    NoteNumbers,
    chosen,
    is_note,
    read_note,
    write_note,
)
from labsim.systems.workstation.hanging import Shown

SERIES_NUMBER = 9500  # no scanner counts that far, and the notes of the archive begin at 9000
_TITLES = {code.value: code.meaning for code in KEY_IMAGE_TITLES.values()}


@dataclass(frozen=True)
class KeyImages:
    """One key image note.

    Parameters
    ----------
    sop_uid : str
        Of the document.
    title : str
        Its title (PS3.16 CID 7010), such as ``"Of Interest"``.
    text : str
        Key Object Description.
    images : tuple of Dataset
        The images that it points out and that are shown, without pixels.
    """

    sop_uid: str
    title: str
    text: str
    images: tuple[Dataset, ...]

    def __str__(self) -> str:
        numbers = ", ".join(str(image.get("InstanceNumber", "?")) for image in self.images)
        return f"{self.title}: image {numbers or 'none that is shown'}. {self.text}".strip()


def key_images_of(study: Shown) -> list[KeyImages]:
    """Return the key image notes of a study; rejection notes are none."""
    shown = {str(header.SOPInstanceUID): header for header in study.headers}
    notes = []
    for document in study.documents:
        title, text, uids = read_note(document) if is_note(document) else ("", "", [])
        if title in _TITLES:
            images = tuple(shown[uid] for uid in uids if uid in shown)
            notes.append(KeyImages(str(document.SOPInstanceUID), _TITLES[title], text, images))
    return notes


def note_about(
    study: Shown,
    sop_uids: Sequence[str],
    title: str,
    text: str,
    *,
    names: tuple[object, ...],
    number: int,
    now: datetime,
    facility: Facility,
) -> Dataset:
    """Write a key image note.

    Parameters
    ----------
    study : Shown
        The study that is open.
    sop_uids : sequence of str
        The images to point out.
    title : str
        A word of `KEY_IMAGE_TITLES` or its code.
    text : str
        In the reader's own words.
    names : tuple
        What the document's UIDs are made of.
    number : int
        The how manieth it is.
    now : datetime
        When.
    facility : Facility
        Whose institution it names.

    Raises
    ------
    ConfigurationError
        If no image is named, or there is no such title.
    NotFound
        If the study has no such image.
    """
    code = chosen(KEY_IMAGE_TITLES, title, "title of a key image note")
    if not sop_uids:
        raise ConfigurationError(
            "A key image note has to name an image.", "Give SOP Instance UIDs of the open study."
        )
    shown = {str(header.SOPInstanceUID): header for header in study.headers}
    return write_note(
        code,
        [shown[uid].copy() for uid in wanted_of(study, sop_uids)],
        NoteNumbers(make_uid("series", *names), make_uid(*names), SERIES_NUMBER + number),
        now,
        institution=facility.institution,
        text=text,
    )


def wanted_of(study: Shown, sop_uids: Sequence[str]) -> list[str]:
    """Return the UIDs of the images that something is to be said about, each once.

    All images of the study if none is named.

    Raises
    ------
    NotFound
        If the study has no such image.
    """
    shown = [str(header.SOPInstanceUID) for header in study.headers]
    missing = [uid for uid in sop_uids if uid not in shown]
    if missing:
        raise NotFound(
            f"The open study {study.accession} has no image {', '.join(missing)}.",
            "An object is about images of one study; open the other one first.",
        )
    return list(dict.fromkeys(sop_uids)) or shown


def encoded(document: Dataset) -> bytes:
    """Return a document as the bytes of its file."""
    buffer = BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
