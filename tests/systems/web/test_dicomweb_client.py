"""dicomweb-client, a program that knows nothing of labsim, at the DICOMweb interface of a PACS."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_auth
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pynetdicom.dsutils import encode

from labsim import Hospital


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def client_of(hospital: Hospital, **options: int) -> DICOMwebClient:
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == ("pacs", "dicomweb"))
    token = hospital.pacs.tokens.issue("client", rights=("read", "write"))
    session = create_session_from_auth(_Bearer(token))
    session.trust_env = False
    url = f"http://{place.local.host}:{place.local.port}/dicom-web"
    return DICOMwebClient(url, session=session, **options)


def encoded(image: Dataset) -> bytes:
    data = encode(image, *image.original_encoding)
    assert data
    return data


@pytest.mark.usefixtures("small_scans")
def test_an_exam_of_one_hospital_is_stored_found_and_fetched_at_another(
    hospital: Hospital, archive: Hospital
) -> None:
    procedure = hospital.exam("CTTHORAX").procedure
    assert procedure is not None
    study = procedure.study_uid
    images = {
        str(image.SOPInstanceUID): image for image in map(dcmread, hospital.pacs.paths(study))
    }
    client = client_of(archive)
    answer = client.store_instances(list(images.values()))
    assert {str(i.ReferencedSOPInstanceUID) for i in answer.ReferencedSOPSequence} == set(images)

    (found,) = map(Dataset.from_json, client.search_for_studies(fields=["StudyDescription"]))
    series, *_ = map(Dataset.from_json, client.search_for_series(study))
    listed = map(Dataset.from_json, client.search_for_instances(study))
    assert (found.StudyInstanceUID, found.NumberOfStudyRelatedInstances) == (study, len(images))
    assert found.RetrieveURL == f"{client.base_url}/studies/{study}"
    assert series.RetrieveURL == f"{found.RetrieveURL}/series/{series.SeriesInstanceUID}"
    assert {str(image.SOPInstanceUID) for image in listed} == set(images)

    fetched = archive.tools.getscu(study)
    assert len(fetched) == len(images)
    for image in fetched:
        assert encoded(image) == encoded(images[str(image.SOPInstanceUID)])


def test_a_large_study_may_come_in_pieces(
    archive: Hospital, image: Callable[..., FileDataset]
) -> None:
    sent = image(Rows=64, Columns=64, PixelData=bytes(8192))
    client_of(archive, chunk_size=1000).store_instances([sent])
    assert archive.pacs.count(sent.StudyInstanceUID) == 1
