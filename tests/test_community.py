"""A hospital with a scanner of each kind: every one of them takes part in a whole exam."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.catalogue import examination

ONE_OF_EACH = ("CTLUNG", "MRKNEEL", "DXHANDL", "CRBED", "USHEART", "MGSCREEN")


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


@pytest.mark.parametrize("code", ONE_OF_EACH)
def test_an_exam_goes_from_order_to_report(
    community: Hospital, code: str, peer: Callable[[str], Path]
) -> None:
    exam = community.exam(code)
    assert exam.complete, exam.problem
    assert exam.procedure is not None
    wanted = examination(code)
    assert exam.procedure.station == f"{wanted.modality}1"

    files = community.pacs.paths(exam.procedure.study_uid)
    images = [image for image in map(dcmread, files) if image.Modality != "SR"]
    assert {image.Modality for image in images} == {wanted.modality}
    assert len({image.SeriesInstanceUID for image in images}) == len(wanted.series)
    assert {image.PatientID for image in images} == {exam.procedure.patient_id}
    (station, status, count) = next(
        (row[2], row[3], row[6])
        for row in community.ris.performed_steps()
        if row[1] == exam.procedure.step_id
    )
    assert (station, status, count) == (exam.procedure.station, "COMPLETED", len(images))

    for file in (files[0], files[-1]):
        judged = subprocess.run([peer("dciodvfy"), file], capture_output=True, text=True)
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []


def test_each_scanner_is_offered_only_its_own_work(community: Hospital) -> None:
    patient = community.his.register_patient()
    order = community.his.place_order(patient.patient_id, "DXCHEST")
    procedure = community.ris.schedule(order.placer_order)
    offered = {
        scanner.ae_title: len(scanner.query_worklist(accession=procedure.accession))
        for scanner in community.modalities()
    }
    assert offered == {"CT1": 0, "MR1": 0, "DX1": 1, "CR1": 0, "US1": 0, "MG1": 0}


def test_an_examination_is_not_scheduled_on_a_scanner_that_cannot_do_it(
    community: Hospital,
) -> None:
    patient = community.his.register_patient()
    order = community.his.place_order(patient.patient_id, "MRHEAD")
    with pytest.raises(ConfigurationError, match=r"'CT1' is no MR station.*MR1"):
        community.ris.schedule(order.placer_order, station="CT1")


def test_a_patient_has_the_same_body_in_every_exam(community: Hospital) -> None:
    patient = community.his.register_patient()
    pictures = []
    for _ in range(2):
        order = community.his.place_order(patient.patient_id, "DXHANDR")
        procedure = community.ris.schedule(order.placer_order)
        scanner = community.modality("dx1")
        [entry] = scanner.query_worklist(accession=procedure.accession)
        [file] = scanner.acquire(scanner.start_step(entry))
        pictures.append(dcmread(file).pixel_array)
    assert np.array_equal(*pictures)


def test_an_artefact_is_chosen_by_its_name(community: Hospital) -> None:
    patient = community.his.register_patient()
    order = community.his.place_order(patient.patient_id, "DXHANDR")
    procedure = community.ris.schedule(order.placer_order)
    scanner = community.modality("dx1")
    [entry] = scanner.query_worklist(accession=procedure.accession)
    step = scanner.start_step(entry)
    [right], [wrong] = scanner.acquire(step), scanner.acquire(step, "wrong marker")
    assert not np.array_equal(dcmread(right).pixel_array, dcmread(wrong).pixel_array)
    with pytest.raises(NotFound, match="no artefact 'gremlins'"):
        scanner.acquire(step, "gremlins")
