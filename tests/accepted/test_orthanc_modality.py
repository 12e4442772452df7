"""A scanner of the hospital has Orthanc for its archive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.exam import Exam
from labsim.systems.modality import Modality

WAIT = 20.0


@pytest.fixture
def scanner(town: Hospital, beside: Orthanc) -> Iterator[Modality]:
    """The CT, which stores in Orthanc and has it promise to keep the images."""
    ct, kept = town.ct, town.ct.peers()
    for service in ("store", "commitment"):
        ct.configure(service, ae_title="ORTHANC", host="127.0.0.1", port=beside.dicom_port)
    yield ct
    for service, title, host, port, _ in kept:
        ct.configure(service, ae_title=title, host=host, port=port)


def taken(town: Hospital, scanner: Modality) -> Exam:
    """Order an examination, and take its images."""
    exam = Exam(town)
    exam.patient = town.his.register_patient("Núñez^Zoë")
    exam.order = town.his.place_order(exam.patient.patient_id, "CTHEAD", "Fall")
    assert town.settle(WAIT)
    exam.procedure = town.ris.schedule(exam.order.placer_order)
    (entry,) = scanner.query_worklist(accession=exam.accession)
    exam.mpps_uid = scanner.start_step(entry)
    scanner.acquire(exam.mpps_uid)
    return exam


def on_the_scanner(scanner: Modality, exam: Exam) -> dict[str, FileDataset]:
    files = [scanner.folder / "images" / row[0] for row in scanner.images(exam.accession)]
    images = [dcmread(file) for file in files]
    return {str(image.SOPInstanceUID): image for image in images}


def test_a_scanner_verifies_stores_and_is_promised_what_it_stored(
    town: Hospital, beside: Orthanc, scanner: Modality, small_scans: None
) -> None:
    assert scanner.echo("store").startswith("0x0000")
    exam = taken(town, scanner)
    assert scanner.send(exam.accession).waiting == 0
    scanner.complete_step(exam.mpps_uid)
    made = on_the_scanner(scanner, exam)
    assert exam.procedure is not None
    assert len(made) == 4
    assert beside.instances(exam.procedure.study_uid) == made
    assert town.pacs.count(exam.procedure.study_uid) == 0

    uid = scanner.request_commitment(exam.accession)
    assert scanner.wait_for_commitment(uid, WAIT)
    assert {row[4] for row in scanner.images(exam.accession)} == {"committed"}
    assert scanner.delete_committed(exam.accession) == 4


def test_a_scanner_deletes_nothing_that_orthanc_has_lost(
    town: Hospital, beside: Orthanc, scanner: Modality, small_scans: None
) -> None:
    exam = taken(town, scanner)
    scanner.send(exam.accession)
    scanner.complete_step(exam.mpps_uid)
    assert exam.procedure is not None
    lost, *_ = beside.find("Instance", StudyInstanceUID=exam.procedure.study_uid)
    beside.http.delete(f"/instances/{lost}").raise_for_status()
    uid = scanner.request_commitment(exam.accession)
    assert scanner.wait_for_commitment(uid, WAIT)
    answers = sorted(row[4] for row in scanner.images(exam.accession))
    assert answers[1:] == ["committed"] * 3
    assert answers[0].startswith("0x0112")
    with pytest.raises(ConfigurationError, match=r"1 images of .* are not committed"):
        scanner.delete_committed(exam.accession)
