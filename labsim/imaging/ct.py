"""CT Image IOD (PS3.3 A.3): axial slices of a phantom, and the localizers they are planned on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage

from labsim.imaging.common import (
    Acquisition,
    Windows,
    add_equipment,
    add_frame_of_reference,
    add_image,
    add_pixels,
    add_series,
    add_windows,
    check_artefact,
    new_image,
    number,
    request_attributes,
)
from labsim.imaging.phantom import SOFT, Canvas, Grid, Image, anatomy, blur, project, scan

__all__ = [
    "ARTEFACTS",
    "PROTOCOLS",
    "STUDIES",
    "Acquisition",
    "CtProtocol",
    "acquire",
    "request_attributes",
]
ARTEFACTS = {
    "motion": "the patient moved while a slice was taken: double contours",
    "ring": "a channel of the detector is miscalibrated: rings around the middle of the image",
}
INTERCEPT = -1024  # stored values 0…4095 hold -1024…3071 HU in 12 bits


@dataclass(frozen=True)
class CtProtocol:
    """How a body part is scanned.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    series_description : str
        Series Description (0008,103E).
    slices : int
        How many images.
    thickness : float
        Slice thickness, and distance of slices, in mm; of a localizer, the
        width of the beam.
    top : float
        z of the first slice in mm; the others follow towards the feet. Of a
        localizer, z of the upper edge.
    size : int
        Rows and columns.
    field_of_view : float
        Width of the image in mm.
    kvp, current : float
        Tube voltage in kV and tube current in mA.
    kernel : str
        Convolution Kernel (0018,1210).
    noise : float
        Standard deviation in water, in HU.
    windows : tuple of (name, centre, width)
        Suggested windows in HU; the first is shown first.
    detail : float
        How sharp the kernel is: `SOFT`, or more.
    contrast : str
        Contrast/Bolus Agent (0018,0010) that the patient was given, if any.
    localizer : bool
        Whether it is a projection for planning: the first image from the
        front, the second from the left, and so on.
    """

    name: str
    body_part: str
    series_description: str
    slices: int
    thickness: float
    top: float
    size: int
    field_of_view: float
    kvp: float
    current: float
    kernel: str
    noise: float
    windows: Windows
    detail: float = SOFT
    contrast: str = ""
    localizer: bool = False

    @property
    def images(self) -> int:
        """How many images it makes."""
        return self.slices


_CHEST = CtProtocol(
    name="Thorax routine",
    body_part="CHEST",
    series_description="Thorax 5.0 Br40",
    slices=24,
    thickness=5.0,
    top=50.0,
    size=256,
    field_of_view=380.0,
    kvp=120,
    current=165,
    kernel="Br40",
    noise=16,
    windows=(("MEDIASTINUM", 40, 400), ("LUNG", -600, 1500), ("BONE", 400, 1800)),
)
_HEAD = CtProtocol(
    name="Head routine",
    body_part="HEAD",
    series_description="Head 5.0 Hr38",
    slices=24,
    thickness=5.0,
    top=70.0,
    size=256,
    field_of_view=230.0,
    kvp=120,
    current=300,
    kernel="Hr38",
    noise=4,
    windows=(("BRAIN", 35, 80), ("BONE", 600, 2500)),
)
_ABDOMEN = CtProtocol(
    name="Abdomen portal venous",
    body_part="ABDOMEN",
    series_description="Abdomen 5.0 Br40",
    slices=40,
    thickness=5.0,
    top=100.0,
    size=256,
    field_of_view=400.0,
    kvp=120,
    current=210,
    kernel="Br40",
    noise=14,
    windows=(("ABDOMEN", 60, 400), ("LIVER", 90, 180), ("BONE", 400, 1800)),
    contrast="Iomeprol 350",
)
_LOCALIZER = CtProtocol(
    name="Localizer",
    body_part="CHEST",
    series_description="Localizer",
    slices=2,
    thickness=6.0,
    top=150.0,
    size=256,
    field_of_view=384.0,
    kvp=120,
    current=35,
    kernel="Tr20",
    noise=6,
    windows=(("LOCALIZER", -50, 1500),),
    localizer=True,
)
PROTOCOLS = {
    "CHEST_LOCALIZER": replace(_LOCALIZER, name=_CHEST.name, series_description="Thorax localizer"),
    "CHEST": _CHEST,
    "CHEST_LUNG": replace(
        _CHEST,
        series_description="Thorax 5.0 Bl64",
        kernel="Bl64",
        noise=42,
        detail=1.8,
        windows=(("LUNG", -600, 1500), ("MEDIASTINUM", 40, 400), ("BONE", 400, 1800)),
    ),
    "HEAD_LOCALIZER": replace(
        _LOCALIZER,
        name=_HEAD.name,
        body_part="HEAD",
        series_description="Head localizer",
        thickness=2.0,
        top=105.0,
        field_of_view=256.0,
    ),
    "HEAD": _HEAD,
    "HEAD_BONE": replace(
        _HEAD,
        series_description="Head 5.0 Hr68",
        kernel="Hr68",
        noise=26,
        detail=1.6,
        windows=(("BONE", 600, 2500), ("BRAIN", 35, 80)),
    ),
    "ABDOMEN_LOCALIZER": replace(
        _LOCALIZER,
        name=_ABDOMEN.name,
        body_part="ABDOMEN",
        series_description="Abdomen localizer",
        field_of_view=400.0,
    ),
    "ABDOMEN": _ABDOMEN,
}
# The series that a study of a body part consists of, in the order of a scanner's work; they
# share the frame of reference, so that the slices can be shown on the localizer.
STUDIES = {
    "CHEST": ("CHEST_LOCALIZER", "CHEST", "CHEST_LUNG"),
    "HEAD": ("HEAD_LOCALIZER", "HEAD", "HEAD_BONE"),
    "ABDOMEN": ("ABDOMEN_LOCALIZER", "ABDOMEN"),
}


def acquire(acquisition: Acquisition[CtProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
    """Take the images of one series, slice by slice.

    Parameters
    ----------
    acquisition : Acquisition
        What they share.
    sop_uids : list of str
        One SOP Instance UID for each slice of the protocol.

    Yields
    ------
    FileDataset
        A CT image with its file meta information, Explicit VR Little Endian.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol = acquisition.protocol
    paint = anatomy(protocol.body_part, acquisition.seed)
    noise = np.random.default_rng([acquisition.seed, acquisition.series_number])
    taken = (
        _project(protocol, paint, noise) if protocol.localizer else _scan(acquisition, paint, noise)
    )
    kind = "LOCALIZER" if protocol.localizer else "AXIAL"
    for index, (sop_uid, (place, values)) in enumerate(zip(sop_uids, taken, strict=False)):
        image = new_image(acquisition, CTImageStorage, sop_uid)
        add_series(image, acquisition, "CT", position="HFS")
        add_frame_of_reference(image, acquisition)
        add_equipment(image, acquisition, "Simulated CT")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY", kind))
        image.update(place)
        _add_ct(image, protocol)
        add_pixels(image, np.clip(np.rint(values) - INTERCEPT, 0, 4095), 12)
        add_windows(image, protocol.windows)
        yield image


