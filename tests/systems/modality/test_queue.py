"""The queue of images: its states, tries without anybody asking, and room on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.journal import Event
from labsim.systems.records import Procedure

pytestmark = pytest.mark.usefixtures("small_scans")
Scan = Callable[..., Procedure]


def states(hospital: Hospital) -> set[tuple[str, int]]:
    return {(row[1], row[2]) for row in hospital.ct.images()}


def wait_for(hospital: Hospital, words: str) -> bool:
    def said(event: Event) -> bool:
        return event.source == "ct1" and words in event.summary

    return hospital.journal.wait_for(said, 5) is not None


def commit(hospital: Hospital, procedure: Procedure) -> None:
    assert hospital.ct.wait_for_commitment(hospital.ct.request_commitment(procedure.accession))


def test_images_go_by_themselves_when_so_configured(hospital: Hospital, scanned: Scan) -> None:
    hospital.ct.configure_sending(auto_send=True)
    procedure = scanned(hospital)
    assert wait_for(hospital, "4 images sent, none waiting")
    assert hospital.pacs.count(procedure.study_uid) == 4
    assert states(hospital) == {("sent", 1)}


def test_what_failed_is_tried_again_until_it_goes(hospital: Hospital, scanned: Scan) -> None:
    procedure, ct = scanned(hospital), hospital.ct
    ct.configure_sending(retries=50, interval=0.05)
    hospital.pacs.register_ae("CT1", host="ct1", port=104, may_store=False)
    assert ct.send().waiting == 4
    assert {state for state, _ in states(hospital)} == {"failed"}
    hospital.pacs.register_ae("CT1", host="ct1", port=104)
    assert wait_for(hospital, "4 images sent, none waiting")
    assert hospital.pacs.count(procedure.study_uid) == 4
    assert {state for state, _ in states(hospital)} == {"sent"}


def test_tries_are_counted_and_end(hospital: Hospital, scanned: Scan) -> None:
    scanned(hospital)
    hospital.ct.configure_sending(retries=2, interval=0.01)
    hospital.pacs.register_ae("CT1", host="ct1", port=104, may_store=False)
    hospital.ct.send()

    def third(event: Event) -> bool:
        nonlocal tries
        tries += event.source == "ct1" and "0 images sent, 4 waiting" in event.summary
        return tries == 3

    tries = 0
    assert hospital.journal.wait_for(third, 5)
    hospital.ct.worker.submit(int).result()  # what was being done is done
    assert states(hospital) == {("failed", 3)}
    assert hospital.ct._timer is None


def test_a_stop_ends_the_tries_and_a_start_takes_them_up(tmp_path: Path, scanned: Scan) -> None:
    with Hospital(path=tmp_path) as hospital:
        procedure = scanned(hospital)
        hospital.ct.configure_sending(retries=5, interval=3600)
        hospital.ct.configure("store", ae_title="PASC", host="pacs", port=104)
        hospital.ct.send()
        hospital.ct.configure("store", ae_title="PACS", host="pacs", port=104)
        hospital.ct.configure_sending(retries=5, interval=0.01)
    with Hospital(path=tmp_path) as hospital:
        assert wait_for(hospital, "4 images sent, none waiting")
        assert hospital.pacs.count(procedure.study_uid) == 4


def test_all_images_are_sent_again_when_asked(hospital: Hospital, scanned: Scan) -> None:
    procedure, ct = scanned(hospital), hospital.ct
    ct.send()
    assert vars(ct.resend(procedure.accession)) == {"sent": 4, "waiting": 0, "problem": ""}
    assert hospital.pacs.count(procedure.study_uid) == 4
    with pytest.raises(NotFound, match="no image of 'A9'"):
        ct.resend("A9")
    with pytest.raises(NotFound):
        ct.resend("")


def test_a_broken_file_does_not_keep_the_others_back(hospital: Hospital, scanned: Scan) -> None:
    procedure, ct = scanned(hospital), hospital.ct
    first = ct.images().rows[0][0]
    (ct._images / first).write_bytes(b"not an image")
    sending = ct.send()
    assert (sending.sent, sending.waiting) == (3, 1)
    assert f"{first} cannot be read" in sending.problem
    assert hospital.pacs.count(procedure.study_uid) == 3


def test_only_what_is_committed_is_deleted(hospital: Hospital, scanned: Scan) -> None:
    kept, gone, ct = scanned(hospital), scanned(hospital), hospital.ct
    ct.send()
    commit(hospital, gone)
    assert len(ct.uncommitted()) == 4
    with pytest.raises(ConfigurationError, match="4 images of A0000001 are not committed"):
        ct.delete_committed(kept.accession)
    assert ct.delete_committed() == 4
    assert [row[5] for row in ct.images(gone.accession)] == ["deleted"] * 4
    assert len(list(ct._images.glob("*.dcm"))) == 4
    with pytest.raises(NotFound):
        ct.resend(gone.accession)
    assert ct.resend(kept.accession).sent == 4


def test_commitment_is_asked_again_only_for_what_has_none(
    hospital: Hospital, scanned: Scan
) -> None:
    procedure, ct = scanned(hospital), hospital.ct
    ct.send()
    lost = hospital.pacs.paths(procedure.study_uid)[3]
    content = lost.read_bytes()
    lost.unlink()
    commit(hospital, procedure)
    [row] = ct.uncommitted()
    assert (row[0], row[2], row[3]) == (
        procedure.accession,
        "sent",
        "0x0112 No such SOP Instance",
    )
    lost.write_bytes(content)
    commit(hospital, procedure)
    assert len(ct.uncommitted()) == 0
    asked = hospital.journal.events(source="ct1", kind="state", accession=procedure.accession)
    assert [e.summary for e in asked if "asked" in e.summary] == [
        "storage commitment asked for 4 images",
        "storage commitment asked for 1 images",
    ]
    with pytest.raises(NotFound, match="nothing to ask for"):
        ct.request_commitment(procedure.accession)


def test_a_full_disk_takes_no_images_until_there_is_room(
    hospital: Hospital, scanned: Scan, entry_of: Callable[..., tuple[Procedure, Dataset]]
) -> None:
    procedure, ct = scanned(hospital), hospital.ct
    ct.configure_sending(quota=0.01)
    step = ct.start_step(entry_of(hospital)[1])
    with pytest.raises(ConfigurationError, match=r"full: 0\.0 of 0\.01 MB"):
        ct.acquire(step)
    ct.send()
    commit(hospital, procedure)
    ct.delete_committed()
    assert len(ct.acquire(step)) == 4


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"retries": 101}, {"interval": 0.0}, {"quota": -1.0}]
)
def test_a_setting_that_cannot_be_is_refused(hospital: Hospital, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be"):
        hospital.ct.configure_sending(**wrong)  # type: ignore[arg-type]
    assert hospital.ct.db.rows("SELECT * FROM settings") == []


def test_a_step_that_has_ended_takes_no_more_images(hospital: Hospital, scanned: Scan) -> None:
    scanned(hospital)
    step = hospital.ct.steps().rows[0][-1]
    with pytest.raises(ConfigurationError, match=r"The step is COMPLETED\. .*append"):
        hospital.ct.acquire(step)
    assert len(hospital.ct.images()) == 4
