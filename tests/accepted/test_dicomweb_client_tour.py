"""dicomweb-client, unchanged, at a PACS by HTTPS: everything that its API has to offer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.examples import get_path
from pydicom.filereader import dcmread
from pydicom.pixels import pixel_array
from requests.adapters import HTTPAdapter

from labsim import Hospital

# What asks nothing of a server.
_AT_HOME = {"lookup_keyword", "lookup_tag", "set_chunk_size", "set_http_retry_params"}


class ByName(HTTPAdapter):
    """Dials a loopback port, and expects the certificate of a host of the hospital there."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        named = {"assert_hostname": self._host, "server_hostname": self._host}
        super().init_poolmanager(*args, **options, **named)


class Noting(DICOMwebClient):  # type: ignore[misc]
    """Notes what of its API was called from outside of it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.called: set[str] = set()
        super().__init__(*args, **options)

    def __getattribute__(self, name: str) -> Any:
        if name in offered():
            self.called.add(name)
        return super().__getattribute__(name)


def offered() -> set[str]:
    api = inspect.getmembers(DICOMwebClient, inspect.isfunction)
    return {name for name, _ in api if not name.startswith("_")}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A clinic whose PACS speaks DICOMweb by HTTPS only, with whom it knows by a certificate."""
    text = (files("labsim.sites") / "clinic.toml").read_text("utf-8")
    site = tmp_path_factory.mktemp("site") / "secured.toml"
    site.write_text(f"{text}\n[tls]\nhttp = true\nmutual = true\n", "utf-8")
    with Hospital(seed=7, site=site) as running:
        yield running


@contextmanager
def client_of(
    hospital: Hospital, token: str = "", *, ca: Path | None = None, cert: bool = True
) -> Iterator[Noting]:
    place = next(e for e in hospital.endpoints() if e.protocol == "dicomweb-tls")
    desk = hospital.ca.issue("desk")
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ByName(hospital.site.pacs.host))
        session.verify = str(ca or hospital.ca.root)
        session.cert = (str(desk.certificate), str(desk.key)) if cert else None
        token = token or hospital.pacs.tokens.issue("client", rights=("read", "write"))
        session.headers["Authorization"] = f"Bearer {token}"
        url = f"https://{place.local.host}:{place.local.port}/dicom-web"
        client = Noting(url, session=session)
        client.set_http_retry_params(retry=False)
        yield client


def of(image: Dataset, number: int = 3) -> list[str]:
    """Return the UIDs of an image, of its series, or of its study."""
    return [image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID][:number]


def test_the_whole_api_of_the_client(secured: Hospital) -> None:
    ct, several = dcmread(get_path("ct")), dcmread(get_path("rgb_color"))
    cine = dcmread(get_path("ybr_color"))
    with client_of(secured) as client:
        tour_storing(client, [ct, several, cine])
        tour_searching(client, [ct, several, cine])
        tour_retrieving(client, ct)
        tour_values(client, ct)
        tour_frames(client, cine)
        tour_pictures(client, ct, cine)
        tour_deleting(client, ct)
        assert offered() - client.called - _AT_HOME == set()
        assert secured.pacs.count(ct.StudyInstanceUID) == 1


def tour_storing(client: Noting, images: list[FileDataset]) -> None:
    client.set_chunk_size(100_000)
    for image in images:
        done = client.store_instances([image])
        (stored,) = done.ReferencedSOPSequence
        assert stored.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert "FailedSOPSequence" not in done


def tour_searching(client: Noting, images: list[FileDataset]) -> None:
    studies = {image.StudyInstanceUID for image in images}
    everything = client.search_for_studies(get_remaining=True, limit=1)
    assert {Dataset.from_json(each).StudyInstanceUID for each in everything} == studies
    first, second = (client.search_for_studies(limit=1, offset=n)[0] for n in (0, 1))
    assert first != second
    ct = images[0]
    wanted = {"PatientID": ct.PatientID, "StudyDate": f"{ct.StudyDate}-{ct.StudyDate}"}
    (found,) = client.search_for_studies(
        search_filters=wanted, fields=["StudyDescription"], fuzzymatching=False
    )
    assert Dataset.from_json(found).StudyInstanceUID == ct.StudyInstanceUID
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []
    for asked in (client.search_for_series(), client.search_for_series(ct.StudyInstanceUID)):
        assert ct.SeriesInstanceUID in {Dataset.from_json(each).SeriesInstanceUID for each in asked}
    for asked in (
        client.search_for_instances(),
        client.search_for_instances(*of(ct, 1)),
        client.search_for_instances(*of(ct, 2), search_filters={"InstanceNumber": 1}),
    ):
        assert ct.SOPInstanceUID in {Dataset.from_json(each).SOPInstanceUID for each in asked}


