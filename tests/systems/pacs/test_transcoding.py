from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
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

from labsim.systems.pacs.transcoding import (
    COMPRESSED,
    UNCOMPRESSED,
    CannotTranscode,
    candidates,
    encoded_as,
)

Image = Callable[..., FileDataset]

DECODED = [
    "CT_small.dcm",  # Explicit VR Little Endian
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "SC_rgb_jpeg_gdcm.dcm",  # JPEG Lossless
    "SC_rgb_jpeg_dcmtk.dcm",  # JPEG Baseline, YBR_FULL
    "SC_rgb_dcmtk_+eb+cy+np.dcm",  # JPEG Baseline, YBR_FULL_422
    "SC_rgb_rle_2frame.dcm",
    "GDCMJ2K_TextGBR.dcm",  # JPEG 2000, YBR_RCT
    "plain SC_rgb_rle_2frame.dcm",
    "ExplVR_BigEnd.dcm",  # colours by plane
    "plain SC_rgb_jpeg_dcmtk.dcm",  # YBR_FULL
]


def sample(name: str) -> FileDataset:
    """Return one of pydicom's own files; after "plain" its pixels are uncompressed as they are."""
    plain, name = name.startswith("plain "), name.removeprefix("plain ")
    path = get_testdata_file(name, download=False)
    assert path, f"{name} is not among pydicom's own files"
    dataset = dcmread(Path(str(path)))
    if plain:
        dataset.decompress(as_rgb=False, generate_instance_uid=False)
    return dataset


