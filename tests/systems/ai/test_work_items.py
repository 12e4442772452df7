"""The AI node's work as Unified Procedure Steps: asked for over the web, and its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import DimseFailed
from labsim.systems.ai import performing
from labsim.systems.ai.source import ResultRefused, Source
from labsim.wire.dimse import DicomNode

Thorax = Callable[..., list[FileDataset]]
Dial = Callable[..., AbstractContextManager[Association]]


@pytest.fixture
def community() -> Iterator[Hospital]:
    """A hospital with an AI node."""
    with Hospital(site="community", seed=7) as running:
        yield running


@pytest.fixture
def send(dial: Dial) -> Callable[[Hospital, str, list[FileDataset]], None]:
    """Send images to a system."""

    def send_all(hospital: Hospital, system: str, images: list[FileDataset]) -> None:
        with dial(hospital, system, CTImageStorage) as association:
            for image in images:
                assert association.send_c_store(image).Status == 0x0000

    return send_all


Send = Callable[[Hospital, str, list[FileDataset]], None]


def request(hospital: Hospital, method: str, path: str, step: Any = None) -> httpx.Response:
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == ("ai", "dicomweb"))
    token = hospital.ai.tokens.issue("planner", ("read", "write"))
    return httpx.request(
        method,
        f"http://{place.local.host}:{place.local.port}/dicom-web{path}",
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/dicom+json",
        },
        json=step,
        trust_env=False,
    )


def about(study_uid: str, **more: str) -> dict[str, Any]:
    """Write the request to look at a study."""
    step = Dataset()
    step.ProcedureStepState, step.ScheduledProcedureStepPriority = "SCHEDULED", "HIGH"
    step.ProcedureStepLabel, step.InputReadinessState = "Second look", "READY"
    step.ScheduledProcedureStepStartDateTime = "20260302103000"
    step.StudyInstanceUID = study_uid
    for keyword, value in more.items():
        setattr(step, keyword, value)
    return step.to_json_dict()


def heard(hospital: Hospital, words: str) -> None:
    event = hospital.journal.wait_for(lambda e: e.source == "ai" and words in e.summary, 30)
    assert event is not None, words


def steps(hospital: Hospital) -> list[Dataset]:
    return [hospital.ai.steps.get(row["uid"]) for row in hospital.ai.steps.rows()]


def test_a_series_that_came_is_a_step_that_names_input_and_results(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(4)
    for system in ("pacs", "ai"):
        send(community, system, images)
    heard(community, "COMPLETED: 1 nodules")
    (step,) = steps(community)
    assert (step.ProcedureStepState, step.PatientID) == ("COMPLETED", "AI00004")
    (given,) = step.InputInformationSequence
    assert given.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in given.ReferencedSOPSequence} == {
        image.SOPInstanceUID for image in images
    }
    (performed,) = step.UnifiedProcedureStepPerformedProcedureSequence
    named = {
        str(instance.ReferencedSOPInstanceUID)
        for series in performed.OutputInformationSequence
        for instance in series.ReferencedSOPSequence
    }
    stored = community.pacs.sql(
        "SELECT i.sop_uid FROM instances i JOIN series s ON i.series = s.id "
        "WHERE s.modality IN ('PR', 'SEG', 'SR')"
    )
    assert named == {str(row[0]) for row in stored}
    assert len(named) == 3
    assert step.ReferencedRequestSequence[0].AccessionNumber == "AI4"


def test_a_study_that_is_asked_for_is_fetched_from_the_archive(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = [*thorax(4, slices=12), *thorax(4, "CHEST_LOCALIZER", slices=2)]
    send(community, "pacs", images)
    answer = request(community, "POST", "/workitems", about(images[0].StudyInstanceUID))
    assert answer.status_code == 201
    heard(community, "COMPLETED: ")
    (step,) = steps(community)
    (performed,) = step.UnifiedProcedureStepPerformedProcedureSequence
    assert performed.OutputInformationSequence
    assert community.journal.wait_for(lambda e: e.transaction == "RAD-16", 5)
    # What was fetched for it makes no work of its own.
    assert community.ai.wait_until_idle(5)
    assert len(steps(community)) == 1


@pytest.mark.parametrize(
    ("change", "why", "reason"),
    [
        ({"StudyInstanceUID": "1.2.3"}, "no CT series of that study", "110523"),
        ({"StudyInstanceUID": ""}, "does not name the study", "110523"),
        ({"PatientID": "SOMEBODY"}, "not of the patient", "110514"),
    ],
)
def test_what_cannot_be_looked_at_is_canceled_with_the_reason(
    community: Hospital,
    thorax: Thorax,
    send: Send,
    change: dict[str, str],
    why: str,
    reason: str,
) -> None:
    images = thorax(1, slices=8)
    send(community, "pacs", images)
    asked = about(images[0].StudyInstanceUID, **change)
    assert request(community, "POST", "/workitems", asked).status_code == 201
    heard(community, f"CANCELED: {'The' if 'series' not in why else 'The archive has'}")
    (step,) = steps(community)
    (told,) = step.ProcedureStepProgressInformationSequence
    assert why in told.ReasonForCancellation
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == reason
    assert not community.pacs.sql("SELECT 1 FROM series WHERE modality = 'SR'")


def test_work_for_another_station_or_without_its_input_is_left_alone(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    asked = about("1.2.3", InputReadinessState="INCOMPLETE")
    location = request(community, "POST", "/workitems", asked).headers["Location"]
    assert community.ai.wait_until_idle(5)
    assert [step.ProcedureStepState for step in steps(community)] == ["SCHEDULED"]
    # When the input is ready it is taken up.
    ready = {"00404041": {"vr": "CS", "Value": ["READY"]}}
    path = "/workitems/" + location.rsplit("/", 1)[1]
    assert request(community, "POST", path, ready).status_code == 200
    heard(community, "CANCELED: The archive has no CT series")


def test_a_result_that_cannot_be_stored_now_holds_up_no_other_work(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1, slices=8)
    send(community, "pacs", images)
    community.pacs.register_ae("AI", host="ai", port=104, may_store=False)
    request(community, "POST", "/workitems", about(images[0].StudyInstanceUID))
    request(community, "POST", "/workitems", about("1.2.3"))
    heard(community, "work waits: C-STORE failed: 0x0124")
    heard(community, "work item 2 CANCELED")
    assert [step.ProcedureStepState for step in steps(community)] == ["IN PROGRESS", "CANCELED"]


def test_a_result_that_the_archive_will_never_take_ends_the_step_with_its_words(
    community: Hospital, thorax: Thorax, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = thorax(1, slices=8)
    send(community, "pacs", images)

    def broken(result: Dataset) -> Dataset:
        del result.SeriesInstanceUID
        return result

    results = performing.results_of
    monkeypatch.setattr(
        performing, "results_of", lambda *values: [broken(made) for made in results(*values)]
    )
    request(community, "POST", "/workitems", about(images[0].StudyInstanceUID))
    heard(community, "CANCELED: The archive refused the SR: 0xA900")


@pytest.mark.parametrize(("status", "for_good"), [(0xA700, False), (0xA900, True), (0xC000, True)])
def test_which_refusals_are_for_good(
    community: Hospital,
    thorax: Thorax,
    station: Callable[..., AbstractContextManager[Any]],
    status: int,
    for_good: bool,
) -> None:
    with station(community, "ELSEWHERE") as other:
        other.answer = status
        known = community.pacs.known_ae("ELSEWHERE")
        assert known is not None
        node = DicomNode("ai", "AI", community.journal, community.ai.facility.network)
        with pytest.raises(DimseFailed) as caught:
            Source(node, known.peer).store(thorax(1, slices=2))
        assert isinstance(caught.value, ResultRefused) == for_good
        assert len(other.images) == 1, "what names a result that was refused is not sent"


def test_an_image_that_did_not_reach_the_disk_is_not_acknowledged(
    community: Hospital, thorax: Thorax, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    image = thorax(1, slices=8)[0]
    with dial(community, "ai", CTImageStorage) as association:
        monkeypatch.setattr("labsim.systems.ai.images.os.fsync", full)
        assert association.send_c_store(image).Status != 0x0000
        monkeypatch.undo()
        assert community.ai.sql("SELECT COUNT(*) FROM images")[0][0] == 0
        assert association.send_c_store(image).Status == 0x0000


def test_who_is_not_known_is_rejected_and_may_verify_all_the_same(
    community: Hospital, dial: Dial
) -> None:
    with dial(community, "ai", CTImageStorage, calling="STRANGER") as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    assert community.journal.wait_for(
        lambda e: e.source == "ai" and "STRANGER" in e.summary and "reject" in e.summary.lower(), 5
    )
    with dial(community, "ai", "1.2.840.10008.1.1", calling="STRANGER") as association:
        assert association.send_c_echo().Status == 0x0000
    community.ai.callers.add("STRANGER")
    with dial(community, "ai", CTImageStorage, calling="STRANGER") as association:
        assert association.is_established
    community.ai.callers.remove("STRANGER")
    assert [row[0] for row in community.ai.callers.table()] == ["PACS", "TOOLS"]


def test_a_step_that_waits_for_the_archive_ends_when_asked_and_is_there_after_a_restart(
    community: Hospital, thorax: Thorax
) -> None:
    community.pacs.stop_service("dicom")
    location = request(community, "POST", "/workitems", about("1.2.3")).headers["Location"]
    heard(community, "work waits")
    community.rebuild("ai")
    assert [step.ProcedureStepState for step in steps(community)] == ["IN PROGRESS"]
    path = "/workitems/" + location.rsplit("/", 1)[1] + "/cancelrequest"
    why = {"00741238": {"vr": "LT", "Value": ["Patient has gone home"]}}
    assert request(community, "POST", path, why).status_code == 202
    heard(community, "CANCELED: Patient has gone home")
