from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from labsim.errors import ConfigurationError, NotFound
from labsim.media import Disc, outside_disc, read_disc, write_disc

Peer = Callable[[str], Path]


def burn(path: Path, *images: FileDataset, profile: str = "STD-GEN-CD", web: bool = False) -> Disc:
    sources = [(str(image.SOPInstanceUID), lambda image=image: image) for image in images]
    return write_disc(
        path,
        sources,
        institution="Lakeside Hospital",
        uid="2.25.1",
        created=datetime(2026, 3, 2, 10, 30),
        profile=profile,
        web=web,
    )


def sample(name: str) -> FileDataset:
    return dcmread(str(get_testdata_file(name)))


def only_file(disc: Disc) -> FileDataset:
    ((name, _),) = disc.files
    return dcmread(disc.path / name)


def run(program: Path, *arguments: object) -> str:
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
    )
    return done.stdout.decode("latin-1")


def test_the_validators_find_no_error_on_a_disc(tmp_path: Path, peer: Peer) -> None:
    disc = outside_disc(tmp_path / "cd", images=3)
    files = [image.path for image in read_disc(disc).images]
    shown = [run(peer("dciodvfy"), path) for path in (disc / "DICOMDIR", *files)]
    assert len(shown) == 4
    assert shown[0].strip() == "BasicDirectory"
    assert [text for text in shown if "Error" in text] == []
    assert "Error" not in run(peer("dcentvfy"), *files)


def test_dcmtk_reads_the_directory(tmp_path: Path, peer: Peer) -> None:
    disc = outside_disc(tmp_path / "cd", images=3)
    shown = run(peer("dcmdump"), disc / "DICOMDIR")
    assert shown.count("Directory Record") == 6  # patient, study, series, three images
    assert 'refFileID="PT000000\\ST000000\\SE000000\\IM000002"' in shown


def test_file_ids_are_those_of_the_standard(tmp_path: Path) -> None:
    disc = burn(tmp_path / "cd", sample("CT_small.dcm"))
    ((name, _),) = disc.files
    assert name == "PT000000/ST000000/SE000000/IM000000"
    assert (disc.path / name).is_file()


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_bigendian.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "MR_small_implicit.dcm",
    ],
)
def test_a_cd_holds_uncompressed_pixels_of_the_same_values(tmp_path: Path, name: str) -> None:
    image = sample(name)
    assert image.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian
    pixels = image.pixel_array.copy()
    written = only_file(burn(tmp_path / "cd", image))
    assert written.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert written.SOPInstanceUID == sample(name).SOPInstanceUID
    np.testing.assert_array_equal(written.pixel_array, pixels)


def test_big_endian_words_are_turned_round(tmp_path: Path) -> None:
    image = sample("MR_small_bigendian.dcm")
    assert image.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    written = only_file(burn(tmp_path / "cd", image))
    np.testing.assert_array_equal(written.pixel_array, sample("MR_small.dcm").pixel_array)


def test_another_profile_keeps_the_compression_it_allows(tmp_path: Path) -> None:
    kept = burn(tmp_path / "a", sample("SC_rgb_jpeg_dcmtk.dcm"), profile="STD-GEN-USB-JPEG")
    assert only_file(kept).file_meta.TransferSyntaxUID in (JPEGBaseline8Bit, JPEGLosslessSV1)
    rle = sample("MR_small_RLE.dcm")
    assert rle.file_meta.TransferSyntaxUID == RLELossless
    opened = burn(tmp_path / "b", rle, profile="STD-GEN-USB-JPEG")
    assert only_file(opened).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_what_a_record_needs_and_a_file_lacks_is_put_into_the_record_only(tmp_path: Path) -> None:
    image = sample("CT_small.dcm")
    image.StudyID = ""
    del image.StudyTime
    disc = burn(tmp_path / "cd", image)
    written, directory = only_file(disc), dcmread(disc.path / "DICOMDIR")
    assert (written.StudyID, "StudyTime" in written) == ("", False)
    (study,) = (r for r in directory.DirectoryRecordSequence if r.DirectoryRecordType == "STUDY")
    assert (study.StudyID, study.StudyTime) == ("1", "000000")


def test_what_cannot_be_written_is_left_out_and_named(tmp_path: Path) -> None:
    def broken() -> FileDataset:
        raise NotFound("its file cannot be read")

    image = sample("CT_small.dcm")
    disc = write_disc(
        tmp_path / "cd",
        [("1.2.3", broken), (str(image.SOPInstanceUID), lambda: image)],
        institution="x",
        uid="2.25.1",
        created=datetime(2026, 3, 2),
    )
    assert disc.left_out == [("1.2.3", "its file cannot be read")]
    assert len(disc.files) == 1
    assert "1 left out" in str(disc)


def test_pixels_that_no_codec_reads_are_left_out(tmp_path: Path) -> None:
    disc = burn(tmp_path / "cd", sample("JPGExtended.dcm"), sample("CT_small.dcm"))
    assert len(disc.files) == 1
    ((uid, reason),) = disc.left_out
    assert uid == sample("JPGExtended.dcm").SOPInstanceUID
    assert "Unable to decode" in reason


def test_a_zip_holds_the_same_files(tmp_path: Path) -> None:
    outside_disc(tmp_path / "cd", images=2)
    packed = outside_disc(tmp_path / "cd.zip", images=2)
    files = {
        path.relative_to(tmp_path / "cd").as_posix(): path.read_bytes()
        for path in (tmp_path / "cd").rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == sorted(files)
        images = [name for name in files if name.startswith("PT")]
        assert len(images) == 2
        assert all(archive.read(name) == files[name] for name in images)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(ConfigurationError, match="is there already and not empty"):
        burn(tmp_path / "taken", sample("CT_small.dcm"))
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]


def test_a_disc_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="Nothing could be written"):
        burn(tmp_path / "cd")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_profile_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'STD-XABC-CD'.*STD-GEN-CD"):
        burn(tmp_path / "cd", sample("CT_small.dcm"), profile="STD-XABC-CD")
