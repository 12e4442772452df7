from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, NotFound
from labsim.sop_classes import MODALITY_WORKLIST, VERIFICATION
from labsim.systems.records import Procedure
from labsim.wire.network import Address

pytestmark = pytest.mark.usefixtures("small_scans")
Dial = Callable[..., AbstractContextManager[Association]]


def entry_of(hospital: Hospital, code: str = "CTTHORAX") -> tuple[Procedure, Dataset]:
    """Bring a patient to the scanner."""
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id, code, "Cough")
    procedure = hospital.ris.schedule(order.placer_order)
    (entry,) = hospital.ct.query_worklist(accession=procedure.accession)
    return procedure, entry


def row_of(hospital: Hospital, accession: str) -> list[object]:
    return next(list(row[1:]) for row in hospital.ct.table() if row[0] == accession)


# Configuration


def test_a_new_scanner_knows_ris_and_pacs(clinic: Hospital) -> None:
    assert [tuple(row) for row in clinic.ct.peers()] == [
        ("worklist", "RIS", "ris", 104, "no"),
        ("mpps", "RIS", "ris", 104, "no"),
        ("store", "PACS", "pacs", 104, "no"),
        ("commitment", "PACS", "pacs", 104, "no"),
    ]


@pytest.mark.parametrize(
    ("service", "title"), [("print", "PACS"), ("store", ""), ("store", "A\\B"), ("store", "x" * 17)]
)
def test_a_peer_that_cannot_be_right_is_refused(clinic: Hospital, service: str, title: str) -> None:
    before = [tuple(row) for row in clinic.ct.peers()]
    with pytest.raises(ConfigurationError):
        clinic.ct.configure(service, ae_title=title, host="pacs", port=104)
    assert [tuple(row) for row in clinic.ct.peers()] == before


def test_a_changed_peer_is_kept_over_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        hospital.ct.configure("store", ae_title="ARCHIVE", host="pacs", port=11112)
    with Hospital(path=tmp_path) as hospital:
        assert vars(hospital.ct.peer("store")) == {
            "ae_title": "ARCHIVE",
            "host": "pacs",
            "port": 11112,
            "tls": False,
        }


# Echo


def test_the_peers_answer_an_echo(clinic: Hospital) -> None:
    assert {clinic.ct.echo(service) for service in ("worklist", "store")} == {"0x0000 Success"}


@pytest.mark.parametrize(
    ("title", "host", "port", "reason", "words"),
    [
        ("PASC", "pacs", 104, "rejected 1/1/7", "called AE title not recognized"),
        ("PACS", "pasc", 104, "unreachable", "No host is called 'pasc'"),
        ("PACS", "pacs", 4242, "unreachable", "Open ports of pacs: 104, 2575"),
    ],
)
def test_a_wrong_peer_is_told_by_its_cause(
    hospital: Hospital, title: str, host: str, port: int, reason: str, words: str
) -> None:
    hospital.ct.configure("store", ae_title=title, host=host, port=port)
    with pytest.raises(AssociationFailed, match=words) as caught:
        hospital.ct.echo()
    assert caught.value.reason == reason


# Steps


def test_a_step_that_the_ris_did_not_take_is_not_begun(hospital: Hospital) -> None:
    procedure, entry = entry_of(hospital)
    local = hospital.network.resolve(Address("ris", 104)).port
    hospital.network.withdraw(Address("ris", 104))
    with pytest.raises(AssociationFailed):
        hospital.ct.start_step(entry)
    assert len(hospital.ct.table()) == 0
    hospital.network.publish(Address("ris", 104), local)
    hospital.ct.start_step(entry)
    assert row_of(hospital, procedure.accession)[0] == "IN PROGRESS"


def test_a_worklist_without_an_answer_is_no_empty_worklist(hospital: Hospital) -> None:
    hospital.network.withdraw(Address("ris", 104))
    with pytest.raises(AssociationFailed, match="nothing listens on that port"):
        hospital.ct.query_worklist()


def test_an_unknown_step_takes_no_images(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match=r"has begun no step '1\.2\.3'"):
        clinic.ct.acquire("1.2.3")


def test_images_take_over_what_the_worklist_says(clinic: Hospital) -> None:
    procedure, entry = entry_of(clinic, "CTHEAD")
    uid = clinic.ct.start_step(entry)
    images = [dcmread(path) for path in clinic.ct.acquire(uid)]
    assert len({image.SOPInstanceUID for image in images}) == len(images) == 4
    for image in images:
        assert image.StudyInstanceUID == procedure.study_uid
        assert image.AccessionNumber == procedure.accession
        assert image.PatientName == entry.PatientName
        assert image.IssuerOfPatientID == "RIVERSIDE"
        assert image.BodyPartExamined == "HEAD"
        (request,) = image.RequestAttributesSequence
        assert request.RequestedProcedureID == procedure.procedure_id
        assert request.ScheduledProcedureStepID == procedure.step_id


