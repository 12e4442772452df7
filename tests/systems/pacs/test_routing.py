from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import MRImageStorage

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.pacs import send_queue
from labsim.systems.pacs.conditions import conditions_of, met
from labsim.wire.network import free_port

Station = Callable[..., AbstractContextManager[Any]]
Image = Callable[..., FileDataset]
Send = Callable[..., list[int]]
Heard = Callable[[Hospital, str], None]

NOW = datetime(2026, 3, 2, 10, 30)


@pytest.fixture
def archive() -> Iterator[Hospital]:
    """A clinic that knows a workstation which is down."""
    with Hospital(seed=7, clock=ManualClock(NOW)) as running:
        running.pacs.register_ae("READER", host="127.0.0.1", port=free_port())
        yield running


def states(hospital: Hospital) -> list[tuple[str, str, int, str]]:
    """Return rule, destination, images and state of what is queued."""
    return [(row[0], row[1], row[4], row[5]) for row in hospital.pacs.queue()]


# Rules


def test_a_route_sends_what_meets_its_conditions_and_nothing_else(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    ct, mr = image(), image(SOPClassUID=MRImageStorage, Modality="MR")
    with station(archive, "READER") as reader:
        archive.pacs.routes.add("ct", "READER", Modality="CT", StudyDescription="*thorax*")
        assert send(archive, ct, mr, image(StudyDescription="CT head")) == [0, 0, 0]
        heard(archive, "1 images sent to READER: ct")
    assert reader.uids == [ct.SOPInstanceUID]
    assert states(archive) == [("ct", "READER", 1, "sent")]


class Slow(list[FileDataset]):
    """What a workstation is sent; it takes each image when it is let."""

    def __init__(self, let: threading.Event) -> None:
        super().__init__()
        self._let = let

    def append(self, image: FileDataset) -> None:
        self._let.wait(5)
        super().append(image)


def test_the_hospital_has_not_settled_while_images_are_sent(
    archive: Hospital, station: Station, send: Send, image: Image
) -> None:
    let = threading.Event()
    with station(archive, "READER") as reader:
        reader.images = Slow(let)
        archive.pacs.routes.add("all", "READER")
        assert send(archive, image()) == [0]
        assert not archive.settle(0.2)
        let.set()
        assert archive.settle(5)
        assert states(archive) == [("all", "READER", 1, "sent")]


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({"Modality": "CT"}, True),
        ({"Modality": ["MR", "CT"]}, True),
        ({"Modality": "MR"}, False),
        ({"Modality": "CT", "StationName": "CT9"}, False),
        ({"calling": "CT?"}, True),
        ({"calling": "MR1"}, False),
        ({"BodyPartExamined": "CHEST"}, False),
        ({"BodyPartExamined": ""}, True),
        ({"InstitutionName": "*"}, True),
        ({"hours": "10:00-11:00"}, True),
        ({"hours": "10:30-11:00"}, True),
        ({"hours": "10:00-10:30"}, False),
        ({"hours": "22:00-06:00"}, False),
        ({"hours": "22:00-10:31"}, True),
        ({}, True),
    ],
)
def test_conditions(image: Image, conditions: dict[str, Any], fits: bool) -> None:
    assert met(conditions_of(conditions), image(), "CT1", NOW) == fits


@pytest.mark.parametrize(
    ("name", "destination", "more", "why"),
    [
        ("new", "NOBODY", {}, "No AE title 'NOBODY' is registered"),
        ("new", "PACS", {}, "PACS is the PACS itself"),
        ("new", "READER", {"calling": "READER"}, "send the images of READER back to it"),
        ("new", "READER", {"priority": "URGENT"}, "'URGENT' is no priority"),
        ("new", "READER", {"quiet": -1}, "cannot be quiet for -1 s"),
        ("new", "READER", {"hours": "9-17"}, "'9-17' is no window of the day"),
        ("new", "READER", {"Modalty": "CT"}, "'Modalty' is no keyword"),
        ("new", "READER", {"PixelData": "x"}, "PixelData is no text"),
        ("old", "READER", {}, "There is a route 'old' already"),
        (" ", "READER", {}, "A route has no name"),
    ],
)
def test_what_cannot_be_right_is_refused(
    archive: Hospital, name: str, destination: str, more: dict[str, Any], why: str
) -> None:
    archive.pacs.routes.add("old", "TOOLS")
    with pytest.raises(ConfigurationError, match=why):
        archive.pacs.routes.add(name, destination, **more)
    assert [route.name for route in archive.pacs.routes.all()] == ["old"]