def tour_retrieving(client: Noting, ct: FileDataset) -> None:
    ways: list[Callable[[], Any]] = [
        lambda: client.retrieve_study(*of(ct, 1)),
        lambda: list(client.iter_study(*of(ct, 1))),
        lambda: client.retrieve_series(*of(ct, 2)),
        lambda: list(client.iter_series(*of(ct, 2))),
        lambda: [client.retrieve_instance(*of(ct))],
        lambda: [client.retrieve_instance(*of(ct), media_types=(("application/dicom", "*"),))],
    ]
    for way in ways:
        (got,) = way()
        assert got.SOPInstanceUID == ct.SOPInstanceUID
        assert np.array_equal(pixel_array(got), pixel_array(ct))


def tour_values(client: Noting, ct: FileDataset) -> None:
    (study,), (series,) = (
        client.retrieve_study_metadata(*of(ct, 1)),
        client.retrieve_series_metadata(*of(ct, 2)),
    )
    alone = client.retrieve_instance_metadata(*of(ct))
    assert study == series == alone
    assert Dataset.from_json(alone, lambda *told: b"").PatientName == ct.PatientName
    assert client.lookup_keyword("7FE00010") == "PixelData"
    address = alone[client.lookup_tag("PixelData")]["BulkDataURI"]
    assert client.retrieve_bulkdata(address) == [ct.PixelData]
    assert list(client.iter_bulkdata(address)) == [ct.PixelData]
    # A server may ignore that only a part is wanted (RFC 9110 14.2); it gives all then.
    assert client.retrieve_bulkdata(address, byte_range=(0, 99)) == [ct.PixelData]


def tour_frames(client: Noting, cine: FileDataset) -> None:
    frames = [1, cine.NumberOfFrames]
    pixels = pixel_array(cine, raw=True)
    for got in (
        client.retrieve_instance_frames(*of(cine), frames),
        list(client.iter_instance_frames(*of(cine), frames)),
    ):
        assert len(got) == 2
        for number, frame in zip(frames, got, strict=True):
            assert len(frame) == pixels[number - 1].nbytes


def tour_pictures(client: Noting, ct: FileDataset, cine: FileDataset) -> None:
    png = client.retrieve_instance_rendered(*of(ct), media_types=("image/png",))
    jpeg = client.retrieve_instance_rendered(
        *of(ct), media_types=("image/jpeg",), params={"viewport": "64,64", "quality": 90}
    )
    one = client.retrieve_instance_frames_rendered(*of(cine), [2], media_types=("image/png",))
    assert [Image.open(BytesIO(data)).format for data in (png, jpeg, one)] == ["PNG", "JPEG", "PNG"]
    assert Image.open(BytesIO(png)).size == (ct.Columns, ct.Rows)
    assert max(Image.open(BytesIO(jpeg)).size) == 64
    assert Image.open(BytesIO(one)).size == (cine.Columns, cine.Rows)
    assert client.retrieve_series_rendered(*of(ct, 2)).count(b"\xff\xd8\xff") == 1


def tour_deleting(client: Noting, ct: FileDataset) -> None:
    """Nobody deletes over the web here: what the standard does not offer is refused."""
    for delete, number in (
        (client.delete_study, 1),
        (client.delete_series, 2),
        (client.delete_instance, 3),
    ):
        with pytest.raises(requests.HTTPError) as refused:
            delete(*of(ct, number))
        assert refused.value.response.status_code == 405


def test_a_wrong_token_opens_nothing(secured: Hospital) -> None:
    before = secured.journal.all()[-1].seq
    with client_of(secured, token="wrong") as client:
        for ask in (
            client.search_for_studies,
            lambda: client.retrieve_study("1.2.3"),
            lambda: client.store_instances([dcmread(get_path("ct"))]),
        ):
            with pytest.raises(requests.HTTPError) as refused:
                ask()
            assert refused.value.response.status_code == 401
    assert len([e for e in secured.journal.events(source="pacs", after=before) if "401" in str(e)])


def test_a_token_to_read_stores_nothing(secured: Hospital) -> None:
    with client_of(secured, secured.pacs.tokens.issue("reader")) as client:
        assert client.search_for_studies(limit=1) is not None
        with pytest.raises(requests.HTTPError) as refused:
            client.store_instances([dcmread(get_path("ct"))])
        assert refused.value.response.status_code == 403


def test_what_is_not_there_is_not_found(secured: Hospital) -> None:
    with client_of(secured) as client, pytest.raises(requests.HTTPError) as refused:
        client.retrieve_study("1.2.3")
    assert refused.value.response.status_code == 404


def test_who_does_not_trust_our_authority_does_not_talk(secured: Hospital, tmp_path: Path) -> None:
    from labsim.wire.certificates import SiteCa

    other = SiteCa(tmp_path, "Somebody Else").root
    with client_of(secured, ca=other) as client, pytest.raises(requests.exceptions.SSLError):
        client.search_for_studies()


def test_who_shows_no_certificate_is_not_talked_to(secured: Hospital) -> None:
    with client_of(secured, cert=False) as client, pytest.raises(requests.ConnectionError):
        client.search_for_studies()