def test_a_second_scan_of_a_step_is_another_series(clinic: Hospital) -> None:
    _, entry = entry_of(clinic)
    uid = clinic.ct.start_step(entry)
    first, second = [dcmread(clinic.ct.acquire(uid)[0]) for _ in range(2)]
    assert (first.SeriesNumber, second.SeriesNumber) == (1, 2)
    assert first.SeriesInstanceUID != second.SeriesInstanceUID
    clinic.ct.complete_step(uid)
    (step,) = [row for row in clinic.ris.performed_steps() if row[0] == uid]
    assert step[6] == 8


# Sending and commitment


def test_what_the_archive_did_not_get_waits_and_is_sent_later(hospital: Hospital) -> None:
    procedure, entry = entry_of(hospital)
    hospital.ct.acquire(hospital.ct.start_step(entry))
    hospital.ct.configure("store", ae_title="PASC", host="pacs", port=104)
    sending = hospital.ct.send()
    assert (sending.sent, sending.waiting) == (0, 4)
    assert "called AE title not recognized (1/1/7)" in sending.problem
    assert hospital.pacs.count(procedure.study_uid) == 0
    hospital.ct.configure("store", ae_title="PACS", host="pacs", port=104)
    assert vars(hospital.ct.send()) == {"sent": 4, "waiting": 0, "problem": ""}
    assert hospital.pacs.count(procedure.study_uid) == 4
    assert hospital.ct.send().sent == 0  # nothing is sent twice


def test_a_refused_image_waits_with_the_answer(hospital: Hospital) -> None:
    procedure, entry = entry_of(hospital)
    hospital.ct.acquire(hospital.ct.start_step(entry))
    hospital.pacs.register_ae("CT1", host="ct1", port=104, may_store=False)
    sending = hospital.ct.send(procedure.accession)
    assert str(sending) == "0 images sent, 4 waiting: 0x0124 Not authorized"
    assert row_of(hospital, procedure.accession)[1:3] == [4, 0]


def test_only_one_exam_is_sent_when_only_one_is_wanted(hospital: Hospital) -> None:
    first, second = entry_of(hospital), entry_of(hospital)
    for _, entry in (first, second):
        hospital.ct.acquire(hospital.ct.start_step(entry))
    assert hospital.ct.send(second[0].accession).sent == 4
    assert hospital.ct.waiting() == 4
    assert hospital.pacs.count(first[0].study_uid) == 0


def test_images_wait_over_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        procedure, entry = entry_of(hospital)
        hospital.ct.acquire(hospital.ct.start_step(entry))
    with Hospital(path=tmp_path) as hospital:
        assert hospital.ct.send().sent == 4
        assert hospital.pacs.count(procedure.study_uid) == 4


def test_no_commitment_for_what_was_not_sent(clinic: Hospital) -> None:
    procedure, entry = entry_of(clinic)
    clinic.ct.acquire(clinic.ct.start_step(entry))
    with pytest.raises(NotFound, match="has sent no image"):
        clinic.ct.request_commitment(procedure.accession)


def test_a_commitment_that_nobody_took_is_not_asked(hospital: Hospital) -> None:
    procedure, entry = entry_of(hospital)
    hospital.ct.acquire(hospital.ct.start_step(entry))
    hospital.ct.send()
    hospital.network.withdraw(Address("pacs", 104))
    with pytest.raises(AssociationFailed):
        hospital.ct.request_commitment(procedure.accession)
    assert row_of(hospital, procedure.accession)[3] == 0


def test_a_lost_file_is_not_committed(hospital: Hospital) -> None:
    procedure, entry = entry_of(hospital)
    hospital.ct.acquire(hospital.ct.start_step(entry))
    hospital.ct.send()
    hospital.pacs.paths(procedure.study_uid)[3].unlink()
    uid = hospital.ct.request_commitment(procedure.accession)
    assert hospital.ct.wait_for_commitment(uid)
    assert row_of(hospital, procedure.accession)[1:4] == [4, 4, 3]
    answers = [r["commitment"] for r in hospital.ct.db.rows("SELECT commitment FROM images")]
    assert answers.count("0x0112 No such SOP Instance") == 1


def test_nobody_reports_a_commitment_that_was_never_asked(clinic: Hospital) -> None:
    assert not clinic.ct.wait_for_commitment("1.2.3", timeout=0)


# Called by others


def test_anybody_may_verify_the_scanner(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "ct1", VERIFICATION, calling="STRANGER") as association:
        assert association.send_c_echo().Status == 0x0000


def test_the_scanner_has_no_worklist(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "ct1", VERIFICATION, MODALITY_WORKLIST) as association:
        assert [c.abstract_syntax for c in association.rejected_contexts] == [MODALITY_WORKLIST]


def test_a_step_that_is_finished_is_not_finished_again(hospital: Hospital) -> None:
    _, entry = entry_of(hospital)
    uid = hospital.ct.start_step(entry)
    hospital.ct.acquire(uid)
    hospital.ct.complete_step(uid)
    with pytest.raises(DimseFailed, match="may not be updated") as caught:
        hospital.ct.discontinue_step(uid)
    assert caught.value.status == 0x0110
