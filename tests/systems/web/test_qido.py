"""Search over the web, and the tokens it needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid

Store = Callable[..., list[FileDataset]]


def ask(hospital: Hospital, path: str, token: str = "", method: str = "GET", **headers: str):  # type: ignore[no-untyped-def]
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == ("pacs", "dicomweb"))
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"http://{place.local.host}:{place.local.port}/dicom-web{path}"
    return httpx.request(method, url, headers=headers, trust_env=False)


def test_without_a_token_nothing_is_said(archive: Hospital) -> None:
    answer = ask(archive, "/studies")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_an_unknown_token_is_refused_and_journaled(archive: Hospital) -> None:
    answer = ask(archive, "/studies", "guessed")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert archive.journal.wait_for(lambda e: e.kind == "http" and "401" in e.summary, timeout=5)


def test_a_token_ends_with_its_hours_or_when_revoked(archive: Hospital, clock: ManualClock) -> None:
    token = archive.pacs.tokens.issue("viewer", hours=1)
    assert ask(archive, "/studies", token).status_code == 204
    clock.advance(timedelta(hours=1))
    assert "expired" in ask(archive, "/studies", token).text
    token = archive.pacs.tokens.issue("viewer")
    archive.pacs.tokens.revoke("viewer")
    assert "revoked" in ask(archive, "/studies", token).text
    assert token not in str(archive.pacs.sql("SELECT * FROM web_tokens"))


def test_a_token_that_may_only_write_cannot_search(archive: Hospital) -> None:
    answer = ask(archive, "/studies", archive.pacs.tokens.issue("ct", rights=("write",)))
    assert answer.status_code == 403
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]


def test_wrong_tokens_cannot_be_issued(archive: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="rights"):
        archive.pacs.tokens.issue("x", rights=("admin",))
    with pytest.raises(NotFound):
        archive.pacs.tokens.revoke("nobody")


def test_only_pages_of_allowed_origins_may_read(archive: Hospital) -> None:
    archive.pacs.web.allow_origins("http://viewer.example")
    allowed = ask(archive, "/studies", method="OPTIONS", Origin="http://viewer.example")
    assert allowed.status_code == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "http://viewer.example"
    refused = ask(archive, "/studies", Origin="http://viewer.example")
    assert refused.headers["Access-Control-Allow-Origin"] == "http://viewer.example"
    other = ask(archive, "/studies", method="OPTIONS", Origin="http://other.example")
    assert "Access-Control-Allow-Origin" not in other.headers


def test_studies_series_and_instances_are_found(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    store(archive, 2)
    token = archive.pacs.tokens.issue("viewer")
    study, series = make_uid("kept study", 1), make_uid("kept series", 1)
    answer = ask(archive, "/studies?PatientID=K00000*&AccessionNumber=K1", token)
    assert answer.headers["Content-Type"] == "application/dicom+json"
    (found,) = (Dataset.from_json(item) for item in answer.json())
    assert (found.StudyInstanceUID, found.PatientID) == (study, "K000001")
    (found,) = (
        Dataset.from_json(i) for i in ask(archive, f"/studies/{study}/series", token).json()
    )
    assert (found.SeriesInstanceUID, found.NumberOfSeriesRelatedInstances) == (series, 2)
    path = f"/studies/{study}/series/{series}/instances"
    assert len(ask(archive, path, token).json()) == 2
    assert len(ask(archive, "/instances", token).json()) == 4
    assert len(ask(archive, "/instances?limit=2&offset=3", token).json()) == 1
    assert archive.journal.wait_for(lambda e: e.transaction == "RAD-129", timeout=5)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies?Colour=red", 400),
        ("/studies?limit=-1", 400),
        ("/studies/..%2F..%2Fetc/series", 400),
        ("/instances?Rows=many", 400),
        ("/nothing", 404),
    ],
)
def test_what_makes_no_sense_is_refused(archive: Hospital, path: str, status: int) -> None:
    assert ask(archive, path, archive.pacs.tokens.issue("viewer")).status_code == status


def test_other_media_types_are_not_acceptable(archive: Hospital) -> None:
    token = archive.pacs.tokens.issue("viewer")
    assert ask(archive, "/studies", token, Accept="text/html").status_code == 406


def test_fuzzy_matching_is_said_to_be_ignored(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    answer = ask(archive, "/studies?fuzzymatching=true", archive.pacs.tokens.issue("viewer"))
    assert answer.headers["Warning"].startswith("299 ")


def test_what_is_rejected_or_held_is_not_found_over_the_web_either(
    archive: Hospital, store: Store
) -> None:
    first, second = store(archive, 1)
    store(archive, 2)
    archive.pacs.qc.set_rule("unannounced", hold=True)
    store(archive, 3)
    archive.pacs.reject(str(second.SOPInstanceUID))
    archive.settle()
    token = archive.pacs.tokens.issue("viewer")
    images = ask(archive, "/instances?Modality=CT", token).json()
    found = {str(Dataset.from_json(item).SOPInstanceUID) for item in images}
    assert str(first.SOPInstanceUID) in found
    assert str(second.SOPInstanceUID) not in found
    studies = {
        str(Dataset.from_json(s).AccessionNumber) for s in ask(archive, "/studies", token).json()
    }
    assert studies == {"K1", "K2"}


def test_the_archive_is_searched_with_tokens_of_its_own() -> None:
    with Hospital(seed=7, site="community") as running:
        place = next(
            e for e in running.endpoints() if (e.system, e.protocol) == ("archive", "dicomweb")
        )
        url = f"http://{place.local.host}:{place.local.port}/dicom-web/studies"
        statuses = []
        for holder in (running.pacs, running.archive):
            headers = {"Authorization": f"Bearer {holder.tokens.issue('viewer')}"}
            statuses.append(httpx.get(url, headers=headers, trust_env=False).status_code)
        assert statuses == [401, 204]
