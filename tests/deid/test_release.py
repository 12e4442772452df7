"""A folder for others: what is in it, what is left out, and that it was searched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset

from labsim.deid.deidentifier import Deidentifier
from labsim.deid.pseudonyms import Pseudonyms
from labsim.deid.release import release
from labsim.errors import ConfigurationError, NotFound
from labsim.imaging import ct, us

Original = Callable[..., FileDataset]


def test_files_are_named_by_pseudonym_and_number(original: Original, tmp_path: Path) -> None:
    images = [original(ct, "HEAD"), original(ct, "CHEST"), original(ct, "ABDOMEN")]
    key = Pseudonyms(secret="one")
    made = release(images, tmp_path / "out", Deidentifier(pseudonyms=key))
    patient = key.patient("P000123", "RIVERSIDE")
    assert [file for file, _ in made.files] == [
        f"{patient}/ST001/SE{number:03}/IM00001.dcm" for number in (1, 2, 3)
    ]
    assert [str(dcmread(made.path / file).SOPInstanceUID) for file, _ in made.files] == [
        uid for _, uid in made.files
    ]
    assert made.leaks == []
    assert list(tmp_path.iterdir()) == [made.path]


def test_an_image_with_text_in_its_pixels_is_left_out_and_named(
    original: Original, tmp_path: Path
) -> None:
    echo = original(us, "HEART", BurnedInAnnotation="YES")
    made = release([echo, original()], tmp_path / "out", Deidentifier())
    assert len(made.files) == 1
    [(uid, reason)] = made.left_out
    assert uid == echo.SOPInstanceUID
    assert "name in its pixels" in reason
    assert "1 files written, 1 left out (US image" in str(made)
    with pytest.raises(NotFound, match="name in its pixels"):
        release([echo], tmp_path / "none", Deidentifier())
    assert not (tmp_path / "none").exists()


def test_what_slips_through_is_found_and_said(original: Original, tmp_path: Path) -> None:
    image = original(Manufacturer="Møller Imaging")  # which the profile keeps
    made = release([image], tmp_path / "out", Deidentifier())
    assert [(leak.attribute, leak.what) for leak in made.leaks] == [("Manufacturer", "name")]
    assert "1 leaks found" in str(made)


def test_what_the_options_retain_is_no_leak(original: Original, tmp_path: Path) -> None:
    options = ["retain_uids", "retain_institution"]
    made = release([original()], tmp_path / "out", Deidentifier(options))
    assert made.leaks == []
    assert ("StudyInstanceUID", "kept", 1) in [tuple(row) for row in made.table()]


def test_nothing_is_added_to_a_folder_with_something_in_it(
    original: Original, tmp_path: Path
) -> None:
    (tmp_path / "list of patients.txt").write_text("Møller", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not empty"):
        release([original()], tmp_path, Deidentifier())
    assert [path.name for path in tmp_path.iterdir()] == ["list of patients.txt"]
