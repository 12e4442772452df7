"""Storing over the web takes the way of a C-STORE, and says of each image what became of it."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage
from pynetdicom.dsutils import encode

from labsim import Hospital
from labsim.systems.audit.rules import problems_of
from labsim.systems.web import stow as stow_module

Image = Callable[..., FileDataset]
Stow = Callable[..., httpx.Response]
Url = Callable[..., str]
MB = 1024 * 1024
BOUNDARY = "between-images"
KIND = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@pytest.fixture(scope="session")
def url() -> Url:
    """Return where the DICOMweb interface of a system is."""

    def where(hospital: Hospital, path: str = "", system: str = "pacs") -> str:
        place = next(
            e for e in hospital.endpoints() if (e.system, e.protocol) == (system, "dicomweb")
        )
        return f"http://{place.local.host}:{place.local.port}/dicom-web{path}"

    return where


def as_file(image: FileDataset) -> bytes:
    """Return an image as the bytes of a file."""
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def body_of(files: Sequence[bytes]) -> bytes:
    """Return files as the parts of one body."""
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture(scope="session")
def stow(url: Url) -> Stow:
    """Store images, or files as they are, over the web."""

    def send(
        hospital: Hospital,
        *files: FileDataset | bytes,
        token: str | None = None,
        study: str = "",
        system: str = "pacs",
        kind: str = KIND,
        body: bytes | None = None,
        **headers: str,
    ) -> httpx.Response:
        if token is None:
            token = getattr(hospital, system).tokens.issue("scanner", rights=("write",))
        if body is None:
            body = body_of([file if isinstance(file, bytes) else as_file(file) for file in files])
        return httpx.post(
            url(hospital, f"/studies/{study}" if study else "/studies", system),
            content=body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": kind, **headers},
            trust_env=False,
        )

    return send


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    """A community hospital: with an archive, and a repository for audit messages."""
    with Hospital(seed=7, site="community") as running:
        yield running


def answer_of(response: httpx.Response) -> Dataset:
    """Return the Store Instances Response."""
    assert response.headers["Content-Type"] == "application/dicom+json"
    return Dataset.from_json(response.json())


def failures(response: httpx.Response) -> list[tuple[str, int]]:
    """Return SOP Instance UID and reason of each instance that was not stored."""
    answer = answer_of(response)
    return [
        (str(item.get("ReferencedSOPInstanceUID", "")), int(item.FailureReason))
        for name in ("FailedSOPSequence", "OtherFailuresSequence")
        for item in answer.get(name) or []
    ]


def files(hospital: Hospital) -> set[Path]:
    return set(hospital.path.rglob("*.dcm"))


# What is taken


def test_images_are_on_disk_and_in_the_index_when_they_are_acknowledged(
    clinic: Hospital, image: Image, stow: Stow, url: Url
) -> None:
    first, second = image(), image()
    response = stow(clinic, first, second)
    assert response.status_code == 200
    answer = answer_of(response)
    assert [str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence] == [
        str(first.SOPInstanceUID),
        str(second.SOPInstanceUID),
    ]
    assert "FailedSOPSequence" not in answer
    item = answer.ReferencedSOPSequence[0]
    assert item.ReferencedSOPClassUID == first.SOPClassUID
    assert item.RetrieveURL == url(
        clinic,
        f"/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
        f"/instances/{first.SOPInstanceUID}",
    )
    for sent in (first, second):
        (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
        assert encode(dcmread(path), False, True) == encode(sent, False, True)
    assert clinic.journal.wait_for(
        lambda e: e.transaction == "RAD-108" and "200" in e.summary, timeout=5
    )
    assert clinic.pacs.sql(
        "SELECT received_from FROM instances WHERE sop_uid = ?", first.SOPInstanceUID
    )[0] == ("scanner",)


def test_the_study_in_the_url_is_where_it_can_be_retrieved(
    clinic: Hospital, image: Image, stow: Stow, url: Url
) -> None:
    sent = image()
    response = stow(clinic, sent, study=sent.StudyInstanceUID)
    assert response.status_code == 200
    assert answer_of(response).RetrieveURL == url(clinic, f"/studies/{sent.StudyInstanceUID}")


def test_a_file_is_the_same_whichever_way_it_came(
    clinic: Hospital, image: Image, stow: Stow, dial: Callable[..., object]
) -> None:
    by_web, by_dicom = image(), image()
    by_web.preamble = b"MZ" + bytes(126)  # a program in front of an image stays outside
    stow(clinic, by_web)
    (path,) = clinic.pacs.paths(by_web.StudyInstanceUID)
    with dial(clinic, "pacs", by_dicom.SOPClassUID) as association:  # type: ignore[attr-defined]
        association.send_c_store(by_dicom)
    (other,) = clinic.pacs.paths(by_dicom.StudyInstanceUID)
    assert path.read_bytes()[:128] == bytes(128)
    metas = [dcmread(each).file_meta for each in (path, other)]
    for meta, sent in zip(metas, (by_web, by_dicom), strict=True):
        assert meta.MediaStorageSOPInstanceUID == sent.SOPInstanceUID
        del meta.MediaStorageSOPInstanceUID, meta.FileMetaInformationGroupLength
    assert metas[0] == metas[1]


def test_a_deflated_file_is_kept_deflated(clinic: Hospital, image: Image, stow: Stow) -> None:
    sent = image(DeflatedExplicitVRLittleEndian)
    assert stow(clinic, sent).status_code == 200
    (path,) = clinic.pacs.paths(sent.StudyInstanceUID)
    kept = dcmread(path)
    assert kept.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    assert kept.PixelData == sent.PixelData


def test_an_image_sent_again_changes_nothing(clinic: Hospital, image: Image, stow: Stow) -> None:
    sent = image()
    assert [stow(clinic, sent).status_code for _ in range(2)] == [200, 200]
    assert clinic.pacs.count(sent.StudyInstanceUID) == 1


def test_what_the_archive_changes_on_the_way_in_is_a_warning(
    community: Hospital, image: Image, stow: Stow
) -> None:
    sent = image(IssuerOfPatientID="ELSEWHERE")
    community.archive.issuers.map("ELSEWHERE", to="RIVERSIDE", prefix="E-")
    response = stow(community, sent, system="archive")
    assert response.status_code == 202
    (item,) = answer_of(response).ReferencedSOPSequence
    assert (item.ReferencedSOPInstanceUID, item.WarningReason) == (sent.SOPInstanceUID, 0xB000)


# What is refused


def test_images_of_another_study_than_the_url_names_are_not_stored(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    right, wrong = image(), image()
    response = stow(clinic, right, wrong, study=right.StudyInstanceUID)
    assert response.status_code == 202
    assert failures(response) == [(str(wrong.SOPInstanceUID), 0xA900)]
    assert clinic.pacs.count(wrong.StudyInstanceUID) == 0
    response = stow(clinic, wrong, study=right.StudyInstanceUID)
    assert response.status_code == 409
    assert "ReferencedSOPSequence" not in answer_of(response)


def test_what_cannot_be_read_fails_and_the_rest_is_stored(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent, nameless = image(), image()
    del nameless.StudyInstanceUID
    before = files(clinic)
    response = stow(clinic, b"no DICOM at all", sent, nameless, b"")
    assert response.status_code == 202
    assert failures(response) == [
        (str(nameless.SOPInstanceUID), 0xA900),
        ("", 0xC000),
        ("", 0xC000),
    ]
    assert files(clinic) - before == set(clinic.pacs.paths(sent.StudyInstanceUID))
    assert clinic.journal.wait_for(lambda e: "0xC000" in e.summary and e.kind == "error", timeout=5)


@pytest.mark.parametrize("cut", [200, 600, 900])
def test_a_file_that_is_cut_off_is_not_stored(
    clinic: Hospital, image: Image, stow: Stow, cut: int
) -> None:
    whole = as_file(image(PixelData=bytes(900)))
    response = stow(clinic, whole[:-cut])
    assert response.status_code == 409
    assert [reason for _, reason in failures(response)] == [0xC000]


def test_a_broken_name_in_what_is_refused_harms_nothing(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent = image(SpecificCharacterSet="ISO_IR 192", SOPClassUID=MediaStorageDirectoryStorage)
    given = as_file(sent).replace(b"Silva^Ines", b"Silva^\xff\xfees")
    assert failures(stow(clinic, given)) == [(str(sent.SOPInstanceUID), 0x0122)]


def test_what_is_no_image_for_an_archive_is_refused_by_its_class(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent = image(SOPClassUID=MediaStorageDirectoryStorage)
    assert failures(stow(clinic, sent)) == [(str(sent.SOPInstanceUID), 0x0122)]


def test_a_transfer_syntax_that_nobody_knows_is_refused(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent = image()
    sent.file_meta.TransferSyntaxUID = "1.2.3.4"
    assert failures(stow(clinic, sent)) == [(str(sent.SOPInstanceUID), 0xC122)]


def test_a_file_that_names_another_instance_than_its_data_set_is_refused(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent = image(SOPInstanceUID="1.2.345.1")
    given = as_file(sent).replace(b"1.2.345.1", b"1.2.345.2", 1)
    assert failures(stow(clinic, given)) == [(str(sent.SOPInstanceUID), 0xA900)]


def test_another_image_under_a_known_uid_meets_the_policy(
    archive: Hospital, image: Image, stow: Stow
) -> None:
    sent = image()
    stow(archive, sent)
    archive.pacs.configure_duplicates("reject")
    sent.PixelData = bytes(8)
    response = stow(archive, sent)
    assert (response.status_code, failures(response)) == (
        409,
        [(str(sent.SOPInstanceUID), 0x0111)],
    )


def test_a_full_disk_is_out_of_resources(archive: Hospital, image: Image, stow: Stow) -> None:
    archive.pacs.storage.configure(online_quota=1)
    sent = image()
    response = stow(archive, sent)
    assert failures(response) == [(str(sent.SOPInstanceUID), 0xA700)]
    assert archive.pacs.count(sent.StudyInstanceUID) == 0


def test_an_error_of_the_archive_is_never_a_success(
    archive: Hospital, image: Image, stow: Stow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> bytes:
        raise RuntimeError("broken")

    monkeypatch.setattr(archive.pacs._storing, "on_the_way_in", [broken])
    sent = image()
    response = stow(archive, sent)
    assert (response.status_code, failures(response)) == (
        409,
        [(str(sent.SOPInstanceUID), 0x0110)],
    )


def test_a_study_that_nobody_announced_is_held_as_after_c_store(
    archive: Hospital, image: Image, stow: Stow, url: Url
) -> None:
    archive.pacs.qc.set_rule("unannounced", hold=True)
    sent = image()
    stow(archive, sent)
    token = archive.pacs.tokens.issue("viewer")
    headers = {"Authorization": f"Bearer {token}"}
    found = httpx.get(url(archive, "/studies"), headers=headers, trust_env=False)
    assert found.status_code == 204
    assert archive.pacs.count(sent.StudyInstanceUID) == 1


# Requests that are refused


def test_a_token_that_may_only_read_stores_nothing(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    sent = image()
    response = stow(clinic, sent, token=clinic.pacs.tokens.issue("viewer"))
    assert response.status_code == 403
    assert stow(clinic, sent, token="guessed").status_code == 401
    assert clinic.pacs.count(sent.StudyInstanceUID) == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/dicom", 415),
        ('multipart/related; type="application/dicom+json"; boundary=x', 415),
        ('multipart/related; type="application/dicom"', 400),
    ],
)
def test_other_bodies_are_refused_with_the_form_to_send(
    clinic: Hospital, image: Image, stow: Stow, kind: str, status: int
) -> None:
    response = stow(clinic, image(), kind=kind)
    assert response.status_code == status
    assert 'multipart/related; type="application/dicom"' in response.text


def test_parts_of_another_kind_are_refused_and_nothing_is_stored(
    clinic: Hospital, image: Image, stow: Stow
) -> None:
    before = files(clinic)
    body = body_of([b"x"]).replace(b"application/dicom", b"text/plain")
    assert stow(clinic, body=body).status_code == 415
    assert stow(clinic, body=body[:-20]).status_code == 400
    assert stow(clinic).status_code == 400
    assert files(clinic) == before


def test_xml_is_not_offered(clinic: Hospital, image: Image, stow: Stow) -> None:
    assert stow(clinic, image(), Accept="application/dicom+xml").status_code == 406


def test_a_study_that_is_no_uid_is_refused(clinic: Hospital, image: Image, stow: Stow) -> None:
    assert stow(clinic, image(), study="first").status_code == 400


def test_too_much_is_refused_before_and_while_it_comes(
    clinic: Hospital, image: Image, url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_module, "LARGEST", MB)
    sent = image(Rows=1024, Columns=1024, PixelData=bytes(2 * MB))
    body = body_of([as_file(sent)])
    token = clinic.pacs.tokens.issue("scanner", rights=("write",))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": KIND}
    pieces = (body[n : n + 65536] for n in range(0, len(body), 65536))
    for content in (body, pieces):
        response = httpx.post(
            url(clinic, "/studies"), content=content, headers=headers, trust_env=False
        )
        assert response.status_code == 413
    assert clinic.pacs.count(sent.StudyInstanceUID) == 0


def test_what_is_too_much_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow_module, "LARGEST", 10)
    store = object.__new__(stow_module.Store)
    store._body, store._came = bytearray(), 0
    kept = []
    for _ in range(4):
        store.data_received(b"12345")
        kept.append(len(store._body))
    assert kept == [5, 10, 0, 0]


def test_a_browser_may_ask_whether_it_may_store(clinic: Hospital, url: Url) -> None:
    asked = httpx.options(url(clinic, "/studies/1.2.3"), trust_env=False)
    assert asked.status_code == 204
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]


# The audit trail


def test_what_was_stored_and_what_was_not_is_audited_with_the_holder_of_the_token(
    community: Hospital, image: Image, stow: Stow
) -> None:
    stored, refused = image(), image()
    token = community.pacs.tokens.issue("tablet", rights=("write",))
    stow(community, stored, refused, study=stored.StudyInstanceUID, token=token)
    community.pacs.trail.resend()
    told = {}
    for row in community.audit.search(event="110104"):
        xml = community.audit.message(row[0]).xml
        assert problems_of(xml) == []
        message = ET.fromstring(xml)
        identification = message.find("EventIdentification")
        assert identification is not None
        for each in message.findall("ParticipantObjectIdentification"):
            told[each.get("ParticipantObjectID")] = (
                message.findall("ActiveParticipant")[0].get("UserID"),
                identification.get("EventActionCode"),
                identification.get("EventOutcomeIndicator"),
            )
    assert told[str(stored.StudyInstanceUID)] == ("tablet", "C", "0")
    assert told[str(refused.StudyInstanceUID)] == ("tablet", "C", "4")


# A program that knows nothing of DICOM


def test_curl_stores_files(
    clinic: Hospital, image: Image, peer: Callable[[str], Path], tmp_path: Path, url: Url
) -> None:
    sent = image()
    sent.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    token = clinic.pacs.tokens.issue("scanner", rights=("write",))
    command = [
        *(str(peer("curl")), "--silent", "--noproxy", "*"),
        *("-H", f"Authorization: Bearer {token}"),
        *("-H", 'Content-Type: multipart/related; type="application/dicom"'),
        *("-F", f"file=@{tmp_path / 'image.dcm'};type=application/dicom"),
        url(clinic, "/studies"),
    ]
    done = subprocess.run(command, capture_output=True, timeout=20, check=True, env=os.environ)
    assert str(sent.SOPInstanceUID) in done.stdout.decode()
    assert clinic.pacs.count(sent.StudyInstanceUID) == 1
