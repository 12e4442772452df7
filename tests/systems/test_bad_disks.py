"""Indexes that are locked, stores that cannot be written: true answers soon, and no restart."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO

import httpx
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_context
from pynetdicom.association import Association

from labsim import Hospital, LabError
from labsim.database import DatabaseLocked
from labsim.errors import DeliveryFailed
from labsim.sop_classes import MPPS
from labsim.systems.facility import System

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
PATIENCE = 4.5  # seconds; a peer waits for 5


@contextmanager
def locked(system: System) -> Iterator[None]:
    """Hold a system's database, as a learner's forgotten transaction does."""
    with contextlib.closing(sqlite3.connect(system.db.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def soon() -> Iterator[None]:
    """Fail if the block takes longer than a peer waits."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < PATIENCE


def test_a_locked_database_says_who_holds_it_up(clinic: Hospital) -> None:
    db = clinic.ris.db
    before = db.value("SELECT COUNT(*) FROM counters")

    def together() -> None:
        with db.transaction():
            db.run("INSERT INTO counters VALUES ('b', 1)")

    with locked(clinic.ris):
        for attempt in (lambda: db.run("INSERT INTO counters VALUES ('a', 1)"), together):
            with soon(), pytest.raises(DatabaseLocked, match=r"ris\.sqlite is locked by another"):
                attempt()
        assert db.value("SELECT COUNT(*) FROM counters") == before
    together()
    db.run("DELETE FROM counters WHERE name = 'b'")


def test_an_image_for_a_locked_index_is_refused_and_questions_are_answered(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent = image()
    with dial(clinic, "pacs", CTImageStorage) as association:
        with locked(clinic.pacs):
            with soon():
                answer = association.send_c_store(sent)
            assert answer.Status == 0xA700
            assert answer.ErrorComment == "storage: pacs.sqlite is locked by another program."
            with soon():
                found = clinic.tools.findscu(level="STUDY", StudyInstanceUID=sent.StudyInstanceUID)
            assert list(found) == []
        assert association.send_c_store(sent).Status == 0x0000
    assert clinic.pacs.count(sent.StudyInstanceUID) == 1
    assert list((clinic.pacs.folder / "incoming").iterdir()) == []


def test_a_message_for_a_locked_system_is_answered_with_an_error_and_the_next_is_taken(
    clinic: Hospital,
) -> None:
    patient = clinic.his.register_patient()
    with locked(clinic.ris), soon(), pytest.raises(DeliveryFailed, match=r"AE ris\.sqlite is lock"):
        clinic.his.place_order(patient.patient_id)
    order = clinic.his.place_order(patient.patient_id)
    assert clinic.ris.orders()[-1].placer_order == order.placer_order


def test_a_performed_step_for_a_locked_system_is_a_failure(clinic: Hospital, dial: Dial) -> None:
    step = Dataset()
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    with dial(clinic, "ris", MPPS) as association, locked(clinic.ris), soon():
        answer, _ = association.send_n_create(step, MPPS, "2.25.404")
    assert answer.Status != 0x0000


def test_images_over_the_web_for_a_locked_index_are_refused(clinic: Hospital, image: Image) -> None:
    buffer = BytesIO()
    image().save_as(buffer, enforce_file_format=True)
    token = clinic.pacs.tokens.issue("scanner", rights=("write",))
    place = next(e for e in clinic.endpoints() if e.protocol == "dicomweb")

    def post() -> httpx.Response:
        return httpx.post(
            f"http://{place.local}/dicom-web/studies",
            content=b"--x\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--x--\r\n"
            % buffer.getvalue(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=x',
            },
            trust_env=False,
            timeout=30,
        )

    with locked(clinic.pacs):
        answer = post()
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]
    assert post().status_code == 200


@pytest.mark.usefixtures("small_scans")
@pytest.mark.parametrize("name", ["his", "ris", "pacs", "ct1"])
def test_an_exam_stops_at_a_locked_system_and_the_next_is_whole(name: str) -> None:
    with Hospital(seed=7) as hospital:
        # The HIS itself raises, if it is that which is locked.
        with locked(hospital.systems[name]), contextlib.suppress(LabError):
            assert hospital.exam().problem
        hospital.his.outbox.resend()
        exam = hospital.exam()
        assert exam.problem == ""
        assert exam.complete


def test_a_store_that_cannot_be_written_is_told_and_works_when_it_can(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent = image()
    incoming = clinic.pacs.folder / "incoming"
    with dial(clinic, "pacs", CTImageStorage) as association:
        incoming.rmdir()
        incoming.write_text("a file where the folder should be")
        answer = association.send_c_store(sent)
        assert answer.Status == 0xA700
        assert answer.ErrorComment.startswith("storage: ")
        assert clinic.pacs.count(sent.StudyInstanceUID) == 0
        incoming.unlink()
        incoming.mkdir()
        assert association.send_c_store(sent).Status == 0x0000
    assert clinic.pacs.count(sent.StudyInstanceUID) == 1


def test_a_workstation_whose_index_is_locked_takes_no_image_and_then_does(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    sent, station = image(), clinic.workstation
    with dial(clinic, station.name, build_context(CTImageStorage), calling="PACS") as association:
        with locked(station), soon():
            assert association.send_c_store(sent).Status == 0xA700
        assert association.send_c_store(sent).Status == 0x0000


def test_an_engine_whose_queue_is_locked_acknowledges_nothing_and_takes_the_next() -> None:
    with Hospital(site="community", seed=7) as hospital:
        with (
            locked(hospital.engine),
            soon(),
            pytest.raises(DeliveryFailed, match=r"AE engine\.sqlite is locked"),
        ):
            hospital.his.register_patient(name="Roe^Jane")
        assert len(hospital.engine.messages()) == 0
        patient = hospital.his.register_patient(name="Doe^Ann")
        hospital.his.place_order(patient.patient_id)
        assert hospital.settle()
        (order,) = hospital.ris.orders()
        assert order.patient_id == patient.patient_id
