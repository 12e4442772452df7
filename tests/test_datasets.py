from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

ROOT = Path(__file__).parents[1]
DATASETS = ROOT / "datasets"
NAMES = sorted(path.name for path in DATASETS.glob("*.dcm"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the script has just filled."""
    folder = tmp_path_factory.mktemp("datasets")
    subprocess.run(
        [sys.executable, "-W", "error", DATASETS / "make.py", folder], cwd=ROOT, check=True
    )
    return folder


def test_the_script_makes_every_sample_and_no_other(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_what_the_script_makes(made: Path, name: str) -> None:
    kept, new = dcmread(DATASETS / name), dcmread(made / name)
    # Processors differ in the last bit of a sine, so a pixel may be rounded the other way.
    difference = kept.pixel_array.astype(int) - new.pixel_array
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < difference.size / 1000
    if not difference.any():
        assert (DATASETS / name).read_bytes() == (made / name).read_bytes()
    for dataset in (kept, new):
        del dataset.PixelData
    assert (kept.file_meta, kept) == (new.file_meta, new)


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in DATASETS.iterdir() if path.is_file()) < 1_000_000


def test_every_sample_has_origin_and_licence() -> None:
    text = (DATASETS / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert all("made by labsim" in row and row.endswith("| MIT |") for row in rows)
    named = "".join(row.split("|")[1] for row in rows)
    for name in NAMES:
        series = name.partition("-")[0]
        assert name in named or f"`{series}-1.dcm` … `{series}-5.dcm`" in named, name


def test_the_samples_are_what_the_readme_says() -> None:
    samples = {name: dcmread(DATASETS / name) for name in NAMES}
    series = [samples[f"thorax-{number}.dcm"] for number in range(1, 6)]
    assert len({image.SeriesInstanceUID for image in series}) == 1
    assert {image.file_meta.TransferSyntaxUID for image in series} == {ExplicitVRLittleEndian}
    assert [image.InstanceNumber for image in series] == [1, 2, 3, 4, 5]
    assert {(image.Rows, image.Columns) for image in series} == {(128, 128)}
    assert samples["head-implicit.dcm"].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert samples["thorax-rle.dcm"].file_meta.TransferSyntaxUID == RLELossless
    name = samples["name-utf8.dcm"].PatientName
    assert (name.ideographic, name.phonetic) == ("中村^博", "なかむら^ひろし")
    assert {image.IssuerOfPatientID for image in samples.values()} == {"SAMPLES"}


def test_no_two_samples_share_an_instance_or_a_patient_of_another_study() -> None:
    samples = [dcmread(DATASETS / name) for name in NAMES]
    assert len({image.SOPInstanceUID for image in samples}) == len(samples)
    patients = {image.StudyInstanceUID: image.PatientID for image in samples}
    assert len(set(patients.values())) == len(patients) == 4
