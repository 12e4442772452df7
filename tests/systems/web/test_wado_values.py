"""Metadata, bulk data and frames over the web."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from labsim import Hospital
from labsim.ids import make_uid

Store = Callable[..., list[FileDataset]]
Browse = Callable[..., AbstractContextManager[DICOMwebClient]]
Get = Callable[..., httpx.Response]
Keep = Callable[[Hospital, FileDataset], str]
Image = Callable[..., FileDataset]
Parts = Callable[[httpx.Response], list[Any]]
STUDY, SERIES = make_uid("kept study", 1), make_uid("kept series", 1)


def cine(image: Image, syntax: UID = ExplicitVRLittleEndian) -> tuple[FileDataset, NDArray[Any]]:
    """Make an image of three frames, and return it with its pixels."""
    made = image(Rows=32, Columns=32, NumberOfFrames=3)
    pixels = np.arange(3 * 32 * 32, dtype="<u2").reshape(3, 32, 32)
    made.PixelData = pixels.tobytes()
    if syntax.is_encapsulated:
        plugin = {JPEGLSLossless: "pyjpegls", RLELossless: "pydicom"}.get(syntax, "")
        made.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        made = image(syntax, Rows=32, Columns=32, NumberOfFrames=3)
        made.PixelData = pixels.astype(">u2").tobytes()
    return made, pixels


def uids_of(made: Dataset) -> tuple[str, str, str]:
    return str(made.StudyInstanceUID), str(made.SeriesInstanceUID), str(made.SOPInstanceUID)


# Metadata


def test_metadata_is_all_of_the_instances_but_their_pixels(
    archive: Hospital, store: Store, browse: Browse
) -> None:
    sent = {image.SOPInstanceUID: image for image in store(archive, 1, 3)}
    with browse(archive) as client:
        study = client.retrieve_study_metadata(STUDY)
        series = client.retrieve_series_metadata(STUDY, SERIES)
        alone = client.retrieve_instance_metadata(STUDY, SERIES, make_uid("kept image", 1, 2))
    assert study == series
    assert alone == study[2]
    assert len(study) == 3
    for described in study:
        assert described.pop("7FE00010").keys() == {"vr", "BulkDataURI"}
        got = Dataset.from_json(described)
        wanted = sent[got.SOPInstanceUID]
        del wanted.PixelData
        assert got == wanted


def test_text_of_any_character_set_comes_as_unicode(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    person = "Yamada^Tarou=山田^太郎"
    path = keep(clinic, image(SpecificCharacterSet=r"\ISO 2022 IR 87", PatientName=person))
    (described,) = get(clinic, f"{path}/metadata", "application/dicom+json").json()
    assert described["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}
    ]
    assert described["00080005"]["Value"] == ["ISO_IR 192"]


def test_values_of_implicit_vr_have_the_vr_that_is_meant(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    made = image(ImplicitVRLittleEndian, SmallestImagePixelValue=1)
    (described,) = get(clinic, f"{keep(clinic, made)}/metadata").json()
    assert described["00280106"] == {"vr": "US", "Value": [1]}
    assert described["7FE00010"]["vr"] == "OW"


def test_a_value_that_is_not_what_it_says_is_left_out_and_told(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    made = image()
    made[0x00180050] = RawDataElement(Tag(0x00180050), "DS", 4, b"1,5 ", 0, False, True)
    path = keep(clinic, made)
    (described,) = get(clinic, f"{path}/metadata").json()
    assert "00180050" not in described
    assert described["00100020"]["Value"] == [made.PatientID]
    told = clinic.journal.wait_for(lambda e: "left out" in e.summary, timeout=5)
    assert told is not None
    assert "(0018,0050)" in told.summary
    assert get(clinic, f"{path}/bulkdata").status_code == 200


def test_metadata_is_json_only(archive: Hospital, store: Store, get: Get) -> None:
    store(archive, 1)
    path = f"/studies/{STUDY}/metadata"
    assert get(archive, path, "application/dicom+json").status_code == 200
    assert get(archive, f"{path}?accept=application/dicom+json").status_code == 200
    xml = get(archive, path, 'multipart/related; type="application/dicom+xml"')
    assert (xml.status_code, "application/dicom+json" in xml.text) == (406, True)
    assert get(archive, f"/studies/{SERIES}/metadata").status_code == 404


# Bulk data


def test_the_address_in_metadata_leads_to_the_value(
    clinic: Hospital, image: Image, keep: Keep, browse: Browse
) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 64
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.PixelData = bytes(range(256)) * 16
    made = image(IconImageSequence=Sequence([icon]))
    made.add_new(0x00111001, "OB", bytes(1026))
    made.add_new(0x00111002, "OB", b"\x01\x02")
    keep(clinic, made)
    with browse(clinic) as client:
        described = client.retrieve_instance_metadata(*uids_of(made))
        (inner,) = described["00880200"]["Value"]
        wanted = {
            described["7FE00010"]["BulkDataURI"]: made.PixelData,
            described["00111001"]["BulkDataURI"]: bytes(1026),
            inner["7FE00010"]["BulkDataURI"]: icon.PixelData,
        }
        for address, value in wanted.items():
            assert client.retrieve_bulkdata(address) == [value]
    assert described["00111002"] == {"vr": "OB", "InlineBinary": "AQI="}


def test_all_bulk_data_of_a_series_comes_with_its_addresses(
    archive: Hospital, store: Store, get: Get, parts_of: Parts
) -> None:
    sent = store(archive, 1, 3)
    parts = parts_of(get(archive, f"/studies/{STUDY}/series/{SERIES}/bulkdata"))
    assert [p.get_payload(decode=True) for p in parts] == [image.PixelData for image in sent]
    described = get(archive, f"/studies/{STUDY}/metadata").json()
    told = [part["Content-Location"] for part in parts]
    assert told == [one["7FE00010"]["BulkDataURI"] for one in described]


def test_bulk_data_may_come_without_parts(archive: Hospital, store: Store, get: Get) -> None:
    first, _ = store(archive, 1)
    path = f"/studies/{STUDY}/series/{SERIES}/instances/{first.SOPInstanceUID}/bulkdata"
    answer = get(archive, f"{path}/7FE00010", "application/octet-stream")
    assert answer.content == first.PixelData
    assert answer.headers["Content-Type"].startswith("application/octet-stream")
    assert get(archive, path, "application/octet-stream").status_code == 406
    assert get(archive, f"{path}/00101010").status_code == 404


# Frames


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless],
    ids=lambda syntax: syntax.name,
)
def test_frames_come_uncompressed_however_they_are_stored(
    clinic: Hospital, image: Image, keep: Keep, browse: Browse, syntax: UID
) -> None:
    made, pixels = cine(image, syntax)
    keep(clinic, made)
    with browse(clinic) as client:
        frames = client.retrieve_instance_frames(
            *uids_of(made), [3, 1], media_types=("application/octet-stream",)
        )
        (whole,) = client.retrieve_bulkdata(
            client.retrieve_instance_metadata(*uids_of(made))["7FE00010"]["BulkDataURI"]
        )
    assert frames == [pixels[2].tobytes(), pixels[0].tobytes()]
    assert whole == pixels.tobytes()


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("image/jls", JPEGLSLossless),
        ("image/jp2", JPEG2000Lossless),
        ("image/dicom-rle", RLELossless),
    ],
)
def test_frames_come_compressed_when_asked_for(
    clinic: Hospital, image: Image, keep: Keep, browse: Browse, kind: str, syntax: UID
) -> None:
    made, pixels = cine(image)
    keep(clinic, made)
    with browse(clinic) as client:
        (frame,) = client.retrieve_instance_frames(
            *uids_of(made), [2], media_types=((kind, str(syntax)),)
        )
    alone, _ = cine(image)
    alone.NumberOfFrames = 1
    alone.PixelData = encapsulate([frame])
    alone["PixelData"].VR = "OB"
    alone.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(alone.pixel_array, pixels[1])


def test_what_is_stored_compressed_can_be_had_as_it_is(
    clinic: Hospital, keep: Keep, get: Get, parts_of: Parts
) -> None:
    stored = dcmread(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    path = keep(clinic, stored)
    assert stored.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    for accept in (
        'multipart/related; type="image/jpeg"',
        'multipart/related; type="image/*"',
        'multipart/related; type="*/*"; transfer-syntax=*',
    ):
        (part,) = parts_of(get(clinic, f"{path}/frames/1", accept))
        assert part["Content-Type"] == f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"
        jpeg = part.get_payload(decode=True)
        assert jpeg[:3] == b"\xff\xd8\xff"
        assert jpeg in stored.PixelData
    (part,) = parts_of(get(clinic, f"{path}/frames/1"))
    assert len(part.get_payload(decode=True)) == 3 * stored.Rows * stored.Columns


def test_frames_of_one_bit_begin_with_a_byte_of_their_own(
    clinic: Hospital, image: Image, keep: Keep, get: Get, parts_of: Parts
) -> None:
    made = image(Rows=3, Columns=3, NumberOfFrames=2, BitsAllocated=1, BitsStored=1, HighBit=0)
    bits = np.array([1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0], "u1")
    data = np.packbits(bits, bitorder="little").tobytes()
    made.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    _, part = parts_of(get(clinic, f"{keep(clinic, made)}/frames/1,2"))
    second = np.unpackbits(np.frombuffer(part.get_payload(decode=True), "u1"), bitorder="little")
    assert (len(second), list(second[:9])) == (16, list(bits[9:]))


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ("4", 404),
        ("1,4", 404),
        ("0", 400),
        ("-1", 400),
        ("one", 400),
        ("1,,2", 400),
        ("1%2C3", 200),
    ],
)
def test_frames_that_are_not_there_are_refused(
    clinic: Hospital, image: Image, keep: Keep, get: Get, frames: str, status: int
) -> None:
    made, _ = cine(image)
    assert get(clinic, f"{keep(clinic, made)}/frames/{frames}").status_code == status


def test_frames_come_in_no_other_way_than_is_said(
    clinic: Hospital, image: Image, keep: Keep, get: Get
) -> None:
    made, pixels = cine(image)
    path = keep(clinic, made)
    one = get(clinic, f"{path}/frames/2", "application/octet-stream")
    assert one.content == pixels[1].tobytes()
    assert get(clinic, f"{path}/frames/1,2", "application/octet-stream").status_code == 406
    refused = get(clinic, f"{path}/frames/1", 'multipart/related; type="image/jpeg"')
    assert (refused.status_code, "image/jls" in refused.text) == (406, True)


@pytest.mark.parametrize("broken", ["frames", "pixels"])
def test_pixels_that_are_not_what_is_said_of_them_are_refused(
    clinic: Hospital, image: Image, keep: Keep, get: Get, broken: str
) -> None:
    made, pixels = cine(image)
    if broken == "frames":
        tag = Tag(0x00280008)
        made[tag] = RawDataElement(tag, "IS", 2, b"1A", 0, False, True)
    else:
        made.PixelData = pixels.tobytes()[:-2]
    path = keep(clinic, made)
    for below in ("/frames/1", "/rendered", "/thumbnail"):
        answer = get(clinic, path + below)
        assert (answer.status_code, "Internal" in answer.text) == (406, False)
    assert get(clinic, path).status_code == 200
