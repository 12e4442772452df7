from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread

from labsim.errors import ConfigurationError, NotFound
from labsim.media import Limits, opened, outside_disc, read_disc
from labsim.media.outside import SNAGS, Outsider

IMAGES = [f"PT000000/ST000000/SE000000/IM{number:06d}" for number in range(5)]


def make(tmp_path: Path, *snags: str) -> Path:
    return outside_disc(tmp_path / "cd", images=5, snags=snags)


def zipped(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "files.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"\0" * 1000)
    return path


def test_a_good_disc_has_no_problem(tmp_path: Path) -> None:
    content = read_disc(make(tmp_path))
    assert [image.name for image in content.images] == IMAGES
    assert content.refused == []
    assert content.mismatches == []


@pytest.mark.parametrize(
    ("snag", "images", "refused", "mismatches"),
    [
        ("broken file", 4, "bytes are missing at the end", ""),
        ("missing file", 4, "", "named by the DICOMDIR, and not on the disc"),
        ("unnamed file", 6, "", "on the disc, and not named by the DICOMDIR"),
        ("duplicate file", 5, "the same instance as", "COPY"),
        ("no DICOMDIR", 5, "", "there is none"),
        ("stranger in the DICOMDIR", 5, "", "the DICOMDIR says Patient ID 5822, the file 4711"),
    ],
)
def test_each_snag_is_found(
    tmp_path: Path, snag: str, images: int, refused: str, mismatches: str
) -> None:
    content = read_disc(make(tmp_path, snag))
    assert len(content.images) == images
    assert [refused in f"{name} {why}" for name, why in content.refused] == [True] * bool(refused)
    assert bool(content.mismatches) == bool(mismatches)
    assert all(mismatches in f"{name} {reason}" for name, reason in content.mismatches)


def test_the_pages_of_a_disc_are_no_findings_and_other_files_are(tmp_path: Path) -> None:
    disc = make(tmp_path)
    assert (disc / "INDEX.HTM").is_file()
    (disc / "VIEWER.EXE").write_bytes(b"MZ")
    assert read_disc(disc).refused == [("VIEWER.EXE", "not a DICOM file")]


def test_a_disc_in_small_letters_is_the_same_disc(tmp_path: Path) -> None:
    disc = make(tmp_path)
    for path in sorted(disc.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    content = read_disc(disc)
    assert len(content.images) == 5
    assert (content.refused, content.mismatches) == ([], [])


def test_a_file_id_that_leads_out_of_the_disc_is_a_finding_and_not_followed(
    tmp_path: Path,
) -> None:
    disc = make(tmp_path)
    secret = tmp_path / "SECRET"
    (disc / IMAGES[4]).rename(secret)
    directory = dcmread(disc / "DICOMDIR")
    directory.DirectoryRecordSequence[-1].ReferencedFileID = ["..", "SECRET"]
    directory.save_as(disc / "DICOMDIR")
    content = read_disc(disc)
    assert [image.name for image in content.images] == IMAGES[:4]
    assert ("../SECRET", "named by the DICOMDIR, and no file ID (PS3.10 8.5)") in content.mismatches


def test_a_link_that_leads_out_of_the_disc_is_refused(tmp_path: Path) -> None:
    disc = make(tmp_path)
    secret = (disc / IMAGES[0]).rename(tmp_path / "SECRET")
    try:
        (disc / IMAGES[0]).symlink_to(secret)
    except OSError:
        pytest.skip("this system lets nobody make links")
    assert read_disc(disc).refused == [(IMAGES[0], "a link that leads out of the disc")]


def test_a_directory_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    disc = make(tmp_path)
    (disc / "DICOMDIR").write_bytes(b"nonsense")
    content = read_disc(disc)
    assert len(content.images) == 5
    ((name, reason),) = content.mismatches
    assert (name, reason.startswith("cannot be read: ")) == ("DICOMDIR", True)


def test_a_zip_is_unpacked_for_the_block_only(tmp_path: Path) -> None:
    packed = outside_disc(tmp_path / "cd.zip", images=5)
    with opened(packed) as (folder, refused):
        assert [image.name for image in read_disc(folder).images] == IMAGES
    assert refused == []
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "c:evil", "a\\..\\evil"]
)
def test_an_entry_that_leads_out_of_the_folder_is_not_unpacked(tmp_path: Path, name: str) -> None:
    packed = zipped(tmp_path, "GOOD")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    before = set(tmp_path.rglob("*"))
    with opened(packed) as (folder, refused):
        assert [path.name for path in folder.rglob("*")] == ["GOOD"]
    assert [reason for _, reason in refused] == ["a path that leads out of the disc"]
    assert set(tmp_path.rglob("*")) == before


