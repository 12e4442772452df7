"""DICOMweb from the desk: what a learner types, and what the archive answers."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import ConfigurationError, HttpFailed, NotFound, Unreachable

DATASETS = Path(__file__).parents[1] / "datasets"
SAMPLES = sorted(DATASETS.glob("*.dcm"))


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    """A clinic whose archive has every sample, stored over the web from the desk."""
    with Hospital(seed=7) as running:
        token = running.pacs.tokens.issue("desk", rights=("write",))
        answers = running.tools.stow(SAMPLES, token)
        assert [(row[0], row[2]) for row in answers] == [
            (sample.name, "stored") for sample in SAMPLES
        ]
        yield running


@pytest.fixture
def reader(clinic: Hospital) -> str:
    """A token with which to read."""
    return clinic.pacs.tokens.issue("reader")


def run(command: str, token: str) -> str:
    """Run a command line as it stands, with a token in the environment."""
    words = [word.replace("$TOKEN", token) for word in shlex.split(command)]
    line = [words[0], "--silent", "--noproxy", "*", *words[1:]]
    done = subprocess.run(line, capture_output=True, timeout=20, check=True, env=os.environ)
    return done.stdout.decode()


def command_of(caption: str) -> str:
    return caption[caption.index("curl ") :]


def test_a_search_gives_a_table_and_data_sets(clinic: Hospital, reader: str) -> None:
    found = clinic.tools.qido("/studies?PatientName=中村*&includefield=StudyDescription", reader)
    study = str(dcmread(DATASETS / "name-utf8.dcm").StudyInstanceUID)
    (row,) = found
    assert row[list(found.columns).index("StudyInstanceUID")] == study
    assert found.datasets[0].StudyInstanceUID == study
    assert "RetrieveURL" not in found.columns
    assert clinic.journal.events(source="desk", transaction="RAD-129")


def test_a_search_that_finds_nothing_is_an_empty_table(clinic: Hospital, reader: str) -> None:
    found = clinic.tools.qido("studies?PatientID=NOBODY", reader)
    assert (len(found), found.datasets) == (0, [])
    assert str(found).startswith("0 found")


def test_curl_does_the_same_as_a_search(
    clinic: Hospital, reader: str, peer: Callable[[str], Path]
) -> None:
    peer("curl")
    for path in ("/studies?PatientName=なかむら^*", "/studies?PatientName=No Body"):
        found = clinic.tools.qido(path, reader)
        answered = run(command_of(found.caption), reader)
        assert [str(d.StudyInstanceUID) in answered for d in found.datasets] == [True] * len(found)
        assert bool(found) == bool(answered)


def test_what_is_retrieved_comes_as_bytes_and_as_data_sets(clinic: Hospital, reader: str) -> None:
    stored = dcmread(DATASETS / "name-utf8.dcm")
    study = f"/studies/{stored.StudyInstanceUID}"
    found = clinic.tools.wado(study, reader)
    assert [row[1] for row in found] == ["application/dicom"]
    assert found.datasets == [stored]
    assert dcmread(BytesIO(found.parts[0])) == stored
    (described,) = clinic.tools.wado(f"{study}/metadata", reader).datasets
    assert (described.PatientName, described.Rows) == (stored.PatientName, stored.Rows)
    accept = "image/png"
    (picture,) = clinic.tools.wado(f"{study}/thumbnail", reader, accept=accept).parts
    assert picture.startswith(b"\x89PNG")
    assert clinic.journal.events(source="desk", transaction="RAD-107")


def test_curl_does_the_same_as_retrieving(clinic: Hospital, reader: str, tmp_path: Path) -> None:
    study = dcmread(DATASETS / "name-utf8.dcm").StudyInstanceUID
    accept = 'multipart/related; type="application/octet-stream"'
    found = clinic.tools.wado(f"/studies/{study}/bulkdata", reader, accept=accept)
    file = tmp_path / "answer"
    run(command_of(found.caption).replace("FILE", str(file)), reader)
    assert found.parts[0] in file.read_bytes()


def test_curl_does_the_same_as_storing(hospital: Hospital, peer: Callable[[str], Path]) -> None:
    peer("curl")
    token = hospital.pacs.tokens.issue("desk", rights=("write",))
    first, second = SAMPLES[:2]
    table = hospital.tools.stow([first], token)
    answered = run(command_of(table.caption).replace("FILE", str(second)), token)
    assert str(dcmread(second).SOPInstanceUID) in answered


def test_each_file_has_its_answer(clinic: Hospital, tmp_path: Path) -> None:
    token = clinic.pacs.tokens.issue("desk", rights=("write",))
    (tmp_path / "notes.txt").write_text("no image")
    wanted = dcmread(SAMPLES[0])
    other = next(s for s in SAMPLES if dcmread(s).StudyInstanceUID != wanted.StudyInstanceUID)
    study = str(wanted.StudyInstanceUID)
    answers = clinic.tools.stow([SAMPLES[0], other, tmp_path / "notes.txt"], token, study_uid=study)
    assert [tuple(row) for row in answers] == [
        (SAMPLES[0].name, wanted.SOPInstanceUID, "stored"),
        (other.name, dcmread(other).SOPInstanceUID, "0xA900 Data set does not match SOP Class"),
        ("notes.txt", "", "not sent: not a DICOM file"),
    ]
    (answer,) = clinic.tools.stow([other], token, study_uid=study)
    assert answer[2].startswith("0xA900")


def test_what_is_wrong_is_said_in_a_sentence(clinic: Hospital, reader: str, tmp_path: Path) -> None:
    tools = clinic.tools
    with pytest.raises(HttpFailed, match="pacs answered GET /studies with 401") as refused:
        tools.qido("/studies")
    assert refused.value.status == 401
    with pytest.raises(HttpFailed, match=r"403 Forbidden: The token of reader has no right"):
        tools.stow(SAMPLES[:1], reader)
    with pytest.raises(HttpFailed, match="400 Bad Request: 'Colour' is no attribute"):
        tools.qido("/studies?Colour=red", reader)
    with pytest.raises(NotFound, match=r"'ris' speaks DICOMweb\. Use pacs\."):
        tools.qido("/studies", reader, system="ris")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        tools.stow([tmp_path / "nothing.dcm"], reader)
    with pytest.raises(ConfigurationError, match="no DICOM file"):
        tools.stow([], reader)


def test_a_service_that_is_down_is_said(hospital: Hospital) -> None:
    hospital.pacs.stop_service("dicomweb")
    with pytest.raises((Unreachable, NotFound)):
        hospital.tools.qido("/studies", "any")
