"""Services of a system that are stopped and started while the system runs."""

from __future__ import annotations

import socket

import pytest

from labsim import Hospital
from labsim.errors import AssociationFailed, NotFound, PortTaken


def port_of(hospital: Hospital, system: str, protocol: str) -> int:
    (place,) = [e for e in hospital.endpoints() if (e.system, e.protocol) == (system, protocol)]
    return place.local.port


def test_a_stopped_service_refuses_and_a_started_one_answers_at_the_same_port(
    hospital: Hospital,
) -> None:
    port = port_of(hospital, "pacs", "dicom")
    hospital.pacs.stop_service("dicom")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    with pytest.raises(NotFound, match="pacs"):  # the desk finds no DICOM service there
        hospital.tools.echoscu("pacs")
    assert "stopped" in str(hospital.pacs.services())
    hospital.pacs.start_service("dicom")
    assert port_of(hospital, "pacs", "dicom") == port
    assert hospital.tools.echoscu("pacs").startswith("0x0000")


def test_a_scanner_hears_that_the_archive_does_not_listen(hospital: Hospital) -> None:
    hospital.pacs.stop_service("dicom")
    exam = hospital.exam()
    assert "pacs:104" in exam.problem
    hospital.pacs.start_service("dicom")
    assert hospital.exam().problem == ""


def test_stopping_twice_is_stopping_once_and_the_journal_says_so(hospital: Hospital) -> None:
    for _ in range(2):
        hospital.ris.stop_service("mwl")
        hospital.ris.start_service("mwl")
        hospital.ris.start_service("mwl")
    notes = [e.summary for e in hospital.journal.events(source="ris", kind="state")]
    assert notes.count("service mwl stopped") == notes.count("service mwl started") == 2


def test_a_service_that_is_not_there_is_named(hospital: Hospital) -> None:
    with pytest.raises(NotFound, match=r"ris has no service 'gopher'.*mllp, mwl"):
        hospital.ris.stop_service("gopher")


def test_a_port_that_was_taken_meanwhile_is_named_and_the_service_stays_down(
    hospital: Hospital,
) -> None:
    port = port_of(hospital, "his", "mllp")
    hospital.his.stop_service("mllp")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken, match=str(port)):
        hospital.his.start_service("mllp")
    assert "stopped" in str(hospital.his.services())
    hospital.his.start_service("mllp")
    assert port_of(hospital, "his", "mllp") == port


def test_a_system_is_made_anew_on_its_ports_with_what_it_kept(hospital: Hospital) -> None:
    exam = hospital.exam()
    before = {(e.system, e.protocol): e.local for e in hospital.endpoints()}
    hospital.rebuild("pacs")
    assert {(e.system, e.protocol): e.local for e in hospital.endpoints()} == before
    assert hospital.pacs.count(exam.procedure.study_uid) == len(exam.images)
    assert hospital.tools.echoscu("pacs").startswith("0x0000")


def test_who_calls_a_system_that_is_down_hears_so(hospital: Hospital) -> None:
    said: list[str] = []

    def call() -> None:
        with pytest.raises((AssociationFailed, NotFound)) as told:
            hospital.tools.echoscu("pacs")
        said.append(told.value.what)

    hospital.rebuild("pacs", call)
    assert said
