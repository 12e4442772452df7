"""What a performed step says of radiation (PS3.3 C.4.16, Radiation Dose)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.imaging.common import number


def radiation(files: Iterable[Path]) -> Dataset:
    """Return the Radiation Dose attributes of an N-SET, read from the images of a step.

    Every exposure is an item of the Exposure Dose Sequence: an image, but of a
    CT a scan, of which several series may have been computed. The dose length
    product has no attribute of its own there; scanners write it into the
    Comments on Radiation Dose.

    Parameters
    ----------
    files : iterable of Path
        Images of one step, in the order of their series.

    Returns
    -------
    Dataset
        Empty if nothing was exposed to X-rays.
    """
    headers = [dcmread(file, stop_before_pixels=True) for file in files]
    exposures = list(_exposures(header for header in headers if header.get("KVP")))
    dose = Dataset()
    if not exposures:
        return dose
    dose.TotalNumberOfExposures = len(exposures)
    dose.ExposureDoseSequence = Sequence(map(_item, exposures))
    for keyword in ("EntranceDoseInmGy", "ImageAndFluoroscopyAreaDoseProduct"):
        values = [float(images[0].get(keyword) or 0) for images in exposures]
        if any(values):
            setattr(dose, keyword, number(sum(values)))
    total = sum(map(dose_length_product, exposures))
    if total:
        dose.CommentsOnRadiationDose = f"TotalDLP={total:.1f} mGy.cm"
    return dose


def dose_length_product(slices: Iterable[Dataset]) -> float:
    """Return the dose length product of a CT scan in mGy·cm."""
    return sum(
        float(image.get("CTDIvol") or 0) * float(image.get("SliceThickness") or 0) / 10
        for image in slices
    )


def _exposures(images: Iterable[Dataset]) -> Iterator[list[Dataset]]:
    """Yield the images of each exposure, without what was computed from them again."""
    groups: dict[object, list[Dataset]] = {}
    for image in images:
        kind = str(image.ImageType[2]) if len(image.ImageType) > 2 else ""
        scan = (image.get("FrameOfReferenceUID"), image.get("ProtocolName"), kind)
        groups.setdefault(scan if image.Modality == "CT" else image.SOPInstanceUID, []).append(
            image
        )
    for group in groups.values():
        yield [image for image in group if image.SeriesInstanceUID == group[0].SeriesInstanceUID]


def _item(images: list[Dataset]) -> Dataset:
    item, first = Dataset(), images[0]
    item.RadiationMode = "CONTINUOUS" if first.Modality == "CT" else "PULSED"
    item.KVP = first.KVP
    if first.get("XRayTubeCurrent"):
        item.XRayTubeCurrentInuA = number(float(first.XRayTubeCurrent) * 1000)
    if first.get("ExposureTime"):
        item.ExposureTime = first.ExposureTime
    length = dose_length_product(images)
    if length:
        strength = float(first.CTDIvol)
        item.CommentsOnRadiationDose = f"CTDIvol={strength:.2f} mGy DLP={length:.1f} mGy.cm"
    return item