def test_a_route_is_changed_put_out_of_force_and_removed(archive: Hospital) -> None:
    routes = archive.pacs.routes
    routes.add("ct", "READER", Modality="CT", calling="CT1")
    routes.change("ct", destination="TOOLS", priority="HIGH", Modality=["CT", "MR"], calling="")
    routes.disable("ct")
    route = routes.get("ct")
    assert (route.destination, route.priority, route.enabled) == ("TOOLS", "HIGH", False)
    assert route.conditions == {"Modality": ["CT", "MR"]}
    assert routes.enable("ct").enabled
    routes.remove("ct")
    for action in (routes.remove, routes.enable, routes.get):
        with pytest.raises(NotFound, match=r"no route 'ct'.*none yet"):
            action("ct")


def test_a_route_that_is_not_in_force_sends_nothing(
    archive: Hospital, send: Send, image: Image
) -> None:
    archive.pacs.routes.add("all", "READER", enabled=False)
    send(archive, image())
    assert states(archive) == []


def test_nobody_is_sent_what_came_from_there(archive: Hospital, send: Send, image: Image) -> None:
    archive.pacs.routes.add("all", "READER")
    send(archive, image(), calling="READER")
    assert states(archive) == []


def test_routes_are_counted(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    archive.pacs.routes.add("all", "READER")
    with station(archive, "READER"):
        send(archive, image())
        heard(archive, "images sent to READER")
    [row] = archive.pacs.routes.table()
    assert tuple(row) == ("all", "everything", "READER", "MEDIUM", 0.0, "yes", 0, 1, 0)


# The queue


def test_what_a_destination_missed_waits_until_it_is_up(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    port = archive.pacs.known_ae("READER").port  # type: ignore[union-attr]
    archive.pacs.routes.add("all", "READER")
    images = [image(), image()]
    send(archive, *images)
    heard(archive, "2 images wait for READER")
    assert {(row[0], row[5]) for row in archive.pacs.queue()} == {("all", "waiting")}
    assert all("refused the TCP connection" in row[7] for row in archive.pacs.queue())
    with station(archive, "READER", port) as reader:
        assert archive.pacs.retry() == 2
    assert sorted(reader.uids) == sorted(i.SOPInstanceUID for i in images)
    assert {row[5] for row in archive.pacs.queue()} == {"sent"}


def test_a_destination_that_is_up_again_gets_it_without_anybody(
    archive: Hospital,
    station: Station,
    send: Send,
    image: Image,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(send_queue, "RETRY_AFTER", 0.3)
    port = archive.pacs.known_ae("READER").port  # type: ignore[union-attr]
    archive.pacs.routes.add("all", "READER")
    send(archive, image())
    heard(archive, "1 images wait for READER")
    with station(archive, "READER", port):
        heard(archive, "1 images sent to READER")


def test_what_waited_goes_after_a_restart(
    tmp_path: Path, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    port = free_port()
    with Hospital(path=tmp_path) as hospital:
        hospital.pacs.register_ae("READER", host="127.0.0.1", port=port)
        hospital.pacs.routes.add("all", "READER", quiet=60)
        send(hospital, image())
        assert states(hospital) == [("all", "READER", 1, "waiting")]
        with station(hospital, "READER", port) as reader:
            hospital.stop()
            hospital.start()
            heard(hospital, "1 images sent to READER")
        assert len(reader.images) == 1


def test_a_study_goes_when_it_has_been_quiet_over_one_association(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    study, series = make_uid("quiet study"), make_uid("quiet series")
    with station(archive, "READER") as reader:
        archive.pacs.routes.add("all", "READER", quiet=0.8)
        shared = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "PatientID": "Q1"}
        send(archive, *(image(InstanceNumber=n, **shared) for n in range(5)))
        assert reader.images == []
        heard(archive, "5 images sent to READER: all")
    assert (len(reader.images), reader.associations) == (5, 1)


def test_a_refused_image_has_failed_and_can_be_sent_again(
    archive: Hospital, station: Station, send: Send, image: Image
) -> None:
    archive.pacs.routes.add("all", "READER", quiet=60)
    send(archive, image())
    with station(archive, "READER") as reader:
        reader.answer = 0xA700
        assert archive.pacs.retry() == 0
        [row] = archive.pacs.queue()
        assert (row[5], row[7]) == ("failed", "0xA700 Out of resources")
        reader.answer = 0x0000
        assert archive.pacs.retry("READER") == 1
    [row] = archive.pacs.queue()
    assert (row[5], row[6]) == ("sent", 2)


def test_what_is_more_urgent_goes_first(
    archive: Hospital, station: Station, send: Send, image: Image
) -> None:
    archive.pacs.routes.add("rest", "READER", quiet=60, priority="LOW", StudyID="rest")
    archive.pacs.routes.add("stat", "READER", quiet=60, priority="HIGH", StudyID="stat")
    rest, stat = image(StudyID="rest"), image(StudyID="stat")
    send(archive, rest, stat)
    with station(archive, "READER") as reader:
        archive.pacs.retry()
    assert reader.uids == [stat.SOPInstanceUID, rest.SOPInstanceUID]


def test_a_silent_destination_keeps_no_other_waiting(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard, silent_port: int
) -> None:
    archive.pacs.register_ae("SILENT", host="127.0.0.1", port=silent_port)
    archive.pacs.routes.add("silent", "SILENT")
    with station(archive, "READER"):
        archive.pacs.routes.add("to the reader", "READER")
        send(archive, image())
        heard(archive, "1 images sent to READER: to the reader")
        summaries = [event.summary for event in archive.journal.events(source="pacs")]
        assert not any("wait for SILENT" in summary for summary in summaries)
    assert ("silent", "SILENT", 1, "waiting") in states(archive)


def test_a_destination_that_was_removed_keeps_its_queue_and_says_why(
    archive: Hospital, send: Send, image: Image, heard: Heard
) -> None:
    archive.pacs.routes.add("all", "READER")
    archive.pacs.remove_ae("READER")
    send(archive, image())
    heard(archive, "wait for READER")
    [row] = archive.pacs.queue()
    assert (row[5], row[7]) == ("waiting", "No AE title 'READER' is registered at the PACS.")


def test_images_go_out_under_the_patient_as_corrected(
    archive: Hospital, station: Station, send: Send, image: Image
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    archive.pacs.routes.add("all", "READER", quiet=60)
    sent = image(PatientID=patient.patient_id, IssuerOfPatientID="RIVERSIDE", PatientName="Vega^I")
    send(archive, sent)
    archive.his.update_patient(patient.patient_id, name="Vega^Inés")
    assert archive.journal.wait_for(lambda e: e.source == "pacs" and "updated" in e.summary, 5)
    with station(archive, "READER") as reader:
        archive.pacs.retry()
    assert str(reader.images[0].PatientName) == "Vega^Inés"


def test_dcmtk_takes_what_is_routed(
    archive: Hospital,
    peer: Callable[[str], Path],
    send: Send,
    image: Image,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = archive.pacs.known_ae("READER").port  # type: ignore[union-attr]
    archive.pacs.routes.add("all", "READER", quiet=60)
    sent = image()
    send(archive, sent)
    monkeypatch.setenv("TCP_NODELAY", "1")
    command = [peer("storescp"), "-aet", "READER", "-od", tmp_path, "--single-process", str(port)]
    with subprocess.Popen([str(part) for part in command]) as receiver:
        try:
            assert any(archive.pacs.retry() for _ in range(500))  # until it listens
        finally:
            receiver.terminate()
    [file] = tmp_path.iterdir()
    assert dcmread(file).SOPInstanceUID == sent.SOPInstanceUID


def test_stopping_does_not_wait_for_a_timer_or_a_silent_peer(
    tmp_path: Path, send: Send, image: Image
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Hospital(path=tmp_path) as hospital:
        hospital.pacs.register_ae("SILENT", host="127.0.0.1", port=server.getsockname()[1])
        hospital.pacs.routes.add("now", "SILENT")
        hospital.pacs.routes.add("later", "TOOLS", quiet=600)
        send(hospital, image())
        with server.accept()[0]:
            began = time.monotonic()
            hospital.stop()
            assert time.monotonic() - began < 3
