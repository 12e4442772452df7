"""Search over the web, and the tokens it needs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, HttpFailed, NotFound
from labsim.ids import make_uid
from labsim.systems.audit import AuditEntry
from labsim.systems.audit.rules import problems_of

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


def test_only_who_may_configure_the_archive_gives_tokens_and_allows_pages(
    archive: Hospital,
) -> None:
    pacs = archive.pacs
    pacs.tokens.issue("viewer")
    with pacs.act_as("radiologist"):
        for asked in (
            lambda: pacs.tokens.issue("friend"),
            lambda: pacs.tokens.revoke("viewer"),
            lambda: pacs.web.allow_origins("http://viewer.example"),
        ):
            with pytest.raises(AccessDenied):
                asked()
    assert [row[:2] for row in pacs.tokens.table()] == [("viewer", "read")]
    assert list(pacs.web.origins()) == []


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


def test_every_answer_says_where_it_can_be_retrieved(archive: Hospital, store: Store) -> None:
    image, _ = store(archive, 1)
    token = archive.pacs.tokens.issue("viewer")
    place = next(e for e in archive.endpoints() if (e.system, e.protocol) == ("pacs", "dicomweb"))
    study = f"http://127.0.0.1:{place.local.port}/dicom-web/studies/{image.StudyInstanceUID}"
    series = f"{study}/series/{image.SeriesInstanceUID}"
    wanted = {
        "/studies": study,
        "/series": series,
        "/instances?InstanceNumber=1": f"{series}/instances/{image.SOPInstanceUID}",
    }
    for path, where in wanted.items():
        (found,) = map(Dataset.from_json, ask(archive, path, token).json())
        assert found.RetrieveURL == where
    (found,) = map(Dataset.from_json, ask(archive, "/studies", token, Host="pacs:8080").json())
    assert found.RetrieveURL == f"http://pacs:8080/dicom-web/studies/{image.StudyInstanceUID}"


@pytest.mark.parametrize(
    "asked",
    [
        "includefield=StudyDescription,PatientAge&includefield=00081030,BodyPartExamined",
        "includefield=all",
    ],
)
def test_more_is_told_if_it_is_asked_for(archive: Hospital, store: Store, asked: str) -> None:
    store(archive, 1, StudyDescription="CT thorax")
    token = archive.pacs.tokens.issue("viewer")
    (plain,) = map(Dataset.from_json, ask(archive, "/series", token).json())
    (more,) = map(Dataset.from_json, ask(archive, f"/series?{asked}", token).json())
    assert ("StudyDescription" in plain, more.StudyDescription) == (False, "CT thorax")
    assert ("NumberOfPatientRelatedStudies" in more) == (asked == "includefield=all")
    assert more.SeriesInstanceUID == plain.SeriesInstanceUID


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


def test_the_archive_has_an_interface_and_tokens_of_its_own(
    image: Callable[..., FileDataset], tmp_path: Path
) -> None:
    """It is in the table of the hospital, and stores and finds apart from the PACS."""
    sent = image()
    sent.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    with Hospital(seed=7, site="community") as running:
        shown = [row[:2] for row in running.table() if row[1] == "dicomweb"]
        assert {("pacs", "dicomweb"), ("archive", "dicomweb")} <= set(shown)
        pacs, archive = (
            holder.tokens.issue("desk", rights=("read", "write"))
            for holder in (running.pacs, running.archive)
        )
        with pytest.raises(HttpFailed, match="401"):
            running.tools.qido("/studies", pacs, system="archive")
        (answer,) = running.tools.stow([tmp_path / "image.dcm"], archive, system="archive")
        assert answer[2] == "stored"
        (found,) = running.tools.qido("/studies", archive, system="archive").datasets
        assert found.StudyInstanceUID == sent.StudyInstanceUID
        assert found.RetrieveURL.startswith("http://archive:")
        assert len(running.tools.qido("/studies", pacs)) == 0
        path = f"/studies/{sent.StudyInstanceUID}"
        (came,) = running.tools.wado(path, archive, system="archive").datasets
        assert came == sent


def test_searches_and_refusals_are_audited() -> None:
    with Hospital(seed=7, site="community") as running:
        token = running.pacs.tokens.issue("viewer")
        ask(running, "/studies?PatientName=Silva*", token)
        ask(running, "/studies?Colour=red", token)  # was not understood, so nothing was searched
        ask(running, "/studies", "guessed")
        running.pacs.trail.resend()
        (query,) = audited(running, "110112")
        (alert,) = audited(running, "Node Authentication")
    assert 'UserID="viewer"' in query.xml
    asked = re.search("<ParticipantObjectQuery>(.*)</ParticipantObjectQuery>", query.xml)
    assert asked is not None
    assert base64.b64decode(asked[1]).endswith(b"/dicom-web/studies?PatientName=Silva*")
    assert "The token is unknown." in alert.xml
    assert [problems_of(message.xml) for message in (query, alert)] == [[], []]


def audited(hospital: Hospital, event: str) -> list[AuditEntry]:
    found = hospital.audit.search(event=event, source="pacs")
    return [hospital.audit.message(row[0]) for row in found]