def reread(data: bytes, syntax: UID, like: Dataset) -> FileDataset:
    """Return a data set as a receiver reads it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = like.SOPClassUID
    meta.MediaStorageSOPInstanceUID = like.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    file = BytesIO()
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, meta)
    file.write(data)
    file.seek(0)
    return dcmread(file)


def transcoded(dataset: FileDataset, target: UID) -> FileDataset:
    like = Dataset()
    like.SOPClassUID, like.SOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    return reread(encoded_as(dataset, target), target, like)


@pytest.mark.parametrize("target", UNCOMPRESSED, ids=lambda uid: uid.name)
@pytest.mark.parametrize("name", DECODED)
def test_what_is_decompressed_shows_the_same_picture(name: str, target: UID) -> None:
    sent = sample(name)
    came = transcoded(sample(name), target)
    assert np.array_equal(came.pixel_array, sent.pixel_array)
    for keyword in ("SOPInstanceUID", "Rows", "BitsStored", "PixelRepresentation", "PatientName"):
        assert came.get(keyword) == sent.get(keyword)
    assert came.get("NumberOfFrames") == sent.get("NumberOfFrames")


@pytest.mark.parametrize("target", COMPRESSED, ids=lambda uid: uid.name)
@pytest.mark.parametrize("name", DECODED)
def test_what_is_compressed_loses_nothing(name: str, target: UID) -> None:
    sent = sample(name)
    if target == JPEG2000Lossless and min(sent.Rows, sent.Columns) < 32:
        pytest.skip("OpenJPEG wants 32 rows and columns")
    came = transcoded(sample(name), target)
    assert came.file_meta.TransferSyntaxUID == target
    assert came["PixelData"].is_undefined_length
    assert np.array_equal(came.pixel_array, sent.pixel_array)


@pytest.mark.parametrize(
    ("name", "interpretation"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "RGB"),
        ("SC_rgb_dcmtk_+eb+cy+np.dcm", "RGB"),
        ("examples_jpeg2k.dcm", "RGB"),
        ("SC_rgb_rle.dcm", "RGB"),
        ("MR_small_RLE.dcm", "MONOCHROME2"),
    ],
)
def test_colours_are_called_what_they_are(name: str, interpretation: str) -> None:
    came = transcoded(sample(name), ExplicitVRLittleEndian)
    assert came.PhotometricInterpretation == interpretation
    assert came.get("PlanarConfiguration", 0) == 0


def test_full_range_colours_without_a_codec_transform_stay() -> None:
    sent = sample("plain SC_rgb_jpeg_dcmtk.dcm")
    sent.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    came = transcoded(sent, ExplicitVRLittleEndian)
    assert came.PhotometricInterpretation == "YBR_FULL"
    assert came.PixelData == sample("plain SC_rgb_jpeg_dcmtk.dcm").PixelData


def test_a_loss_is_told_of_when_the_sender_did_not() -> None:
    assert (
        transcoded(sample("SC_rgb_jpeg_dcmtk.dcm"), ExplicitVRLittleEndian)[
            "LossyImageCompression"
        ].value
        == "01"
    )
    silent = sample("SC_rgb_jpeg_dcmtk.dcm")
    del silent.LossyImageCompression
    came = transcoded(silent, ImplicitVRLittleEndian)
    assert (came.LossyImageCompression, came.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert "LossyImageCompression" not in transcoded(
        sample("MR_small_RLE.dcm"), ExplicitVRLittleEndian
    )


@pytest.mark.parametrize(
    ("name", "target", "why"),
    [
        ("JPEG-lossy.dcm", ExplicitVRLittleEndian, "12-bit"),  # JPEG Extended
        ("liver_1frame.dcm", JPEG2000Lossless, "Bits Allocated 1"),
        ("rtdose_1frame.dcm", ExplicitVRBigEndian, "more than 16 bits"),
        ("rtplan.dcm", JPEGLSLossless, "no pixels"),
        ("CT_small.dcm", JPEGBaseline8Bit, "no codec"),  # a loss is nobody's wish
    ],
)
def test_what_cannot_be_done_is_said(name: str, target: UID, why: str) -> None:
    with pytest.raises(CannotTranscode, match=why) as caught:
        encoded_as(sample(name), target)
    assert target.name in str(caught.value)


def test_a_broken_codestream_is_no_end_of_the_world() -> None:
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        broken = transcoded(sample("CT_small.dcm"), syntax)
        broken.PixelData = broken.PixelData[:8] + bytes(len(broken.PixelData) - 16) + b"\0" * 8
        with pytest.raises(CannotTranscode):
            encoded_as(broken, ExplicitVRLittleEndian)


def test_words_of_other_bulk_data_are_turned_too(image: Image) -> None:
    sent = image(RedPaletteColorLookupTableData=b"\1\2\3\4")
    icon = Dataset()
    icon.BitsAllocated = 16
    icon.add_new("PixelData", "OW", b"\5\6\7\x08")
    sent.IconImageSequence = [icon]
    data = encoded_as(sent, ExplicitVRBigEndian)
    assert b"\2\1\4\3" in data
    assert b"\6\5\x08\7" in data


def test_a_compressed_icon_goes_with_its_compression(image: Image) -> None:
    sent = transcoded(image(), RLELossless)
    icon = Dataset()
    icon.add_new("PixelData", "OB", sent.PixelData)
    icon["PixelData"].is_undefined_length = True
    sent.IconImageSequence = [icon]
    assert "IconImageSequence" not in transcoded(sent, ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("stored", "accepted", "options", "order"),
    [
        (RLELossless, [ExplicitVRLittleEndian, RLELossless], {}, [0, 1]),
        (RLELossless, [ImplicitVRLittleEndian, ExplicitVRLittleEndian], {}, [1, 0]),
        (RLELossless, [JPEGBaseline8Bit], {}, []),
        (RLELossless, [ExplicitVRLittleEndian], {"transcode": False}, []),
        (ExplicitVRLittleEndian, [ImplicitVRLittleEndian], {"transcode": False}, [0]),
        (ExplicitVRLittleEndian, [RLELossless], {}, [0]),
        (
            ExplicitVRLittleEndian,
            [ExplicitVRLittleEndian, JPEGLSLossless],
            {"preferred": JPEGLSLossless},
            [1, 0],
        ),
        (JPEGBaseline8Bit, [JPEGBaseline8Bit, ExplicitVRLittleEndian], {}, [0, 1]),
    ],
)
def test_the_best_syntax_comes_first(
    stored: UID, accepted: list[UID], options: dict[str, object], order: list[int]
) -> None:
    found = candidates(stored, accepted, **options)  # type: ignore[arg-type]
    wanted = [accepted[place] for place in order]
    assert found[: len(wanted)] == wanted or sorted(found) == sorted(wanted)
    assert (found[:1] == [stored]) == (stored in accepted and "preferred" not in options)