def test_a_link_in_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    packed = zipped(tmp_path, "GOOD")
    link = zipfile.ZipInfo("LINK")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with opened(packed) as (_, refused):
        assert refused == [("LINK", "a link, not a file")]


def test_too_many_files_are_not_unpacked(tmp_path: Path) -> None:
    packed = zipped(tmp_path, *(f"F{number}" for number in range(11)))
    with (
        pytest.raises(ConfigurationError, match="holds 11 files, and 10 are taken at most"),
        opened(packed, Limits(files=10)),
    ):
        pass


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = zipped(tmp_path, "A", "B")
    assert packed.stat().st_size < 1000
    with (
        pytest.raises(ConfigurationError, match="holds 2000 bytes, and 1999 are taken at most"),
        opened(packed, Limits(total=1999)),
    ):
        pass


def test_a_zip_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    packed = zipped(tmp_path, "LIAR")
    data = bytearray(packed.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(mark) + offset
        data[place : place + 4] = struct.pack("<I", 10)
    packed.write_bytes(data)
    with opened(packed, Limits(total=100)) as (folder, refused):
        assert list(folder.rglob("*")) == []
    ((name, reason),) = refused
    assert (name, "cannot be unpacked" in reason) == ("LIAR", True)


def test_a_folder_is_bounded_too(tmp_path: Path) -> None:
    disc = make(tmp_path)
    with pytest.raises(ConfigurationError, match="are taken at most"):
        read_disc(disc, Limits(total=1000))


def test_what_is_no_disc_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with (
        pytest.raises(ConfigurationError, match="no folder and no ZIP file"),
        opened(tmp_path / "x.txt"),
    ):
        pass


def test_the_same_seed_makes_the_same_images(tmp_path: Path) -> None:
    first, second = (outside_disc(tmp_path / name, seed=3, images=1) for name in "ab")
    other = outside_disc(tmp_path / "c", seed=4, images=1)
    a, b, c = ((disc / IMAGES[0]).read_bytes() for disc in (first, second, other))
    assert a == b
    assert a != c


def test_the_patient_of_a_disc_is_as_asked_for(tmp_path: Path) -> None:
    who = Outsider(name="Zieliński^Łucja", patient_id="P000001", issuer="BAYVIEW")
    disc = outside_disc(tmp_path / "a", patient=who, images=1)
    image = dcmread(disc / IMAGES[0])
    assert (image.PatientName, image.PatientID) == ("Zieliński^Łucja", "P000001")
    assert image.IssuerOfPatientID == "BAYVIEW"
    bare = outside_disc(tmp_path / "b", images=1, snags=["no issuer", "name spelled differently"])
    image = dcmread(bare / IMAGES[0])
    assert "IssuerOfPatientID" not in image
    assert image.PatientName == "MOREAU^CELINE^M"


def test_every_snag_that_there_is_can_be_had(tmp_path: Path) -> None:
    assert outside_disc(tmp_path / "cd", images=5, snags=SNAGS).is_dir()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"snags": ["scratches"]}, "no snag 'scratches'"),
        ({"modality": "PT"}, "No scanner makes 'PT'"),
        ({"protocol": "TOE"}, "no protocol 'TOE'"),
    ],
)
def test_what_cannot_be_made_says_so(tmp_path: Path, wrong: dict[str, object], words: str) -> None:
    with pytest.raises(NotFound, match=words):
        outside_disc(tmp_path / "cd", **wrong)  # type: ignore[arg-type]
