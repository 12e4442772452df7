"""Instances over the web: dicomweb-client, and C-GET for comparison."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_GET

Store = Callable[..., list[FileDataset]]
Browse = Callable[..., AbstractContextManager[DICOMwebClient]]
Get = Callable[..., httpx.Response]
Keep = Callable[[Hospital, FileDataset], str]
Parts = Callable[[httpx.Response], list[Any]]
Image = Callable[..., FileDataset]
Dial = Callable[..., AbstractContextManager[Association]]
STUDY, SERIES = make_uid("kept study", 1), make_uid("kept series", 1)
PATHS = (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}")


def image_path(number: int = 0) -> str:
    return f"{PATHS[1]}/instances/{make_uid('kept image', 1, number)}"


def picture(image: Image, study: int, number: int) -> FileDataset:
    """Make an image of a study, with a gradient."""
    return image(
        StudyInstanceUID=make_uid("kept study", study),
        SeriesInstanceUID=make_uid("kept series", study),
        SOPInstanceUID=make_uid("kept image", study, number),
        Rows=64,
        Columns=64,
        PixelData=(np.add.outer(np.arange(64), np.arange(64)) * 16).astype("<u2").tobytes(),
    )


def by_c_get(hospital: Hospital, dial: Dial, study_uid: str) -> dict[str, Dataset]:
    got: dict[str, Dataset] = {}

    def take(event: evt.Event) -> int:
        got[event.dataset.SOPInstanceUID] = event.dataset
        return 0x0000

    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", study_uid
    roles = (build_role(CTImageStorage, scp_role=True),)
    contexts, handlers = (STUDY_ROOT_GET, CTImageStorage), ((evt.EVT_C_STORE, take),)
    with dial(hospital, "pacs", *contexts, roles=roles, handlers=handlers) as association:
        list(association.send_c_get(identifier, STUDY_ROOT_GET))
    return got


def test_a_study_a_series_and_an_instance_are_what_c_get_gives(
    archive: Hospital, store: Store, browse: Browse, dial: Dial
) -> None:
    store(archive, 1, 3)
    store(archive, 2)
    wanted = by_c_get(archive, dial, STUDY)
    uid = make_uid("kept image", 1, 0)
    with browse(archive) as client:
        study = client.retrieve_study(STUDY)
        series = client.retrieve_series(STUDY, SERIES)
        alone = client.retrieve_instance(STUDY, SERIES, uid)
        streamed = list(client.iter_study(STUDY))
    for got in (study, series, streamed):
        assert {image.SOPInstanceUID: image for image in got} == wanted
    assert len(wanted) == 3
    assert alone == wanted[uid]
    assert alone.file_meta.MediaStorageSOPInstanceUID == uid


def test_a_retrieval_is_rad_107_of_its_exam(archive: Hospital, store: Store, get: Get) -> None:
    store(archive, 1)
    get(archive, PATHS[0])
    event = archive.journal.wait_for(lambda e: e.transaction == "RAD-107", timeout=5)
    assert event is not None
    assert (event.keys["study_uid"], event.keys["accession"]) == (STUDY, "K1")


def test_corrected_demographics_come_along(archive: Hospital, store: Store, browse: Browse) -> None:
    patient = archive.his.register_patient("Vega^Ines", "1970-01-31", "F")
    store(archive, 1, PatientID=patient.patient_id, IssuerOfPatientID=patient.issuer)
    archive.his.update_patient(patient.patient_id, name="Vega^Łucja")
    archive.settle()
    with browse(archive) as client:
        assert {str(i.PatientName) for i in client.retrieve_study(STUDY)} == {"Vega^Łucja"}


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        ("*/*", ExplicitVRLittleEndian),
        ('multipart/related; type="application/dicom"', ExplicitVRLittleEndian),
        ("multipart/related; type=application/dicom; transfer-syntax=*", JPEGLSLossless),
        (
            f'multipart/related; type="application/dicom"; transfer-syntax={JPEGLSLossless}',
            JPEGLSLossless,
        ),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*; q=0.5, '
            'multipart/related; type="application/dicom"; q=0.9',
            ExplicitVRLittleEndian,
        ),
        (
            'text/html, multipart/related; type="application/dicom"; transfer-syntax=*; q=0.5, '
            "*/*;q=0.9",
            JPEGLSLossless,
        ),
    ],
)
def test_the_caller_says_in_which_transfer_syntax(
    archive: Hospital,
    image: Image,
    keep: Keep,
    get: Get,
    parts_of: Parts,
    accept: str,
    syntax: str,
) -> None:
    sent = picture(image, 1, 0)
    pixels = sent.pixel_array
    sent.compress(JPEGLSLossless, encoding_plugin="pyjpegls", generate_instance_uid=False)
    keep(archive, sent)
    answer = get(archive, image_path(), accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    (part,) = parts_of(answer)
    assert part["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    assert part["Content-Location"].endswith(f"/dicom-web{image_path()}")
    data = part.get_payload(decode=True)
    assert int(part["Content-Length"]) == len(data)
    got = dcmread(BytesIO(data))
    assert got.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(got.pixel_array, pixels)


def test_what_lies_in_implicit_vr_never_goes_so_over_the_web(
    archive: Hospital, image: Image, keep: Keep, get: Get, parts_of: Parts
) -> None:
    stored = image(ImplicitVRLittleEndian)
    path = keep(archive, stored)
    accept = 'multipart/related; type="application/dicom"; transfer-syntax='
    (part,) = parts_of(get(archive, path, accept + "*"))
    assert part["Content-Type"].endswith(ExplicitVRLittleEndian)
    assert get(archive, path, accept + ImplicitVRLittleEndian).status_code == 406


def test_one_instance_may_come_without_parts(archive: Hospital, store: Store, get: Get) -> None:
    (first, _) = store(archive, 1)
    answer = get(archive, image_path(), "application/dicom")
    assert answer.headers["Content-Type"].startswith("application/dicom; transfer-syntax=")
    assert dcmread(BytesIO(answer.content)).PixelData == first.PixelData
    by_query = get(archive, f"{image_path()}?accept=application/dicom")
    assert by_query.content == answer.content
    for path in PATHS:
        assert get(archive, path, "application/dicom").status_code == 406


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        'multipart/related; type="application/zip"',
        'multipart/related; type="application/dicom"; transfer-syntax=abc',
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.3',
        'multipart/related; type="application/dicom"; q=0',
    ],
)
def test_what_is_not_acceptable_says_what_there_is(
    archive: Hospital, store: Store, get: Get, accept: str
) -> None:
    store(archive, 1)
    answer = get(archive, PATHS[0], accept)
    assert answer.status_code == 406
    assert 'multipart/related; type="application/dicom"' in answer.text


def test_what_no_codec_here_makes_is_not_acceptable(
    archive: Hospital, store: Store, get: Get
) -> None:
    store(archive, 1)
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={JPEGBaseline8Bit}'
    answer = get(archive, PATHS[0], accept)
    assert (answer.status_code, "JPEG Baseline" in answer.text) == (406, True)


def test_what_is_not_there_is_not_found(archive: Hospital, store: Store, get: Get) -> None:
    store(archive, 1)
    store(archive, 2)
    foreign = make_uid("kept series", 2)
    assert get(archive, f"/studies/{make_uid('nothing')}").status_code == 404
    assert get(archive, f"/studies/{STUDY}/series/{foreign}").status_code == 404
    assert get(archive, "/studies/..%2F..").status_code == 400


def test_rejected_and_held_images_are_not_there(
    archive: Hospital, store: Store, get: Get, parts_of: Parts
) -> None:
    first, second = store(archive, 1)
    archive.pacs.qc.set_rule("unannounced", hold=True)
    store(archive, 2)
    archive.pacs.reject(str(second.SOPInstanceUID))
    archive.settle()
    assert get(archive, image_path(1)).status_code == 404
    assert get(archive, f"/studies/{make_uid('kept study', 2)}").status_code == 404
    (part,) = parts_of(get(archive, PATHS[0]))
    assert str(first.SOPInstanceUID) in part["Content-Location"]


def test_a_lost_file_makes_the_answer_partial(
    archive: Hospital, store: Store, get: Get, parts_of: Parts
) -> None:
    store(archive, 1)
    paths = archive.pacs.paths(STUDY)
    paths[0].unlink()
    answer = get(archive, PATHS[0])
    assert (answer.status_code, len(parts_of(answer))) == (206, 1)
    assert answer.headers["Warning"].startswith("299 ")
    paths[1].unlink()
    assert get(archive, PATHS[0]).status_code == 500


def test_an_answer_that_breaks_off_is_not_taken_for_whole(
    archive: Hospital, store: Store, get: Get
) -> None:
    store(archive, 1, 3)
    archive.pacs.paths(STUDY)[1].write_bytes(b"nothing that can be read")
    with pytest.raises(httpx.RemoteProtocolError):
        get(archive, PATHS[0])
    event = archive.journal.wait_for(lambda e: e.transaction == "RAD-107", timeout=5)
    assert event is not None
    assert "cannot be read" in event.summary


def test_who_hangs_up_is_sent_no_more(archive: Hospital, store: Store) -> None:
    pixels = np.zeros((1024, 1024), "<u2").tobytes()
    store(archive, 1, 12, Rows=1024, Columns=1024, PixelData=pixels)
    headers = {"Authorization": f"Bearer {archive.pacs.tokens.issue('viewer')}"}
    place = next(e for e in archive.endpoints() if (e.system, e.protocol) == ("pacs", "dicomweb"))
    url = f"http://{place.local.host}:{place.local.port}/dicom-web{PATHS[0]}"
    with httpx.stream("GET", url, headers=headers, trust_env=False) as answer:
        assert len(next(answer.iter_raw())) < 2 * 1024 * 1024
    event = archive.journal.wait_for(lambda e: e.transaction == "RAD-107", timeout=5)
    assert event is not None
    assert "hung up" in event.summary


def test_what_was_put_away_comes_back(
    archive: Hospital, clock: ManualClock, store: Store, browse: Browse
) -> None:
    sent = {image.SOPInstanceUID: image for image in store(archive, 1)}
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    states = "SELECT availability FROM instances"
    assert {row[0] for row in archive.pacs.sql(states)} == {"NEARLINE"}
    with browse(archive) as client:
        got = client.retrieve_study(STUDY)
    assert {image.SOPInstanceUID: image.PixelData for image in got} == {
        uid: image.PixelData for uid, image in sent.items()
    }
    assert {row[0] for row in archive.pacs.sql(states)} == {"ONLINE"}


def test_what_is_taken_is_in_the_audit_trail_and_the_archive_gives_it_too(
    image: Image, dial: Dial, get: Get, browse: Browse
) -> None:
    with Hospital(seed=7, site="community") as hospital:
        stored = picture(image, 1, 0)
        for system in ("pacs", "archive"):
            with dial(hospital, system, CTImageStorage) as association:
                assert association.send_c_store(stored).Status == 0x0000
        with browse(hospital, "archive") as client:
            (got,) = client.retrieve_study(STUDY)
        assert got.PixelData == stored.PixelData
        assert get(hospital, f"{image_path()}/rendered").status_code == 200
        for source, holder in (("archive", "browser"), ("pacs", "viewer")):
            getattr(hospital, source).trail.resend()
            (row,) = hospital.audit.search(event="110104", user=holder, source=source)
            message = hospital.audit.message(row[0])
            assert STUDY in message.xml
            assert 'EventActionCode="R"' in message.xml
