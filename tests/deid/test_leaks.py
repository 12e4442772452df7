"""What still tells who the patient is, is found wherever it was planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.fileset import FileSet

from labsim.deid.deidentifier import Deidentifier
from labsim.deid.leaks import Facts, Leak, facts_of, find_leaks
from labsim.errors import NotFound

Original = Callable[..., FileDataset]


@pytest.fixture
def image(original: Original) -> FileDataset:
    return original()


@pytest.fixture
def facts(image: FileDataset) -> Facts:
    return facts_of([image])


@pytest.fixture
def clean(image: FileDataset) -> FileDataset:
    return Deidentifier().dataset(image)


def test_the_facts_are_those_of_the_originals(facts: Facts, image: FileDataset) -> None:
    assert facts.names == {"Møller", "Åse"}
    assert ("accession number", "A0000456") in facts.numbers
    assert ("patient ID", "P000123") in facts.numbers
    assert facts.birth_dates == {"19700102"}
    assert facts.institutions == {"Riverside Clinic"}
    assert {image.StudyInstanceUID, image.SOPInstanceUID, image.FrameOfReferenceUID} <= facts.uids
    assert image.SOPClassUID not in facts.uids
    assert image.file_meta.ImplementationClassUID not in facts.uids


def test_a_deidentified_image_has_none_and_the_original_many(
    image: FileDataset, clean: FileDataset, facts: Facts
) -> None:
    assert find_leaks(clean, facts) == []
    found = {leak.what for leak in find_leaks(image, facts)}
    assert found >= {"name", "patient ID", "accession number", "birth date", "institution", "UID"}


def plant_private(image: FileDataset) -> None:
    image.private_block(0x0029, "RIVER", create=True).add_new(0x01, "UN", b"by moller\0")


def plant_nested(image: FileDataset) -> None:
    inner, outer = Dataset(), Dataset()
    inner.ImageComments = "seen by Ms ASE  MOLLER"
    outer.ReferencedInstanceSequence = [Dataset(), inner]
    image.SourceInstanceSequence = [outer]


def plant_text(image: FileDataset) -> None:
    item = Dataset()
    item.TextValue = "Born on 2 January 1970"
    image.ContentSequence = [item]


def plant_number(image: FileDataset) -> None:
    image.ImageComments = "see order A0000456."


def plant_meta(image: FileDataset) -> None:
    image.file_meta.SourceApplicationEntityTitle = "MOLLER_CT"


def plant_institution(image: FileDataset) -> None:
    image.Manufacturer = "Made for RIVERSIDE CLINIC"


def plant_preamble(image: FileDataset) -> None:
    image.preamble = b"P000123".ljust(128, b"\0")


@pytest.mark.parametrize(
    ("plant", "place", "attribute", "what"),
    [
        (plant_private, "(0029,1001)", "private", "name"),
        (plant_nested, "(0042,0013)[1].(0008,114A)[2].(0020,4000)", "ImageComments", "name"),
        (plant_text, "(0040,A730)[1].(0040,A160)", "TextValue", "birth date"),
        (plant_number, "(0020,4000)", "ImageComments", "accession number"),
        (plant_meta, "(0002,0016)", "SourceApplicationEntityTitle", "name"),
        (plant_institution, "(0008,0070)", "Manufacturer", "institution"),
        (plant_preamble, "preamble", "", "patient ID"),
    ],
)
def test_a_planted_leak_is_found_and_its_place_named(
    clean: FileDataset,
    facts: Facts,
    tmp_path: Path,
    plant: Callable[[FileDataset], None],
    place: str,
    attribute: str,
    what: str,
) -> None:
    plant(clean)
    clean.save_as(tmp_path / "1.dcm", enforce_file_format=True)
    found = find_leaks(tmp_path, facts)
    assert {(leak.file, leak.place, leak.attribute, leak.what) for leak in found} == {
        ("1.dcm", place, attribute, what)
    }


def test_a_uid_of_the_original_is_found_in_text_and_with_something_added(
    image: FileDataset, clean: FileDataset, facts: Facts
) -> None:
    clean.ImageComments = f"derived from {image.SOPInstanceUID}.1"
    clean.FrameOfReferenceUID = image.FrameOfReferenceUID
    found = find_leaks([clean], facts)
    assert [(leak.attribute, leak.what) for leak in found] == [
        ("FrameOfReferenceUID", "UID"),
        ("ImageComments", "UID"),
    ]
    assert find_leaks([clean], facts.without("uids")) == []


@pytest.mark.parametrize(
    "written",
    ["19700102", "1970-01-02", "02.01.1970", "2.1.1970", "1/2/1970", "Jan 2, 1970", "2. jan 1970"],
)
def test_a_birth_date_is_found_however_it_is_written(
    clean: FileDataset, facts: Facts, written: str
) -> None:
    clean.ImageComments = f"born {written}"
    assert [leak.what for leak in find_leaks(clean, facts)] == ["birth date"]


def test_a_short_name_is_found_as_a_word_only(clean: FileDataset, facts: Facts) -> None:
    clean.ImageComments = "a phase of disease"
    assert find_leaks(clean, facts) == []
    clean.ImageComments = "Åse's scan"
    assert [leak.value for leak in find_leaks(clean, facts)] == ["ase"]


def test_names_of_files_and_folders_and_other_files_are_searched(
    clean: FileDataset, facts: Facts, tmp_path: Path
) -> None:
    (tmp_path / "Moller_Ase").mkdir()
    clean.save_as(tmp_path / "Moller_Ase" / "A0000456.dcm", enforce_file_format=True)
    (tmp_path / "README.TXT").write_text("For Møller", encoding="latin-1")
    found = [(leak.file, leak.place, leak.what) for leak in find_leaks(tmp_path, facts)]
    assert ("Moller_Ase", "file name", "name") in found
    assert ("Moller_Ase/A0000456.dcm", "file name", "accession number") in found
    assert ("README.TXT", "text", "name") in found


def test_a_dicomdir_is_searched(image: FileDataset, facts: Facts, tmp_path: Path) -> None:
    image.save_as(tmp_path / "image", enforce_file_format=True)
    files = FileSet()
    files.add(dcmread(tmp_path / "image"))
    files.write(tmp_path / "disc")
    files._stage["t"].cleanup()
    found = find_leaks(tmp_path / "disc" / "DICOMDIR", facts)
    assert {"PatientName", "PatientID", "StudyInstanceUID"} <= {leak.attribute for leak in found}
    assert all(leak.place.startswith("(0004,1220)[") for leak in found)


def test_what_was_found_reads_as_a_table(clean: FileDataset, facts: Facts) -> None:
    assert "Nothing tells" in str(find_leaks(clean, facts))
    clean.ImageComments = "Møller"
    found = find_leaks(clean, facts)
    assert found == [
        Leak(str(clean.SOPInstanceUID), "(0020,4000)", "ImageComments", "name", "moller")
    ]
    assert "ImageComments" in str(found)
    assert "<table" in found._repr_html_()


def test_a_folder_that_is_not_there_is_said_to_be_missing(facts: Facts, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        find_leaks(tmp_path / "nowhere", facts)
