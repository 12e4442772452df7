"""DCMTK with bad manners: aborts, small PDUs, crowds of contexts, and receivers that fail."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import dcmtk
import pytest
from pydicom import dcmread

from labsim import Hospital

DATASETS = Path(__file__).parents[2] / "datasets"
THORAX = [DATASETS / f"thorax-{number}.dcm" for number in range(1, 6)]
IMAGES = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in THORAX}
STUDY = str(dcmread(THORAX[0]).StudyInstanceUID)
KEYS = dcmtk.keys("STUDY", StudyInstanceUID=STUDY)
WAIT = 30.0


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        dcmtk.run("storescu", *dcmtk.called(running, "pacs"), *THORAX)
        yield running


@pytest.fixture(autouse=True)
def no_association_left(clinic: Hospital) -> Iterator[None]:
    """After each test every association has ended, and the systems answer."""
    before = set(threading.enumerate())
    yield
    end(associations() - before)
    for system in ("pacs", "ris", "ct1", "ws1"):
        assert clinic.tools.echoscu(system) == "0x0000 Success"


def associations() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("AcceptorThread")}


def end(threads: set[threading.Thread]) -> None:
    for thread in threads:
        thread.join(WAIT)
    assert [thread.name for thread in threads if thread.is_alive()] == []


@pytest.mark.parametrize("system", ["pacs", "ris", "ct1", "ws1"])
def test_an_association_that_is_aborted_is_over(clinic: Hospital, system: str) -> None:
    for _ in range(3):
        dcmtk.run("echoscu", "--abort", "--repeat", "3", *dcmtk.called(clinic, system))


def test_an_abort_after_storing_loses_nothing(clinic: Hospital) -> None:
    dcmtk.run("storescu", "--abort", *dcmtk.called(clinic, "pacs"), *THORAX)
    assert clinic.pacs.count(STUDY) == len(THORAX)
    assert len(clinic.pacs.consistency()) == 0


def test_an_abort_after_each_kind_of_query_and_retrieval(clinic: Hospital, tmp_path: Path) -> None:
    where = dcmtk.called(clinic, "pacs")
    dcmtk.run("findscu", "--abort", "-S", *where, *KEYS)
    dcmtk.run("getscu", "--abort", "-S", "-od", tmp_path, *where, *KEYS)
    dcmtk.run("movescu", "--abort", "-S", "-aem", "WS1", *where, *KEYS)
    assert len(dcmtk.files(tmp_path)) == len(THORAX)


def test_a_caller_that_is_killed_while_it_sends_leaves_only_whole_images(
    clinic: Hospital, tmp_path: Path
) -> None:
    arguments = ["--repeat", "500", *dcmtk.called(clinic, "pacs"), *map(str, THORAX)]
    seen = clinic.journal.all()[-1].seq
    with subprocess.Popen([dcmtk.program("storescu"), *arguments]) as process:
        assert clinic.journal.wait_for(
            lambda event: event.source == "pacs" and event.kind == "dimse", WAIT, after=seen
        )
        process.kill()
    end(associations())
    assert clinic.pacs.count(STUDY) == len(THORAX)
    assert len(clinic.pacs.consistency()) == 0


@pytest.mark.parametrize("length", ["4096", "131072"])
def test_small_and_large_pdus_carry_the_same_bytes(
    clinic: Hospital, tmp_path: Path, length: str
) -> None:
    where = dcmtk.called(clinic, "pacs")
    dcmtk.run("storescu", "-pdu", length, "--max-send-pdu", length, *where, *THORAX)
    dcmtk.run("findscu", "-pdu", length, "-S", *where, *KEYS)
    dcmtk.run("getscu", "-pdu", length, "-S", "-od", tmp_path, *where, *KEYS)
    came = [dcmread(path) for path in dcmtk.files(tmp_path)]
    assert {image.SOPInstanceUID for image in came} == set(IMAGES)
    for image in came:
        assert image.PixelData == IMAGES[image.SOPInstanceUID].PixelData


def test_a_receiver_of_small_pdus_is_sent_small_ones(clinic: Hospital, tmp_path: Path) -> None:
    port = dcmtk.free_port()
    dcmtk.known(clinic, "SMALL", port)
    arguments = ["-aet", "SMALL", "-pdu", "4096", "-od", tmp_path]
    with dcmtk.listening("storescp", tmp_path, *arguments, port=port):
        assert clinic.tools.movescu(STUDY, destination="SMALL") == []
        came = [dcmread(path) for path in dcmtk.files(tmp_path)]
    clinic.pacs.remove_ae("SMALL")
    assert {image.SOPInstanceUID for image in came} == set(IMAGES)
    for image in came:
        assert image.PixelData == IMAGES[image.SOPInstanceUID].PixelData


@pytest.mark.parametrize("system", ["pacs", "ris", "ct1", "ws1"])
@pytest.mark.parametrize(("contexts", "syntaxes"), [("128", "1"), ("1", "38"), ("128", "38")])
def test_as_many_contexts_and_syntaxes_as_there_is_room_for(
    clinic: Hospital, system: str, contexts: str, syntaxes: str
) -> None:
    crowd = ["-ppc", contexts, "-pts", syntaxes]
    dcmtk.run("echoscu", *crowd, *dcmtk.called(clinic, system))


def test_a_move_is_cancelled_and_the_archive_goes_on(clinic: Hospital, tmp_path: Path) -> None:
    port = dcmtk.free_port()
    dcmtk.known(clinic, "SLOW", port)
    arguments = ["-aet", "SLOW", "-od", tmp_path, "--sleep-during", "1"]
    with dcmtk.listening("storescp", tmp_path, *arguments, port=port):
        where = dcmtk.called(clinic, "pacs")
        code, said = dcmtk.outcome(
            "movescu", "-v", "-S", "--cancel", "1", "-aem", "SLOW", *where, *KEYS
        )
        came = dcmtk.files(tmp_path)
    clinic.pacs.remove_ae("SLOW")
    assert "ancel" in said, (code, said)
    assert len(came) < len(THORAX)


@pytest.mark.parametrize("manner", ["--refuse", "--abort-after", "--abort-during"])
def test_a_receiver_that_fails_is_counted_as_failed(
    clinic: Hospital, tmp_path: Path, manner: str
) -> None:
    port = dcmtk.free_port()
    dcmtk.known(clinic, "BAD", port)
    arguments = ["-aet", "BAD", "-od", tmp_path, manner]
    with dcmtk.listening("storescp", tmp_path, *arguments, port=port):
        where = dcmtk.called(clinic, "pacs")
        said = dcmtk.run("movescu", "-d", "-S", "-aem", "BAD", *where, *KEYS, good=False)
    clinic.pacs.remove_ae("BAD")
    assert f"Failed Suboperations          : {len(THORAX)}" in said
    assert clinic.pacs.count(STUDY) == len(THORAX)


def test_who_expects_an_answer_at_once_hangs_up_and_harms_nobody(
    clinic: Hospital, tmp_path: Path
) -> None:
    port = dcmtk.free_port()
    dcmtk.known(clinic, "SLOW", port)
    arguments = ["-aet", "SLOW", "-od", tmp_path, "--sleep-during", "2"]
    with dcmtk.listening("storescp", tmp_path, *arguments, port=port):
        where = dcmtk.called(clinic, "pacs")
        arguments = ["-td", "1", "-S", "-aem", "SLOW", *where, *KEYS]
        _, said = dcmtk.outcome("movescu", *arguments)  # it ends with 0 all the same
        assert "No data available" in said
        assert clinic.tools.echoscu("pacs") == "0x0000 Success"
    clinic.pacs.remove_ae("SLOW")
