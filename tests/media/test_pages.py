from __future__ import annotations

import xml.etree.ElementTree as ET
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from labsim.media import outside_disc
from labsim.media.outside import Outsider
from labsim.media.pixels import thumbnail

HTML = "{http://www.w3.org/1999/xhtml}"


def page_of(disc: Path) -> ET.Element:
    return ET.parse(disc / "INDEX.HTM").getroot()


def texts(page: ET.Element, tag: str) -> list[str]:
    return ["".join(found.itertext()) for found in page.iter(f"{HTML}{tag}")]


def picture(image: FileDataset) -> np.ndarray:
    jpeg = thumbnail(image)
    assert jpeg is not None
    return np.asarray(imread(BytesIO(jpeg), format="jpeg"))


def test_the_index_names_patient_and_study(tmp_path: Path) -> None:
    page = page_of(outside_disc(tmp_path / "cd", images=1))
    assert texts(page, "h1") == ["Moreau, Céline (4711), born 1961-04-17"]
    assert texts(page, "h2") == ["CT Thorax routine, 2025-07-10"]
    assert page.attrib["lang"] == "en"


def test_each_series_has_a_picture_with_words_that_say_the_same(tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=5)
    (shown,) = page_of(disc).iter(f"{HTML}img")
    assert shown.attrib["alt"] == "CT Thorax 5.0 Br40 of the chest, image 3 of 5"
    assert (disc / shown.attrib["src"]).read_bytes()[:2] == b"\xff\xd8"  # a JPEG begins so


def test_names_cannot_put_markup_into_the_page(tmp_path: Path) -> None:
    who = Outsider(name="<b>Moreau&^Céline")
    page = page_of(outside_disc(tmp_path / "cd", images=1, patient=who))
    assert texts(page, "h1")[0].startswith("<b>Moreau&, Céline")


def test_names_of_files_are_those_a_cd_can_hold(tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=2)
    for path in disc.rglob("*"):
        stem, _, ending = path.name.partition(".")
        assert path.name == path.name.upper()
        assert len(stem) <= 8
        assert len(ending) <= 3


def test_nothing_on_a_disc_starts_by_itself(tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=1)
    assert not list(disc.rglob("*.INF"))
    assert "script" not in (disc / "INDEX.HTM").read_text(encoding="utf-8")
    assert "Lakeside Hospital" in (disc / "README.TXT").read_text(encoding="ascii")


def test_a_picture_shows_the_first_window() -> None:
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    image.WindowCenter, image.WindowWidth = [40, -600], [400, 1500]
    values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
    wanted = np.clip((values - (40 - 200)) / 400, 0, 1) * 255
    shown = picture(image)
    assert shown.shape == (128, 128, 3)
    assert abs(shown[:, :, 0].astype(float) - wanted).mean() < 4  # JPEG loses a little


def test_a_picture_of_monochrome1_is_not_a_negative() -> None:
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    plain = picture(image).astype(int)
    image.PhotometricInterpretation = "MONOCHROME1"
    assert abs(picture(image) + plain - 255).mean() < 4


def test_a_picture_in_colour_keeps_its_colours() -> None:
    image = dcmread(str(get_testdata_file("SC_rgb_small_odd.dcm")))
    image.Rows = image.Columns = 16
    image.PixelData = bytes([200, 30, 40]) * 256
    assert abs(picture(image)[8, 8].astype(int) - [200, 30, 40]).max() < 10


def test_a_large_picture_is_made_smaller_and_keeps_its_shape() -> None:
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    image.Rows, image.Columns = 600, 300
    image.PixelData = np.zeros((600, 300), "<u2").tobytes()
    assert picture(image).shape == (200, 100, 3)


def test_what_has_no_pixels_has_no_picture() -> None:
    assert thumbnail(dcmread(str(get_testdata_file("test-SR.dcm")))) is None


def test_pixels_that_no_codec_reads_give_no_picture() -> None:
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    image.PixelData = image.PixelData[:100]
    assert thumbnail(image) is None


@pytest.mark.parametrize("modality", ["MR", "US", "MG", "DX"])
def test_every_kind_of_image_has_a_picture(tmp_path: Path, modality: str) -> None:
    disc = outside_disc(tmp_path / "cd", modality=modality, images=2)
    for shown in page_of(disc).iter(f"{HTML}img"):
        pixels = imread(BytesIO((disc / shown.attrib["src"]).read_bytes()), format="jpeg")
        assert max(pixels.shape) <= 256
        assert pixels.std() > 10  # there is something to be seen
