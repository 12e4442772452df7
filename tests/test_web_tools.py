"""DICOMweb from the desk: what a learner types, and what the archive answers."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from importlib.resources import files
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


def test_a_study_is_retrieved_as_it_was_stored(clinic: Hospital, reader: str) -> None:
    sample = dcmread(DATASETS / "thorax-1.dcm")
    path = f"/studies/{sample.StudyInstanceUID}/series/{sample.SeriesInstanceUID}"
    came = clinic.tools.wado(path, reader)
    by_uid = {str(image.SOPInstanceUID): image for image in came.datasets}
    assert by_uid[str(sample.SOPInstanceUID)] == sample
    assert [(row[1], row[3]) for row in came] == [("application/dicom", uid) for uid in by_uid]
    assert clinic.journal.events(source="desk", transaction="RAD-107")


def test_metadata_and_pictures_are_retrieved_too(clinic: Hospital, reader: str) -> None:
    sample = dcmread(DATASETS / "thorax-1.dcm")
    study = f"/studies/{sample.StudyInstanceUID}"
    (told,) = clinic.tools.wado(f"{study}/metadata", reader)
    assert told[1] == "application/dicom+json"
    instance = f"{study}/series/{sample.SeriesInstanceUID}/instances/{sample.SOPInstanceUID}"
    came = clinic.tools.wado(f"{instance}/metadata", reader)
    assert came.datasets[0].PatientName == sample.PatientName
    pixels = clinic.tools.wado(f"{instance}/frames/1", reader)
    assert (pixels.parts[0].content, pixels.datasets) == (sample.PixelData, [])


def test_what_is_not_there_cannot_be_retrieved(clinic: Hospital, reader: str) -> None:
    with pytest.raises(HttpFailed, match="404 Not Found: There is no such study here") as refused:
        clinic.tools.wado("/studies/1.2.3", reader)
    assert refused.value.status == 404
    study = str(dcmread(SAMPLES[0]).StudyInstanceUID)
    with pytest.raises(HttpFailed, match="406 Not Acceptable"):
        clinic.tools.wado(f"/studies/{study}", reader, accept="text/html")


def test_curl_does_the_same_as_a_search(
    clinic: Hospital, reader: str, peer: Callable[[str], Path]
) -> None:
    peer("curl")
    for path in ("/studies?PatientName=なかむら^*", "/studies?PatientName=No Body"):
        found = clinic.tools.qido(path, reader)
        answered = run(command_of(found.caption), reader)
        assert [str(d.StudyInstanceUID) in answered for d in found.datasets] == [True] * len(found)
        assert bool(found) == bool(answered)


def test_curl_does_the_same_as_a_retrieval(
    clinic: Hospital, reader: str, peer: Callable[[str], Path]
) -> None:
    peer("curl")
    path = f"/studies/{dcmread(SAMPLES[0]).StudyInstanceUID}/metadata"
    came = clinic.tools.wado(path, reader, accept="application/dicom+json")
    here = clinic.tools._web_endpoint("pacs")
    answered = run(command_of(came.caption), reader)
    # Addresses of bulk data are such as the caller can reach.
    answered = answered.replace(str(here.local), str(here.address))
    assert answered.encode() == came.parts[0].content


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


def test_where_https_is_spoken_curl_needs_what_the_desk_has(
    tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    peer("curl")
    site = tmp_path / "clinic.toml"
    plain = (files("labsim.sites") / "clinic.toml").read_text(encoding="utf-8")
    site.write_text(f"{plain}\n[tls]\ndicom = false\nhttp = true\n", encoding="utf-8")
    with Hospital(seed=7, site=site) as running:
        token = running.pacs.tokens.issue("desk", rights=("read", "write"))
        running.tools.stow(SAMPLES[:1], token)
        found = running.tools.qido("/studies", token)
        assert run(command_of(found.caption), token).count("0020000D") == len(found) == 1


def test_a_service_that_is_down_is_said(hospital: Hospital) -> None:
    hospital.pacs.stop_service("dicomweb")
    with pytest.raises((Unreachable, NotFound)):
        hospital.tools.qido("/studies", "any")
