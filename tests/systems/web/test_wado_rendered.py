"""Rendered images and thumbnails over the web."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from labsim import Hospital
from labsim.ids import make_uid
from labsim.imaging.presentation import make

Store = Callable[..., list[FileDataset]]
Browse = Callable[..., AbstractContextManager[DICOMwebClient]]
Get = Callable[..., httpx.Response]
Keep = Callable[[Hospital, FileDataset], str]
Image = Callable[..., FileDataset]
Parts = Callable[[httpx.Response], list[Any]]
STUDY, SERIES = make_uid("kept study", 1), make_uid("kept series", 1)
# Hounsfield units are the stored values less 1024.
RAMP = np.tile(np.arange(64, dtype="<u2") * 32, (64, 1))


def ramp(image: Image, **attributes: object) -> FileDataset:
    plain: dict[str, object] = {
        "Rows": 64,
        "Columns": 64,
        "PixelData": RAMP.tobytes(),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, -600],
        "WindowWidth": [400, 1500],
    }
    return image(**(plain | attributes))


def seen(answer: httpx.Response) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    return np.asarray(Picture.open(BytesIO(answer.content)))


def grey(values: NDArray[Any], center: float, width: float) -> NDArray[Any]:
    """Return what the linear function of PS3.3 C.11.2.1.2.1 shows, written out."""
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    between = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.where(values <= low, 0, np.where(values > high, 255, np.round(between)))


def test_an_image_is_shown_in_the_window_that_it_suggests(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    answer = get(clinic, f"{keep(clinic, ramp(image))}/rendered", "image/png")
    assert answer.headers["Content-Type"] == "image/png"
    wanted = grey(RAMP.astype(float) - 1024, 40, 400)
    assert np.array_equal(seen(answer), wanted)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("linear", lambda hu: grey(hu, -600, 1500)),
        ("linear-exact", lambda hu: np.round(np.clip((hu + 600) / 1500 + 0.5, 0, 1) * 255)),
        ("sigmoid", lambda hu: np.round(255 / (1 + np.exp(-4 * (hu + 600) / 1500)))),
    ],
)
def test_the_caller_may_ask_for_another_window(
    clinic: Hospital,
    image: Image,
    keep: Keep,
    get: Get,
    function: str,
    wanted: Callable[[NDArray[Any]], NDArray[Any]],
) -> None:
    path = f"{keep(clinic, ramp(image))}/rendered?window=-600,1500,{function}"
    assert np.array_equal(seen(get(clinic, path, "image/png")), wanted(RAMP.astype(float) - 1024))


def test_what_is_low_is_white_in_monochrome1(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    made = ramp(image, PhotometricInterpretation="MONOCHROME1")
    got = seen(get(clinic, f"{keep(clinic, made)}/rendered", "image/png"))
    assert (got[0, 0], got[0, -1]) == (255, 0)


def test_the_lut_of_an_image_is_applied(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4, 0, 8])
    lut.add_new("LUTData", "US", [0, 200, 100, 255])
    pixels = np.array([[0, 1], [2, 3]], "<u2").tobytes()
    made = image(VOILUTSequence=Sequence([lut]), PixelData=pixels)
    got = seen(get(clinic, f"{keep(clinic, made)}/rendered", "image/png"))
    assert got.tolist() == [[0, 200], [100, 255]]


def test_colours_stay_colours(clinic: Hospital, keep: Keep, get: Get) -> None:
    stored = dcmread(get_testdata_file("SC_rgb_small_odd.dcm"))
    got = seen(get(clinic, f"{keep(clinic, stored)}/rendered", "image/png"))
    assert np.array_equal(got, stored.pixel_array)


def test_without_a_wish_it_is_a_jpeg_of_some_quality(
    clinic: Hospital, image: Image, keep: Keep, get: Get, browse: Browse
) -> None:
    made = ramp(image)
    path = f"{keep(clinic, made)}/rendered"
    fine, coarse = get(clinic, f"{path}?quality=95"), get(clinic, f"{path}?quality=5")
    assert fine.headers["Content-Type"] == "image/jpeg"
    assert len(coarse.content) < len(fine.content)
    assert np.abs(seen(fine).astype(int) - grey(RAMP - 1024.0, 40, 400)).max() < 20
    uids = (made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)
    with browse(clinic) as client:
        png = client.retrieve_instance_rendered(*uids, media_types=("image/png",))
    assert Picture.open(BytesIO(png)).size == (64, 64)


@pytest.mark.parametrize(
    ("viewport", "size", "corner"),
    [
        ("32,128", (32, 32), 0),
        ("128,256", (128, 128), 0),
        ("16,16,48,0,16,16", (16, 16), 48),
        ("16,16,48,0,-16,16", (16, 16), 63),
        ("100,100,0,0,32,16", (100, 50), 0),
    ],
)
def test_a_viewport_cuts_and_scales_and_turns(
    clinic: Hospital,
    image: Image,
    keep: Keep,
    get: Get,
    viewport: str,
    size: tuple[int, int],
    corner: int,
) -> None:
    path = f"{keep(clinic, ramp(image))}/rendered?viewport={viewport}"
    got = seen(get(clinic, f"{path}&window=0,2048,linear-exact", "image/png"))
    assert got.shape == (size[1], size[0])
    assert abs(int(got[0, 0]) - corner * 32 * 255 / 2048) < 5


@pytest.mark.parametrize(
    "query",
    [
        "window=40,400",
        "window=40,400,cubic",
        "window=40,0,linear",
        "window=a,400,linear",
        "viewport=0,10",
        "viewport=10",
        "viewport=10,10,64,0,5,5",
        "viewport=10,10,nan,0,5,5",
        "viewport=10,10,0,0,0,5",
        "quality=0",
        "quality=best",
    ],
)
def test_a_rendering_that_makes_no_sense_is_refused(
    clinic: Hospital, image: Image, keep: Keep, get: Get, query: str
) -> None:
    answer = get(clinic, f"{keep(clinic, ramp(image))}/rendered?{query}", "image/png")
    assert answer.status_code == 400


def three(image: Image) -> FileDataset:
    pixels = np.stack([np.full((64, 64), value, "<u2") for value in (0, 1024, 2048)])
    return ramp(image, NumberOfFrames=3, PixelData=pixels.tobytes(), FrameTime="50")


def test_several_frames_move_or_come_one_by_one(
    clinic: Hospital, image: Image, keep: Keep, get: Get, parts_of: Parts
) -> None:
    path, window = keep(clinic, three(image)), "window=0,2048,linear-exact"
    whole = get(clinic, f"{path}/rendered?{window}", "image/gif")
    with Picture.open(BytesIO(whole.content)) as moving:
        assert (moving.n_frames, moving.info["duration"]) == (3, 50)
    one = seen(get(clinic, f"{path}/frames/2/rendered?{window}", "image/png"))
    assert set(one.flat) == {128}
    accept = 'multipart/related; type="image/png"'
    for asked in (f"{path}/frames/3,1/rendered?{window}", f"{path}/rendered?{window}"):
        parts = parts_of(get(clinic, asked, accept))
        data = [part.get_payload(decode=True) for part in parts]
        values = [int(np.asarray(Picture.open(BytesIO(each)))[0, 0]) for each in data]
        assert values == ([255, 0] if "frames" in asked else [0, 128, 255])
    refused = get(clinic, f"{path}/rendered", "image/jpeg")
    assert (refused.status_code, "frames/1/rendered" in refused.text) == (406, True)
    assert get(clinic, f"{path}/frames/4/rendered").status_code == 404


def test_a_study_and_a_series_come_in_parts_only(
    archive: Hospital, store: Store, get: Get, parts_of: Parts, browse: Browse
) -> None:
    store(archive, 1, 3)
    for path in (f"/studies/{STUDY}/rendered", f"/studies/{STUDY}/series/{SERIES}/rendered"):
        parts = parts_of(get(archive, path, 'multipart/related; type="image/jpeg"'))
        assert len(parts) == 3
        assert parts[0].get_payload(decode=True)[:2] == b"\xff\xd8"
        assert get(archive, path, "image/jpeg").status_code == 406


def test_a_thumbnail_is_the_image_in_the_middle(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    window, shared = "window=0,2048,linear-exact", {"PatientID": "THUMB"}
    shared |= {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    for number, value in enumerate((0, 1024, 2048)):
        pixels = np.full((256, 200), value, "<u2").tobytes()
        sizes = {"Rows": 256, "Columns": 200, "PixelData": pixels, "InstanceNumber": number}
        path = keep(clinic, ramp(image, **sizes, **shared))
    for above in (f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}"):
        got = seen(get(clinic, f"{above}/thumbnail?{window}", "image/png"))
        assert (got.shape, int(got[0, 0])) == ((128, 100), 128)
    got = seen(get(clinic, f"{path}/thumbnail?{window}&viewport=20,20", "image/png"))
    assert (got.shape, int(got[0, 0])) == ((20, 16), 255)


def test_what_is_no_image_is_not_rendered(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    made = image(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    del made.PixelData, made.Rows, made.Columns
    path = keep(clinic, made)
    assert get(clinic, f"{path}/rendered").status_code == 406
    assert get(clinic, f"{path}/thumbnail").status_code == 404
    assert get(clinic, f"{path}/frames/1").status_code == 404


def test_annotations_are_said_to_be_ignored(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    answer = get(clinic, f"{keep(clinic, ramp(image))}/rendered?annotation=patient")
    assert (answer.status_code, "annotation" in answer.headers["Warning"]) == (200, True)


def test_a_presentation_state_shows_the_images_it_is_about(
    clinic: Hospital, image: Image, keep: Keep, get: Get, parts_of: Parts
) -> None:
    shared = {
        "PatientID": "STATED",
        "StudyInstanceUID": make_uid("stated study"),
        "SeriesInstanceUID": make_uid("stated series"),
        "PixelSpacing": [1, 1],
    }
    images = [ramp(image, **shared), ramp(image, **shared)]
    named = {"now": datetime(2026, 3, 2, 10, 30), "window": (-600, 1500), "inverse": True}
    states = [
        make(about, series_uid=make_uid("pr", n), sop_uid=make_uid("pr", n, 1), **named)
        for n, about in enumerate((images[:1], images))
    ]
    paths = [keep(clinic, one) for one in images]
    one, both = (keep(clinic, state) for state in states)
    wanted = 255 - grey(RAMP - 1024.0, -600, 1500)
    alone = seen(get(clinic, f"{one}/rendered?window=0,1,linear", "image/png"))
    assert np.abs(alone.astype(int) - wanted).max() <= 1
    assert get(clinic, f"{both}/rendered", "image/png").status_code == 406
    accept = 'multipart/related; type="image/png"'
    assert len(parts_of(get(clinic, f"{both}/rendered", accept))) == 2
    clinic.pacs.reject(paths[0].rpartition("/")[2])
    assert len(parts_of(get(clinic, f"{both}/rendered", accept))) == 1
    assert get(clinic, f"{one}/rendered").status_code == 404


def test_a_report_is_rendered_as_text(small_scans: None, get: Get) -> None:
    with Hospital(seed=7) as hospital:
        exam = hospital.exam(name="O'Hara^Ann<b>")
        hospital.settle()
        sql = (
            "SELECT i.sop_uid, se.series_uid, st.study_uid FROM instances i JOIN series se "
            "ON se.id = i.series JOIN studies st ON st.id = se.study WHERE se.modality = 'SR'"
        )
        ((sop_uid, series_uid, study_uid),) = hospital.pacs.sql(sql)
        path = f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}/rendered"
        page, plain = get(hospital, path), get(hospital, path, "text/plain")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "&lt;b&gt;" in page.text
        assert "Ann<b>" not in page.text
        for part in ("complete, verified", "Lungs clear", "Impression"):
            assert part in page.text
            assert part in plain.text
        assert exam.accession in plain.text
        assert get(hospital, path, "image/png").status_code == 406
