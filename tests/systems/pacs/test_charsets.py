"""Names of the world: stored, found and answered in the character sets that people use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from labsim import Hospital
from labsim.ids import make_uid
from labsim.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]

NAMED = [path for path in map(Path, get_charset_files("*.dcm")) if "SQEncoding" not in path.name]


@pytest.fixture(scope="module")
def clinic(dial: Dial) -> Iterator[Hospital]:
    """A clinic with a patient of each of pydicom's files, named after it."""
    with Hospital(seed=7) as running:
        for path in NAMED:
            sent = dcmread(path)
            sent.PatientID = path.stem
            sent.SOPInstanceUID = make_uid("charset instance", path.name)
            sent.StudyInstanceUID = make_uid("charset study", path.name)
            sent.SeriesInstanceUID = make_uid("charset series", path.name)
            with dial(running, "pacs", sent.SOPClassUID) as association:
                assert association.send_c_store(sent).Status == 0x0000
        yield running


def ask(hospital: Hospital, dial: Dial, charset: list[str], name: str) -> list[Dataset]:
    identifier = Dataset()
    if charset:
        identifier.SpecificCharacterSet = charset
    identifier.QueryRetrieveLevel = "PATIENT"
    identifier.PatientName, identifier.PatientID = name, ""
    with dial(hospital, "pacs", PATIENT_ROOT_FIND) as association:
        answers = list(association.send_c_find(identifier, PATIENT_ROOT_FIND))
    assert answers[-1][0].Status == 0x0000
    return [answer for _, answer in answers if answer is not None]


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.name)
def test_a_name_is_found_in_its_own_character_set(clinic: Hospital, dial: Dial, path: Path) -> None:
    stored = dcmread(path)
    charset = stored.SpecificCharacterSet
    charset = [charset] if isinstance(charset, str) else list(charset)
    name = str(stored.PatientName)
    for group in {name, *name.split("=")}:
        found = [each for each in ask(clinic, dial, charset, group) if each.PatientID == path.stem]
        assert [str(each.PatientName) for each in found] == [name]
        answered = found[0].SpecificCharacterSet
        assert ([answered] if isinstance(answered, str) else list(answered)) == charset


@pytest.mark.parametrize("path", NAMED, ids=lambda path: path.name)
def test_a_name_is_found_in_unicode(clinic: Hospital, dial: Dial, path: Path) -> None:
    name = str(dcmread(path).PatientName)
    found = ask(clinic, dial, ["ISO_IR 192"], name)
    assert path.stem in {each.PatientID for each in found}


def test_a_name_that_the_question_could_not_spell_comes_in_unicode(
    clinic: Hospital, dial: Dial
) -> None:
    (found,) = ask(clinic, dial, ["ISO_IR 100"], "Yamada^T*")
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName.ideographic == "山田^太郎"


# As long as ISO_IR 192, which is what the text is really in.
LIES = [" " * 10, "KLINGON IR", "\\ISO_IR 99"]


@pytest.mark.parametrize("lie", LIES)
def test_a_question_in_a_wrong_character_set_is_answered(
    clinic: Hospital, dial: Dial, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName, identifier.PatientID = "Äneas^Rüdiger", ""
    with dial(clinic, "pacs", STUDY_ROOT_FIND) as association:
        with monkeypatch.context() as patch:
            patch.setattr("pynetdicom.association.encode", lying(lie))
            answers = association.send_c_find(identifier, STUDY_ROOT_FIND)
        found = [answer for _, answer in answers if answer is not None]
    assert [answer.PatientID for answer in found] == ["chrGerm"]
    assert found[0].SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("lie", LIES)
def test_an_unreadable_name_is_kept_and_told_of(
    clinic: Hospital, dial: Dial, image: Image, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = image(PatientName="Größe^Anna")
    with dial(clinic, "pacs", CTImageStorage) as association, monkeypatch.context() as patch:
        patch.setattr("pynetdicom.association.encode", lying(lie))
        assert association.send_c_store(sent).Status == 0x0000
    (event,) = clinic.journal.events(source="pacs", kind="error", sop_uid=sent.SOPInstanceUID)
    assert event.summary.startswith("indexed as far as it can be read: ")
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    assert "Größe^Anna".encode() in path.read_bytes()
    found = ask(clinic, dial, ["ISO_IR 192"], "größe*")
    assert sent.PatientID in {each.PatientID for each in found}


def lying(lie: str) -> Callable[..., bytes]:
    """Return an encoder that names another character set than the one it writes."""

    def encoder(dataset: Dataset, *syntax: bool) -> bytes:
        data = encode(dataset, *syntax)
        assert data
        return data.replace(b"ISO_IR 192", lie.encode(), 1)

    return encoder
