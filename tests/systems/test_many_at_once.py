"""Thirty-two callers at once, at every interface: each gets its own answer, and nothing stays."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.sop_classes import (
    MODALITY_WORKLIST,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)

MANY = 32
Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]


def at_once(work: Callable[[int], Any], count: int = MANY) -> list[Any]:
    """Let so many threads begin in the same moment; return what each came to."""
    ready = threading.Barrier(count, timeout=60)

    def run(number: int) -> Any:
        ready.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return [each.result(120) for each in [pool.submit(run, n) for n in range(count)]]


def fall_to(hospital: Hospital, count: int) -> bool:
    """Wait until no system answers more associations than this; their ends are no events."""
    systems, end, waiting = (hospital.pacs, hospital.ris), time.monotonic() + 15, threading.Event()
    while any(s._dicom.associations > count for s in systems) and time.monotonic() < end:
        waiting.wait(0.02)
    return all(s._dicom.associations <= count for s in systems)


@pytest.fixture
def crowd(hospital: Hospital) -> Iterator[Hospital]:
    """A hospital that nobody calls any more at the end."""
    yield hospital
    assert fall_to(hospital, 0)


def test_32_callers_store_ask_and_fetch_at_once(
    crowd: Hospital, dial: Dial, image: Image, keys: Keys, station: Callable[..., Any]
) -> None:
    sent = [image() for _ in range(MANY)]
    classes = (CTImageStorage, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)

    def work(number: int) -> tuple[str, ...]:
        own = sent[number]
        asked = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=own.StudyInstanceUID)
        fetched: list[str] = []

        def keep(event: Any) -> int:
            fetched.append(str(event.request.AffectedSOPInstanceUID))
            return 0x0000

        with dial(
            crowd,
            "pacs",
            *classes,
            roles=(build_role(CTImageStorage, scu_role=True, scp_role=True),),
            handlers=((evt.EVT_C_STORE, keep),),
        ) as association:
            association.dimse_timeout = association.network_timeout = 60
            assert association.send_c_store(own).Status == 0x0000
            found = [row for _, row in association.send_c_find(asked, STUDY_ROOT_FIND) if row]
            assert [row.StudyInstanceUID for row in found] == [own.StudyInstanceUID]
            if number % 4:
                *_, (status, _) = association.send_c_get(asked, STUDY_ROOT_GET)
            else:
                *_, (status, _) = association.send_c_move(asked, "CROWD", STUDY_ROOT_MOVE)
            assert status.Status == 0x0000
            assert status.NumberOfCompletedSuboperations == 1
        return tuple(fetched)

    with station(crowd, "CROWD") as moved:
        fetched = at_once(work)
    uids = [str(one.SOPInstanceUID) for one in sent]
    assert fetched == [(uid,) if number % 4 else () for number, uid in enumerate(uids)]
    assert sorted(moved.uids) == sorted(uids[::4])
    assert len(crowd.pacs.table()) == MANY


def test_real_programs_are_served_in_a_crowd(
    crowd: Hospital, dial: Dial, image: Image, peer: Callable[[str], Path], tmp_path: Path
) -> None:
    place = next(e for e in crowd.endpoints() if (e.system, e.protocol) == ("pacs", "dicom"))
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.dcm")
        image().save_as(files[-1], enforce_file_format=True)
    program = peer("storescu")

    def work(number: int) -> int:
        if number < len(files):
            command = [
                program,
                "-aet",
                "TOOLS",
                "-aec",
                place.title,
                place.local.host,
                str(place.local.port),
            ]
            quick = {**os.environ, "TCP_NODELAY": "1"}
            return subprocess.run([*command, files[number]], env=quick, timeout=60).returncode
        with dial(crowd, "pacs", CTImageStorage) as association:
            association.dimse_timeout = 60
            return int(association.send_c_store(image()).Status)

    assert at_once(work) == [0] * MANY
    assert len(crowd.pacs.table()) == MANY


def test_the_65th_association_is_rejected_and_served_when_another_has_gone(
    crowd: Hospital, dial: Dial
) -> None:
    with ExitStack() as opened:
        for _ in range(64):
            association = opened.enter_context(dial(crowd, "pacs", VERIFICATION))
            association.network_timeout = 60  # it is idle for as long as the others need
            assert association.is_established
        with dial(crowd, "pacs", VERIFICATION) as refused:
            assert refused.is_rejected
            answer = refused.acceptor.primitive
            assert answer is not None
            # Rejected, transient, by the presentation service: local limit exceeded (PS3.8 9.3.4)
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        association.release()
        assert fall_to(crowd, 63)
        with dial(crowd, "pacs", VERIFICATION) as next_one:
            assert next_one.send_c_echo().Status == 0x0000
    told = [event.summary for event in crowd.journal.events(source="pacs")]
    assert [text[:59] for text in told if "rejected" in text] == [
        "A-ASSOCIATE rejected 2/3/2, local limit exceeded: calling T"
    ]


def test_32_scanners_ask_for_the_worklist_at_once(crowd: Hospital, dial: Dial, keys: Keys) -> None:
    patient = crowd.his.register_patient()
    order = crowd.his.place_order(patient.patient_id)
    crowd.ris.schedule(order.placer_order)
    step = Dataset()
    step.Modality = "CT"
    asked = keys(PatientID="", ScheduledProcedureStepSequence=[step])

    def work(number: int) -> list[str]:
        with dial(crowd, "ris", MODALITY_WORKLIST) as association:
            association.dimse_timeout = association.network_timeout = 60
            rows = association.send_c_find(asked, MODALITY_WORKLIST)
            return [str(row.PatientID) for _, row in rows if row is not None]

    assert at_once(work) == [[patient.patient_id]] * MANY


def test_32_senders_of_hl7_at_once_are_each_acknowledged(crowd: Hospital) -> None:
    place = next(e for e in crowd.endpoints() if (e.system, e.protocol) == ("ris", "mllp"))

    def work(number: int) -> list[str]:
        answers = []
        with socket.create_connection((place.local.host, place.local.port), 30) as connection:
            for message in range(3):
                text = (
                    "MSH|^~\\&|OUT|THERE|RIS|HERE|20260302103000||ADT^A04^ADT_A01|"
                    f"C{number}-{message}|P|2.5.1\rEVN|A04|20260302103000\r"
                    f"PID|||Q{number}-{message}^^^RIVERSIDE^MR||Crowd^{number}||19800101|F\r"
                    "PV1||O\r"
                )
                connection.sendall(b"\x0b" + text.encode() + b"\x1c\r")
                answer = b""
                while not answer.endswith(b"\x1c\r"):
                    answer += connection.recv(4096)
                answers.append(next(s for s in answer.decode().split("\r") if s[:3] == "MSA"))
        return answers

    for number, answers in enumerate(at_once(work)):
        assert answers == [f"MSA|AA|C{number}-{message}" for message in range(3)]


def test_32_browsers_at_once_get_each_its_own_study(
    crowd: Hospital, dial: Dial, image: Image
) -> None:
    sent = [image() for _ in range(MANY)]
    with dial(crowd, "pacs", CTImageStorage) as association:
        for one in sent:
            assert association.send_c_store(one).Status == 0x0000
    place = next(e for e in crowd.endpoints() if e.protocol == "dicomweb")
    token = crowd.pacs.tokens.issue("crowd")

    def work(number: int) -> list[str]:
        answer = httpx.get(
            f"http://{place.local}/dicom-web/studies",
            params={"StudyInstanceUID": str(sent[number].StudyInstanceUID)},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"},
            trust_env=False,
            timeout=60,
        )
        return [row["0020000D"]["Value"][0] for row in answer.json()]

    assert at_once(work) == [[str(one.StudyInstanceUID)] for one in sent]
