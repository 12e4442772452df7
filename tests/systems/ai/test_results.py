"""Segmentation, presentation state and report of the AI node, as another program reads them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from labsim.ids import make_uid
from labsim.imaging.presentation_applying import apply
from labsim.systems.ai.nodules import find_nodules
from labsim.systems.ai.results import results_of
from labsim.systems.ai.volume import Volume, volume_of

NOW = datetime(2026, 3, 2, 10, 30)
Thorax = Callable[..., list[FileDataset]]


def made(volume: Volume) -> list[Dataset]:
    findings = find_nodules(volume)
    return results_of(volume, findings, lambda name: make_uid("test", name), "Hillside", NOW)


@pytest.fixture(scope="module")
def volume(thorax: Thorax) -> Volume:
    return volume_of(thorax(4))


@pytest.fixture(scope="module")
def results(volume: Volume) -> list[Dataset]:
    return made(volume)


def test_they_belong_to_the_study_and_patient_of_the_images(
    volume: Volume, results: list[Dataset]
) -> None:
    assert [result.Modality for result in results] == ["SEG", "PR", "SR"]
    first = volume.images[0]
    for result in results:
        assert result.StudyInstanceUID == first.StudyInstanceUID
        assert result.SeriesInstanceUID != first.SeriesInstanceUID
        assert result.PatientID == first.PatientID
        assert result.IssuerOfPatientID == first.IssuerOfPatientID
        assert result.AccessionNumber == first.AccessionNumber


def test_the_segment_has_the_voxels_of_the_nodule(volume: Volume, results: list[Dataset]) -> None:
    (finding,) = find_nodules(volume)
    assert results[0].pixel_array.sum() == np.count_nonzero(finding.mask)


def test_the_nodule_is_circled_on_the_slices_where_it_lies_and_on_no_other(
    volume: Volume, results: list[Dataset]
) -> None:
    (finding,) = find_nodules(volume)
    state = results[1]
    for image, mask in zip(volume.images, finding.mask, strict=True):
        seen = apply(state, image)
        drawn = (seen.values == 255) & (seen.plain < 255)
        assert bool(seen.texts) == mask.any()
        if mask.any():
            assert seen.texts == (f"Nodule 1: {100 * finding.confidence:.0f} %",)
            assert not (drawn & mask).any()
            rows, columns = np.nonzero(mask)
            row, column = round(rows.mean()), round(columns.mean())
            for way in (drawn[row, :column], drawn[row, column:], drawn[:row, column]):
                assert way.any()  # the line goes around


def test_the_marks_are_seen_in_a_window_for_lung(volume: Volume, results: list[Dataset]) -> None:
    state = results[1]
    (item,) = state.SoftcopyVOILUTSequence
    assert (item.WindowCenter, item.WindowWidth) == (-600, 1500)
    assert state.SeriesDescription == "AI: nodules marked"


def test_all_are_of_the_time_of_the_nodes_clock(results: list[Dataset]) -> None:
    for result in results:
        assert (result.InstanceCreationDate, result.InstanceCreationTime) == ("20260302", "103000")
    assert results[1].PresentationCreationDate == "20260302"


def test_the_report_has_size_and_certainty_and_names_its_evidence(
    volume: Volume, results: list[Dataset]
) -> None:
    segmentation, state, report = results
    numbers = _numbers(report)
    (finding,) = find_nodules(volume)
    assert numbers["Diameter"] == pytest.approx(finding.diameter, abs=0.1)
    assert numbers["Certainty of Finding"] == pytest.approx(100 * finding.confidence, abs=0.1)
    named = {
        str(instance.ReferencedSOPInstanceUID)
        for keyword in (
            "CurrentRequestedProcedureEvidenceSequence",
            "PertinentOtherEvidenceSequence",
        )
        for study in report.get(keyword) or ()
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert {segmentation.SOPInstanceUID, state.SOPInstanceUID} <= named
    assert named >= {str(i.ReferencedSOPInstanceUID) for i in _sources(segmentation)}


def test_a_healthy_thorax_gets_a_report_alone(thorax: Thorax) -> None:
    (report,) = made(volume_of(thorax(1)))
    assert report.Modality == "SR"
    assert _numbers(report) == {}
    # CAD Processing and Findings Summary: All algorithms succeeded; without findings (CID 6047)
    assert ("111017", "111241") in _codes(report)
    assert ("121058", "25045-6") in _codes(report)  # Procedure reported: of CID 100


def test_dciodvfy_finds_no_error(
    results: list[Dataset], tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    for result in results:
        path = tmp_path / f"{result.Modality}.dcm"
        result.save_as(path, enforce_file_format=True)
        run = subprocess.run([peer("dciodvfy"), path], capture_output=True, text=True, check=False)
        assert [line for line in run.stderr.splitlines() if line.startswith("Error")] == []
        assert dcmread(path).SOPInstanceUID == result.SOPInstanceUID


def _sources(segmentation: Dataset) -> list[Dataset]:
    return [
        instance
        for series in segmentation.ReferencedSeriesSequence
        for instance in series.ReferencedInstanceSequence
    ]


def _codes(content: Dataset) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for item in content.get("ContentSequence") or ():
        if item.ValueType == "CODE":
            name, value = item.ConceptNameCodeSequence[0], item.ConceptCodeSequence[0]
            found.append((str(name.CodeValue), str(value.CodeValue)))
        found += _codes(item)
    return found


def _numbers(content: Dataset) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in content.get("ContentSequence") or ():
        if item.ValueType == "NUM":
            name = str(item.ConceptNameCodeSequence[0].CodeMeaning)
            found[name] = float(item.MeasuredValueSequence[0].NumericValue)
        found |= _numbers(item)
    return found
