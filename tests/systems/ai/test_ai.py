"""The AI node: from the series it is sent to the results in the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.imaging.presentation_applying import apply, is_presentation_state, refers_to

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


def states(hospital: Hospital) -> list[tuple[str, int | None, str]]:
    return [(row[3], row[4], row[5]) for row in hospital.ai.workitems()]


def heard(hospital: Hospital, words: str) -> None:
    event = hospital.journal.wait_for(lambda e: e.source == "ai" and words in e.summary, 30)
    assert event is not None, words


def results(hospital: Hospital) -> list[str]:
    rows = hospital.pacs.sql("SELECT modality FROM series WHERE modality <> 'CT' ORDER BY modality")
    return [str(row[0]) for row in rows]


def test_a_routed_series_comes_back_with_segmentation_marks_and_report(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(4)
    community.pacs.routes.change("ai", quiet=0.05, enabled=True)
    send(community, "pacs", images)
    heard(community, "COMPLETED: 1 nodules")
    assert states(community) == [("COMPLETED", 1, "")]
    assert results(community) == ["PR", "SEG", "SR"]
    assert community.pacs.sql("SELECT COUNT(*) FROM studies")[0][0] == 1


def test_a_reader_gets_the_marks_with_the_images(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(4)
    for system in ("pacs", "ai"):
        send(community, system, images)
    heard(community, "COMPLETED: 1 nodules")
    received = community.tools.getscu(images[0].StudyInstanceUID)
    (state,) = [one for one in received if is_presentation_state(one)]
    slices = [one for one in received if one.Modality == "CT"]
    assert all(refers_to(state, image) for image in slices)
    marked = [shown for image in slices if (shown := apply(state, image)).texts]
    assert 0 < len(marked) < len(slices) == len(images)
    assert all("Nodule 1: " in shown.texts[0] for shown in marked)


def test_the_route_is_there_at_first_and_stays_as_it_is_configured(community: Hospital) -> None:
    (route,) = community.pacs.routes.all()
    assert (route.destination, route.conditions) == (
        "AI",
        {"Modality": ["CT"], "BodyPartExamined": ["CHEST"]},
    )
    assert route.quiet > 0, "a series is sent when it is complete"
    assert not route.enabled, "a day is the same for the same seed"
    assert community.archive.routes.all() == []
    community.pacs.routes.remove("ai")
    community.rebuild("pacs")
    assert community.pacs.routes.all() == []


def test_a_healthy_thorax_gets_a_report_alone(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    for system in ("pacs", "ai"):
        send(community, system, thorax(1))
    heard(community, "COMPLETED: 0 nodules")
    assert results(community) == ["SR"]


def test_a_series_waits_until_it_has_all_that_the_archive_has(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1)
    send(community, "pacs", images)
    send(community, "ai", images[:20])
    heard(community, "series waits: 20 of 24 images")
    assert states(community) == []
    send(community, "ai", images[20:])
    heard(community, "COMPLETED")
    assert results(community) == ["SR"]


def test_a_head_is_canceled_with_the_reason_and_without_a_result(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    for system in ("pacs", "ai"):
        send(community, system, thorax(1, "HEAD", slices=8))
    heard(community, "CANCELED: Not a thorax")
    ((state, findings, reason),) = states(community)
    assert (state, findings) == ("CANCELED", None)
    assert "is HEAD" in reason
    assert results(community) == []


def test_without_the_archive_it_waits_and_takes_up_the_work_when_it_is_back(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1)
    send(community, "pacs", images)
    community.pacs.stop_service("dicom")
    send(community, "ai", images)
    heard(community, "work waits")
    assert states(community) == []
    community.pacs.start_service("dicom")
    community.rebuild("ai")
    heard(community, "COMPLETED")
    assert results(community) == ["SR"]


def test_an_image_of_another_patient_under_the_same_series_cancels_the_work(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1)
    send(community, "pacs", images)
    images[3].PatientID = "SOMEBODY"
    send(community, "ai", images)
    heard(community, "CANCELED: The images differ in PatientID")
    assert results(community) == []


def test_a_series_that_is_sent_again_is_not_worked_on_again(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1)
    for system in ("pacs", "ai"):
        send(community, system, images)
    heard(community, "COMPLETED")
    send(community, "ai", images)
    assert community.ai.wait_until_idle(5)
    assert len(states(community)) == 1


def test_a_series_that_the_archive_does_not_have_waits(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    send(community, "ai", thorax(1, slices=8))
    heard(community, "series waits: 8 of 0 images")
    assert states(community) == []


def test_results_that_the_archive_did_not_take_are_sent_later(
    community: Hospital, thorax: Thorax, send: Send
) -> None:
    images = thorax(1)
    for system in ("pacs", "ai"):
        if system == "ai":  # it may ask, and may not store
            community.pacs.register_ae("AI", host="ai", port=104, may_store=False)
        send(community, system, images)
    heard(community, "work waits")
    assert states(community) == [("IN PROGRESS", None, "")]
    assert results(community) == []
    community.pacs.register_ae("AI", host="ai", port=104)
    community.ai.retry()
    heard(community, "COMPLETED")
    assert results(community) == ["SR"]


def test_a_uid_that_is_a_path_is_refused(community: Hospital, thorax: Thorax, dial: Dial) -> None:
    image = thorax(1, slices=8)[0]
    with dial(community, "ai", CTImageStorage) as association:
        image.StudyInstanceUID = "../../x"
        assert association.send_c_store(image).Status == 0xA900