def _scan(
    acquisition: Acquisition[CtProtocol], paint: Callable[[Canvas], None], rng: np.random.Generator
) -> Iterator[tuple[Dataset, Image]]:
    """Take axial slices; yield the place and the Hounsfield units of each."""
    protocol = acquisition.protocol
    spacing = protocol.field_of_view / protocol.size
    for index in range(protocol.slices):
        z = protocol.top - index * protocol.thickness
        grid = Grid(protocol.size, spacing, z, protocol.thickness)
        values = scan(paint, grid, rng, protocol.noise, protocol.detail)
        if acquisition.artefact == "motion":
            values = _moved(values, protocol, index)
        elif acquisition.artefact == "ring":
            values = values + protocol.noise * _rings(grid)
        yield _axial(protocol, grid), values


def _project(
    protocol: CtProtocol, paint: Callable[[Canvas], None], rng: np.random.Generator
) -> Iterator[tuple[Dataset, Image]]:
    """Take localizers; yield the place and the grey values of each."""
    width, size = protocol.field_of_view, protocol.size
    views = project(paint, protocol.top, width, size, protocol.thickness)
    for index in range(protocol.slices):
        water = views[index % 2]
        edges = water - blur(blur(water))
        grain = rng.standard_normal(water.shape).astype(np.float32)
        # The less arrives at the detector, the more it varies.
        grain *= np.float32(protocol.noise) * np.exp(water / np.float32(300))
        # Grey values follow what is stopped most; they are in no unit.
        scale = 1700 / max(1.0, float(np.percentile(water, 99.5)))
        values = np.float32(scale) * (water + edges) - 1000 + grain
        yield _upright(protocol, index % 2), values.astype(np.float32)


