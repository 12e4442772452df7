"""Burned-in text: found in the pixels, and blanked (PS3.15 E.3.1, Clean Pixel Data Option).

Who is shown and when is drawn into the picture itself by ultrasound scanners,
and by whatever makes a picture of a screen. The header only says that it may
be so: Burned In Annotation (0028,0301). What is found here is a proposal; the
clause allows for a person who looks at it, and who may give other regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from labsim.deid.blobs import Bools, Grey, Picture
from labsim.deid.lines import Region, lines, united
from labsim.errors import LabError
from labsim.imaging.codes import Code
from labsim.media.pixels import decompress

__all__ = ["CLEAN_PIXEL_DATA", "Region", "blank", "find_text"]
CLEAN_PIXEL_DATA = Code("113101", "Clean Pixel Data Option", "DCM")  # PS3.16 CID 7050
_LEAD = {"CR", "DX", "MG", "RF", "RG", "XA"}  # modalities that see a letter of lead as it is
_Pixels = NDArray[Any]


def find_text(image: Dataset) -> list[Region]:
    """Find what looks like text in an image.

    Nothing is read: letters are small, sharp, and stand in lines. In an
    ultrasound image everything of that kind beside the ultrasound regions
    (PS3.3 C.8.5.5) and beside the picture is text; on the picture, as in any
    other image, it takes three letters in a line. A radiograph's letters of
    lead, which tell left from right, are larger than what machines write and
    are no text.

    Parameters
    ----------
    image : Dataset
        Any image with its file meta information, compressed or not.

    Returns
    -------
    list of Region
        From top to bottom. What is found in one frame of several is a region
        of every frame: text stands still, and a picture may hide it at times.

    Raises
    ------
    LabError
        If its pixels cannot be read.
    """
    if "PixelData" not in image:
        return []
    found: list[Region] = []
    for frame in _frames(image):
        found += lines(frame, _empty(image, frame), _tallest(image))
    return united(found)


def blank(image: Dataset, regions: Sequence[Region] | None = None) -> Dataset:
    """Return an image with text made black, and what its header says of it made true.

    The result is in Explicit VR Little Endian: a codec that loses something
    would change what is kept. UIDs stay, as the basic profile replaces them
    together with those that refer to them.

    Parameters
    ----------
    image : Dataset
        With its file meta information; it stays as it is.
    regions : sequence of Region, optional
        What to blank; what `find_text` finds if left out.

    Returns
    -------
    Dataset
        Burned In Annotation (0028,0301) is NO, and De-identification Method
        Code Sequence (0012,0064) names the option. A picture that was changed
        is a derived one, and has lost its icon.

    Raises
    ------
    LabError
        If its pixels cannot be read, or a region lies outside of it.
    """
    regions = find_text(image) if regions is None else list(regions)
    result = deepcopy(image)
    if regions:
        _fits(image, regions)
        _write(result, regions)
    result.BurnedInAnnotation = "NO"
    methods = result.get("DeidentificationMethodCodeSequence") or []
    if CLEAN_PIXEL_DATA.value not in [method.get("CodeValue") for method in methods]:
        result.DeidentificationMethodCodeSequence = [*methods, CLEAN_PIXEL_DATA.item()]
    return result


# How it is seen


def _frames(image: Dataset) -> list[Grey]:
    """Return each frame as it is shown, in 256 levels of grey."""
    shown = _pixels(image, raw=False)
    kind = image.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        shown = apply_color_lut(shown, image)
        shown = shown.astype(np.uint8) if shown.dtype == np.uint8 else (shown >> 8).astype(np.uint8)
    if shown.shape[-1] == 3 and (image.SamplesPerPixel == 3 or kind == "PALETTE COLOR"):
        shown = shown.max(axis=-1)  # a letter in any colour is bright
    if shown.dtype != np.uint8:
        low, high = int(shown.min()), int(shown.max())
        shown = ((shown - float(low)) * (255 / max(high - low, 1))).astype(np.uint8)
    if kind == "MONOCHROME1":
        shown = 255 - shown
    return list(shown.reshape(-1, *shown.shape[-2:]))


def _pixels(image: Dataset, *, raw: bool) -> _Pixels:
    try:
        return pixel_array(image, raw=raw)
    except Exception as error:  # codecs raise many kinds
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise LabError(
            f"The pixels of {image.get('SOPInstanceUID', 'an image')} cannot be read: {reason}.",
            "Look at its transfer syntax and its Image Pixel Module.",
        ) from error


def _tallest(image: Dataset) -> int:
    """Return the rows of the largest letter that is text.

    Letters of lead are 8 to 13 mm high, on a detector of 240 to 430 mm: they
    are over a fortieth of it.
    """
    part = 40 if image.get("Modality") in _LEAD else 10
    return max(16, int(image.Rows) // part)


def _empty(image: Dataset, frame: Grey) -> Bools:
    """Return where an image shows nothing of a patient."""
    declared = image.get("SequenceOfUltrasoundRegions") or []
    if image.get("Modality") != "US" and not declared:
        return np.zeros(frame.shape, bool)
    empty = ~Picture(frame).within(8, frame.size // 20)
    if declared:
        outside = np.ones(frame.shape, bool)
        for region in declared:
            rows = slice(region.RegionLocationMinY0, region.RegionLocationMaxY1 + 1)
            columns = slice(region.RegionLocationMinX0, region.RegionLocationMaxX1 + 1)
            outside[rows, columns] = False
        empty |= outside
    return empty


# How it is changed


def _fits(image: Dataset, regions: Sequence[Region]) -> None:
    count = int(image.get("NumberOfFrames") or 1)
    for region in regions:
        if not (
            0 <= region.top < region.bottom <= image.Rows
            and 0 <= region.left < region.right <= image.Columns
            and 0 <= region.frame <= count
        ):
            raise LabError(
                f"{region} does not lie in an image of {image.Rows} rows, {image.Columns} columns "
                f"and {count} frames.",
                "Rows and columns count from 0, frames from 1.",
            )


def _write(image: Dataset, regions: Sequence[Region]) -> None:
    """Blank regions in the pixels of an image, and say so."""
    _decompress(image)
    pixels = _pixels(image, raw=True).copy()
    color = image.SamplesPerPixel == 3
    frames = pixels.reshape(-1, *pixels.shape[-3 if color else -2 :])
    black = _black(image, pixels)
    for region in regions:
        which = slice(region.frame - 1, region.frame) if region.frame else slice(None)
        frames[which, region.top : region.bottom, region.left : region.right] = black
    if color:  # which is how they are read
        image.PlanarConfiguration = 0
        if image.PhotometricInterpretation == "YBR_FULL_422":
            image.PhotometricInterpretation = "YBR_FULL"
    data = pixels.tobytes()
    image.PixelData = data + b"\0" * (len(data) % 2)
    image["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    _tell(image, pixels)


def _decompress(image: Dataset) -> None:
    """Bring an image into Explicit VR Little Endian; what a codec has lost stays told."""
    syntax = image.file_meta.TransferSyntaxUID
    try:
        decompress(cast("FileDataset", image))
    except Exception as error:  # codecs raise many kinds
        raise LabError(
            f"{syntax.name} cannot be decompressed: {str(error).splitlines()[0]}.",
            "Ask the archive for the image in another transfer syntax.",
        ) from error


def _black(image: Dataset, pixels: _Pixels) -> _Pixels:
    """Return the stored value that is shown black."""
    kind = image.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        indices = np.arange(int(pixels.max()) + 1, dtype=pixels.dtype)
        shown = apply_color_lut(indices[np.newaxis], image)[0].astype(int).sum(axis=-1)
        return np.asarray(indices[int(shown.argmin())])
    if kind.startswith("YBR"):
        return np.array([0, 128, 128], pixels.dtype)  # PS3.3 C.7.6.3.1.2
    if kind == "MONOCHROME1":
        stored = int(image.BitsStored) - int(image.PixelRepresentation)
        return np.asarray((1 << stored) - 1, pixels.dtype)
    # A picture of signed numbers may mean a black that is less than none.
    return np.asarray(min(int(pixels.min()), 0), pixels.dtype)


def _tell(image: Dataset, pixels: _Pixels) -> None:
    """Make a header true of pixels that were changed (PS3.3 C.7.6.1.1)."""
    kind = list(image.get("ImageType") or ["", "PRIMARY"])
    image.ImageType = ["DERIVED", *kind[1:]]
    former = str(image.get("DerivationDescription") or "")
    note = "Burned-in text blanked"
    image.DerivationDescription = "; ".join(part for part in (former, note) if part)
    for keyword in ("IconImageSequence", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        if keyword in image:
            delattr(image, keyword)
    for keyword, value in (
        ("SmallestImagePixelValue", pixels.min()),
        ("LargestImagePixelValue", pixels.max()),
    ):
        if keyword in image:
            image[keyword].VR = "SS" if image.PixelRepresentation else "US"
            image[keyword].value = int(value)
