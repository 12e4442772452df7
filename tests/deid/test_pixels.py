"""Burned-in text is found whatever wrote it, and blanked; the picture stays."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSNearLossless, RLELossless

from labsim.deid.deidentifier import Deidentifier
from labsim.deid.pixels import Region, blank, find_text
from labsim.errors import LabError
from labsim.ids import make_uid
from labsim.imaging import cr, dx, mg, overlay, us
from labsim.imaging.common import Acquisition, request_attributes
from labsim.imaging.font import glyphs

STILL = ["ABDOMEN", "KIDNEY"]


def acquisition(
    modality: ModuleType, part: str, seed: int = 7001, artefact: str = "", **patient: str
) -> Acquisition[Any]:
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 192"
    study.PatientName, study.PatientID = "Møller^Åse", "P000001"
    study.PatientBirthDate, study.PatientSex = "19700102", "F"
    study.AccessionNumber, study.StudyID = "A0000001", "RP000001"
    study.StudyInstanceUID, study.StudyDescription = make_uid("study", 1), part
    study.StudyDate, study.StudyTime = "20260301", "080000"
    study.RequestAttributesSequence = request_attributes(
        accession="A0000001", procedure_id="RP000001", step_id="SPS000001", description=part
    )
    for keyword, value in patient.items():
        setattr(study, keyword, value)
    return Acquisition(
        study=study,
        protocol=modality.PROTOCOLS[part],
        series_uid=make_uid("series", part),
        frame_of_reference_uid=make_uid("frame", part),
        series_number=1,
        station="ROOM1",
        institution="Riverside Clinic",
        started=datetime(2026, 3, 1, 8, 5, 9),
        seed=seed,
        artefact=artefact,
    )


def images(modality: ModuleType, part: str, **changes: Any) -> list[FileDataset]:
    wanted = acquisition(modality, part, **changes)
    uids = [make_uid("image", part, index) for index in range(wanted.protocol.images)]
    return list(modality.acquire(wanted, uids))


def one(modality: ModuleType, part: str, **changes: Any) -> FileDataset:
    """Take the first image, or the second frame of the first."""
    (image, *_) = images(modality, part, **changes)
    if "NumberOfFrames" in image:
        image.PixelData = image.pixel_array[1].tobytes()
        del image.NumberOfFrames, image.FrameIncrementPointer
    return image


def brightest(image: FileDataset) -> np.ndarray:
    """Return the brightest value of each pixel, over colours and frames."""
    pixels = image.pixel_array
    if image.SamplesPerPixel == 3:
        pixels = pixels.max(axis=-1)
    return pixels.max(axis=0) if pixels.ndim == 3 else pixels


def sector(part: str) -> np.ndarray:
    """Return where the beams are."""
    protocol = us.PROTOCOLS[part]
    drawn = np.zeros(protocol.size, np.uint8)
    beams = np.ones((protocol.probe.samples, protocol.probe.beams), np.float32)
    protocol.screen.draw(beams, drawn)
    return drawn > 0


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int, np.ndarray]]:
    """Note every character that a scanner writes: which, where, and its dots."""
    noted: list[tuple[str, int, int, np.ndarray]] = []
    write = overlay.write

    def noting(
        picture: np.ndarray, text: str, row: int, column: int, scale: int, level: int
    ) -> None:
        for place, letter in enumerate(text):
            if letter.strip():
                dots = np.kron(glyphs(letter), np.ones((scale, scale), bool))
                noted.append((letter, row, max(column, 0) + place * 6 * scale, dots))
        write(picture, text, row, column, scale, level)

    monkeypatch.setattr(overlay, "write", noting)
    return noted


def left_over(image: FileDataset, written: list[tuple[str, int, int, np.ndarray]]) -> list[str]:
    """Return the characters of which a pixel is still bright."""
    seen, left = brightest(image), []
    for letter, row, column, dots in written:
        place = seen[row : row + dots.shape[0], column : column + dots.shape[1]]
        if place[dots[: place.shape[0], : place.shape[1]]].any():
            left.append(letter)
    return left


# What a scanner writes


@pytest.mark.parametrize("artefact", ["", *us.ARTEFACTS])
@pytest.mark.parametrize("part", STILL)
def test_every_character_goes_and_the_picture_stays(
    part: str, artefact: str, written: list[tuple[str, int, int, np.ndarray]]
) -> None:
    for seed in range(2):
        written.clear()
        taken = images(us, part, seed=seed, artefact=artefact)
        assert len(written) > 100
        each = len(written) // len(taken)
        for number, image in enumerate(taken):
            blanked = blank(image)
            assert left_over(blanked, written[number * each : (number + 1) * each]) == []
            before, after = brightest(image)[sector(part)], brightest(blanked)[sector(part)]
            assert (before != after).mean() < 0.005


def test_a_clip_is_blanked_in_every_frame_and_keeps_moving(
    written: list[tuple[str, int, int, np.ndarray]],
) -> None:
    (image,) = images(us, "HEART")
    blanked = blank(image)
    assert left_over(blanked, written) == []
    before, after = image.pixel_array[:, sector("HEART")], blanked.pixel_array[:, sector("HEART")]
    assert (before != after).mean() < 0.001
    assert (after[0] != after[7]).any()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("Wolfeschlegelsteinhausenbergerdorff^Hubert Blaine", "P1"),  # written small
        ("Li^I", "1"),
        ("Ñandú^Íñigo", "7-11/12.3"),
        ("", "0000000000000000"),
        ("O'Neill-Ii^Ill", "IIIIII"),
    ],
)
def test_every_character_goes_whoever_it_is(
    name: str, number: str, written: list[tuple[str, int, int, np.ndarray]]
) -> None:
    image = one(us, "KIDNEY", PatientName=name, PatientID=number)
    assert left_over(blank(image), written) == []


@pytest.mark.parametrize("part", STILL)
def test_after_that_nothing_is_found_and_what_was_found_is_black(part: str) -> None:
    for image in images(us, part):
        found = find_text(image)
        blanked = blank(image)
        assert len(found) > 10
        assert find_text(blanked) == []
        pixels = blanked.pixel_array
        assert all(not pixels[r.top : r.bottom, r.left : r.right].any() for r in found)


def test_without_declared_regions_the_picture_itself_tells_where_it_is(
    written: list[tuple[str, int, int, np.ndarray]],
) -> None:
    image = one(us, "KIDNEY")
    del image.SequenceOfUltrasoundRegions
    blanked = blank(image)
    assert left_over(blanked, written) == []
    inside = sector("KIDNEY")
    assert (brightest(image)[inside] != brightest(blanked)[inside]).mean() < 0.005


# What somebody else has written, with strokes instead of dots

STROKES = {  # through points of a grid, 4 wide and 6 high
    "A": "06 20 46|14 34", "B": "00 06 36 45 44 33 03|00 30 41 42 33", "E": "40 00 06 46|03 33",
    "I": "10 16", "K": "00 06|40 03 46", "L": "00 06 46", "M": "06 00 23 40 46",
    "N": "06 00 46 40", "O": "10 01 05 16 36 45 41 30 10", "R": "06 00 30 41 42 33 03|23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05", "T": "00 40|20 26", "U": "00 05 16 36 45 40",
    "V": "00 26 40", "1": "11 20 26", "4": "36 30 04 44", "7": "00 40 16", " ": "",
}  # fmt: skip


def stroked(text: str, height: int, thick: float) -> np.ndarray:
    """Draw a text with strokes of some thickness."""
    letters = []
    for letter in text:
        wide = {"I": 2, " ": 2}.get(letter, 4)
        shape = (round(6 * height / 7 + thick + 1), round(wide * height / 7 + thick + 1))
        y, x = np.mgrid[: shape[0], : shape[1]]
        drawn = np.zeros(shape, bool)
        for line in STROKES[letter].split("|"):
            points = [(int(p[0]) * height / 7, int(p[1]) * height / 7) for p in line.split()]
            for (x0, y0), (x1, y1) in pairwise(np.array(points) + thick / 2):
                along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / np.hypot(x1 - x0, y1 - y0)
                share = np.clip(along / np.hypot(x1 - x0, y1 - y0), 0, 1)
                away = np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))
                drawn |= away <= thick / 2
        letters.append(np.pad(drawn, ((0, 0), (0, max(1, height // 7)))))
    return np.concatenate(letters, axis=1)


def stamp(image: FileDataset, text: str, row: int, column: int, height: int, level: int) -> Any:
    """Write a text into an image; return a function that tells how much of it is left."""
    dots = stroked(text, height, height / 8)
    place = (slice(row, row + dots.shape[0]), slice(column, column + dots.shape[1]))
    pixels = image.pixel_array.copy()
    pixels[place][dots] = level
    image.PixelData = pixels.tobytes()
    return lambda blanked: float((blanked.pixel_array[place][dots] == level).mean())


NAMES = ["OKTAVIA RON", "SILVA INES", "BAKER T", "MILLER 1747", "ROSSI MARA", "NOVAK E"]


def test_another_hand_beside_the_picture_goes_wholly() -> None:
    for number, name in enumerate(NAMES):
        image = one(us, "ABDOMEN", seed=number)
        left = stamp(image, name, 398, 240 + 7 * number, 9 + 3 * number, (255, 170)[number % 2])
        assert left(image) == 1
        assert left(blank(image)) == 0


def test_another_hand_on_the_picture_is_mostly_found() -> None:
    found, rng = 0, np.random.default_rng(3)
    shown = [image for seed in range(2) for part in STILL for image in images(us, part, seed=seed)]
    for number in range(24):
        image = deepcopy(shown[number % len(shown)])
        row, column = int(rng.integers(180, 300)), int(rng.integers(150, 300))
        left = stamp(image, NAMES[number // 4], row, column, int(rng.choice([9, 12, 16])), 255)
        found += left(blank(image)) < 0.02
    assert found >= 19  # of 24: it is a proposal, which a person must look at


@pytest.mark.parametrize(
    ("modality", "part"), [(cr, "CHEST"), (cr, "HAND_LEFT"), (dx, "CHEST"), (mg, "SCREENING")]
)
def test_text_on_a_radiograph_goes_and_letters_of_lead_stay(
    modality: ModuleType, part: str
) -> None:
    for number, image in enumerate(images(modality, part)):
        assert find_text(image) == []  # though there are letters of lead
        white = 0 if image.PhotometricInterpretation == "MONOCHROME1" else 4095
        black = 4095 - white
        left = stamp(image, NAMES[number], 640, 250, 13, white)
        blanked = blank(image)
        assert left(blanked) < 0.02
        changed = image.pixel_array != blanked.pixel_array
        assert changed.mean() < 0.02
        assert set(blanked.pixel_array[changed]) == {black}


def test_dark_letters_on_a_bright_page_are_found() -> None:
    image = one(us, "ABDOMEN")
    image.Modality = "OT"
    del image.SequenceOfUltrasoundRegions
    image.PixelData = np.full((432, 576), 220, np.uint8).tobytes()
    left = stamp(image, "SILVA INES", 100, 60, 16, 10)
    (region,) = find_text(image)
    assert region.top <= 100
    assert region.bottom >= 115
    assert left(image) == 1


# The header


def test_the_header_says_what_was_done() -> None:
    image = one(us, "ABDOMEN")
    image.IconImageSequence = [Dataset()]
    image.add_new("LargestImagePixelValue", "US", 255)
    blanked = blank(image)
    assert blanked.BurnedInAnnotation == "NO"
    (method,) = blanked.DeidentificationMethodCodeSequence
    assert (method.CodeValue, method.CodingSchemeDesignator) == ("113101", "DCM")
    assert list(blanked.ImageType) == ["DERIVED", *image.ImageType[1:]]
    assert blanked.DerivationDescription == "Burned-in text blanked"
    assert "IconImageSequence" not in blanked
    assert blanked.LargestImagePixelValue == blanked.pixel_array.max()
    assert blanked.SOPInstanceUID == image.SOPInstanceUID


def test_the_image_that_was_given_stays_as_it_is() -> None:
    image = one(us, "ABDOMEN")
    before = image.to_json()
    blank(image)
    assert image.to_json() == before


def test_blanking_twice_says_so_once() -> None:
    twice = blank(blank(one(us, "ABDOMEN")))
    assert len(twice.DeidentificationMethodCodeSequence) == 1
    assert twice.DerivationDescription == "Burned-in text blanked"


def test_a_picture_without_text_is_no_derived_one() -> None:
    image = images(dx, "CHEST")[0]
    blanked = blank(image)
    assert blanked.BurnedInAnnotation == "NO"
    assert blanked.PixelData == image.PixelData
    assert list(blanked.ImageType) == list(image.ImageType)


def test_the_standards_judge_finds_nothing_new(peer: Callable[[str], Path], tmp_path: Path) -> None:
    def errors(image: FileDataset) -> set[str]:
        path = tmp_path / "image.dcm"
        image.save_as(path, enforce_file_format=True)
        done = subprocess.run(
            [peer("dciodvfy"), path], capture_output=True, text=True, timeout=60, check=False
        )
        return {line for line in (done.stdout + done.stderr).splitlines() if "Error" in line}

    (image,) = images(us, "KIDNEY")
    assert errors(blank(image)) <= errors(image)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_profile_takes_it_for_its_cleaner(
    compressed: bool, written: list[tuple[str, int, int, np.ndarray]]
) -> None:
    (image,) = images(us, "KIDNEY")
    if compressed:
        image.compress(RLELossless, generate_instance_uid=False)
    clean = Deidentifier(["clean_pixel_data"], pixel_cleaner=blank).dataset(image)
    assert clean.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert left_over(clean, written) == []
    codes = [method.CodeValue for method in clean.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101"]
    assert clean.SOPInstanceUID != image.SOPInstanceUID


# However it is stored


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSNearLossless])
def test_compressed_images_come_out_uncompressed(
    syntax: str, written: list[tuple[str, int, int, np.ndarray]]
) -> None:
    image = one(us, "ABDOMEN")
    written[:] = written[: len(written) // 2]  # of the first of its two images
    lossy = syntax == JPEGLSNearLossless
    settings: dict[str, Any] = {"jls_error": 4} if lossy else {}
    image.compress(syntax, **settings, generate_instance_uid=False)
    if lossy:
        image.LossyImageCompression, image.LossyImageCompressionMethod = "01", "ISO_14495_1"
    blanked = blank(image)
    assert blanked.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert left_over(blanked, written) == []
    assert blanked.LossyImageCompression == ("01" if lossy else "00")
    decoded, kept = image.pixel_array, sector("ABDOMEN")
    assert (decoded[kept] != blanked.pixel_array[kept]).mean() < 0.001


def test_luminance_and_chrominance_are_black_too() -> None:
    image = one(us, "KIDNEY")
    image.PixelData = convert_color_space(image.pixel_array, "RGB", "YBR_FULL").tobytes()
    image.PhotometricInterpretation = "YBR_FULL"
    (region, *_) = find_text(image)
    blanked = blank(image)
    assert blanked.PhotometricInterpretation == "YBR_FULL"
    stored = np.frombuffer(blanked.PixelData, np.uint8).reshape(432, 576, 3)
    assert (stored[region.top, region.left] == (0, 128, 128)).all()
    assert not blanked.pixel_array[region.top, region.left].any()


def test_planes_of_colour_are_read_and_come_out_by_pixel() -> None:
    image = one(us, "KIDNEY")
    plain = blank(image).pixel_array
    image.PixelData = image.pixel_array.transpose(2, 0, 1).tobytes()
    image.PlanarConfiguration = 1
    blanked = blank(image)
    assert blanked.PlanarConfiguration == 0
    assert (blanked.pixel_array == plain).all()


def test_of_a_palette_the_darkest_colour_is_taken() -> None:
    image = one(us, "ABDOMEN")
    image.PixelData = (255 - image.pixel_array).tobytes()  # so that entry 255 is black
    image.PhotometricInterpretation = "PALETTE COLOR"
    entries = (np.arange(255, -1, -1) * 257).astype("<u2").tobytes()
    for color in ("Red", "Green", "Blue"):
        setattr(image, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(image, f"{color}PaletteColorLookupTableData", entries)
    (region, *_) = found = find_text(image)
    assert len(found) > 10
    assert blank(image).pixel_array[region.top, region.left] == 255


# Regions of one's own


def test_a_region_of_one_frame_is_blanked_there_alone() -> None:
    (image,) = images(us, "HEART")
    blanked = blank(image, [Region(200, 210, 250, 300, frame=3)])
    changed = (image.pixel_array != blanked.pixel_array).any(axis=(1, 2))
    assert list(np.flatnonzero(changed)) == [2]
    assert not blanked.pixel_array[2, 200:210, 250:300].any()


@pytest.mark.parametrize(
    "region", [Region(0, 433, 0, 9), Region(9, 9, 0, 9), Region(0, 9, -1, 9), Region(0, 9, 0, 9, 2)]
)
def test_a_region_that_is_not_in_the_image_is_named(region: Region) -> None:
    with pytest.raises(LabError, match="does not lie in an image of 432 rows"):
        blank(one(us, "ABDOMEN"), [region])


def test_pixels_that_cannot_be_read_are_a_plain_error() -> None:
    image = one(us, "ABDOMEN")
    image.PixelData = image.PixelData[:1000]
    with pytest.raises(LabError, match="cannot be read"):
        find_text(image)


def test_what_has_no_pixels_has_no_text() -> None:
    report = one(us, "ABDOMEN")
    del report.PixelData
    assert find_text(report) == []