def _moved(values: Image, protocol: CtProtocol, index: int) -> Image:
    """Return a slice during which the patient moved, more in some slices than in others."""
    reach = round(protocol.size * 0.016 * (1 + np.sin(1.7 * index)))
    double = np.roll(values, (reach, reach // 2), (0, 1))
    return np.asarray(0.55 * values + 0.45 * double, dtype=np.float32)


def _rings(grid: Grid) -> Image:
    """Return what three wrong channels of the detector add to a slice, in units of its noise."""
    x, y = grid.axes()
    away = np.hypot(x, y) / (grid.spacing * grid.size)
    rings = sum(
        strength * np.exp(-(((away - radius) * grid.size / 0.8) ** 2))
        for radius, strength in ((0.06, 5.0), (0.13, -4.0), (0.21, 3.5))
    )
    return np.asarray(rings, dtype=np.float32)


def _add_ct(image: Dataset, protocol: CtProtocol) -> None:
    """Add the CT Image Module (PS3.3 C.8.2.1)."""
    image.KVP = number(protocol.kvp)
    image.XRayTubeCurrent = round(protocol.current)
    image.ConvolutionKernel = protocol.kernel
    image.ReconstructionDiameter = number(protocol.field_of_view)
    image.GantryDetectorTilt = "0"
    image.RescaleIntercept = str(INTERCEPT)
    image.RescaleSlope = "1"
    if protocol.localizer:
        image.RescaleType = "US"  # what projections show is not in Hounsfield units
    else:
        image.RescaleType = "HU"
        image.ExposureTime = 500
        image.Exposure = round(protocol.current * 0.5)
        _add_dose(image, protocol)
        image.RotationDirection = "CW"
    if protocol.contrast:
        image.ContrastBolusAgent = protocol.contrast
        image.ContrastBolusRoute = "IV"
        image.ContrastBolusVolume = "90"


def _add_dose(image: Dataset, protocol: CtProtocol) -> None:
    """Add the CTDIvol in mGy, and the phantom that it is told for (PS3.16 CID 4052)."""
    phantom = Dataset()
    phantom.CodingSchemeDesignator = "DCM"
    if protocol.body_part == "HEAD":
        phantom.CodeValue, phantom.CodeMeaning = "113690", "IEC Head Dosimetry Phantom"
        output = 0.18
    else:
        phantom.CodeValue, phantom.CodeMeaning = "113691", "IEC Body Dosimetry Phantom"
        output = 0.07  # mGy for each mAs at 120 kV; the wide phantom shields its own middle
    image.CTDIvol = round(output * (protocol.kvp / 120) ** 2.3 * protocol.current * 0.5, 2)
    image.CTDIPhantomTypeCodeSequence = Sequence([phantom])


def _axial(protocol: CtProtocol, grid: Grid) -> Dataset:
    """Return the Image Plane Module (PS3.3 C.7.6.2) of a slice."""
    place = _plane(protocol, (1, 0, 0, 0, 1, 0), (grid.first, grid.first, grid.z), ("L", "P"))
    place.SpacingBetweenSlices = number(protocol.thickness)
    place.SliceLocation = number(grid.z)
    return place


def _upright(protocol: CtProtocol, view: int) -> Dataset:
    """Return the Image Plane Module of a localizer, from the front or from the left."""
    spacing = protocol.field_of_view / protocol.size
    first, top = spacing * (1 - protocol.size) / 2, protocol.top - spacing / 2
    if view:
        return _plane(protocol, (0, 1, 0, 0, 0, -1), (0, first, top), ("P", "F"))
    return _plane(protocol, (1, 0, 0, 0, 0, -1), (first, 0, top), ("L", "F"))


def _plane(
    protocol: CtProtocol,
    orientation: tuple[int, ...],
    first: tuple[float, float, float],
    patient: tuple[str, str],
) -> Dataset:
    place = Dataset()
    place.SliceThickness = number(protocol.thickness)
    place.PixelSpacing = [number(protocol.field_of_view / protocol.size)] * 2
    place.ImageOrientationPatient = [str(value) for value in orientation]
    place.ImagePositionPatient = [number(value) for value in first]
    place.PatientOrientation = list(patient)
    return place
