"""CT Image IOD (PS3.3 A.3): a series of axial slices of a phantom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from labsim.ids import make_uid
from labsim.imaging.phantom import Grid, anatomy, scan

IMPLEMENTATION_UID = make_uid("implementation")
IMPLEMENTATION_NAME = "LABSIM"
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
        Slice thickness, and distance of slices, in mm.
    top : float
        z of the first slice in mm; the others follow towards the feet.
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
    windows: tuple[tuple[str, float, float], ...]


PROTOCOLS = {
    "CHEST": CtProtocol(
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
    ),
    "HEAD": CtProtocol(
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
    ),
}


@dataclass(frozen=True)
class Acquisition:
    """Everything about one series that its images share.

    Parameters
    ----------
    study : Dataset
        Patient and study attributes as the worklist gave them, with the
        Request Attributes Sequence.
    protocol : CtProtocol
        How to scan.
    series_uid, frame_of_reference_uid : str
        New UIDs.
    series_number : int
        Counts the series of the study.
    station : str
        Station Name (0008,1010).
    institution : str
        Institution Name (0008,0080).
    started : datetime
        When the first slice was taken.
    seed : int
        Decides the anatomy.
    """

    study: Dataset
    protocol: CtProtocol
    series_uid: str
    frame_of_reference_uid: str
    series_number: int
    station: str
    institution: str
    started: datetime
    seed: int


def acquire(acquisition: Acquisition, sop_uids: list[str]) -> Iterator[FileDataset]:
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
    protocol = acquisition.protocol
    paint = anatomy(protocol.body_part, acquisition.seed)
    noise = np.random.default_rng([acquisition.seed, acquisition.series_number])
    spacing = protocol.field_of_view / protocol.size
    for index, sop_uid in enumerate(sop_uids):
        z = protocol.top - index * protocol.thickness
        grid = Grid(protocol.size, spacing, z, protocol.thickness)
        hounsfield = scan(paint, grid, noise, protocol.noise)
        stored = np.clip(np.rint(hounsfield) - INTERCEPT, 0, 4095).astype("<u2")
        image = _empty_image(sop_uid)
        image.update(acquisition.study)
        _series(image, acquisition)
        _equipment(image, acquisition)
        _slice(image, acquisition, index, grid)
        _pixels(image, protocol, stored)
        yield image


def _empty_image(sop_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = sop_uid
    return image


def _series(image: Dataset, acquisition: Acquisition) -> None:
    protocol, started = acquisition.protocol, acquisition.started
    image.Modality = "CT"
    image.SeriesInstanceUID = acquisition.series_uid
    image.SeriesNumber = acquisition.series_number
    image.SeriesDescription = protocol.series_description
    image.SeriesDate, image.SeriesTime = _date(started), _time(started)
    image.ProtocolName = protocol.name
    image.BodyPartExamined = protocol.body_part
    image.PatientPosition = "HFS"
    image.FrameOfReferenceUID = acquisition.frame_of_reference_uid
    image.PositionReferenceIndicator = ""
    image.PerformedProcedureStepStartDate = _date(started)
    image.PerformedProcedureStepStartTime = _time(started)
    image.PerformedProcedureStepDescription = protocol.name


def _equipment(image: Dataset, acquisition: Acquisition) -> None:
    image.Manufacturer = "labsim"
    image.ManufacturerModelName = "Simulated CT"
    image.InstitutionName = acquisition.institution
    image.StationName = acquisition.station
    image.DeviceSerialNumber = "0001"
    image.SoftwareVersions = "1"


def _slice(image: Dataset, acquisition: Acquisition, index: int, grid: Grid) -> None:
    protocol, started = acquisition.protocol, acquisition.started
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.AcquisitionNumber = 1
    image.InstanceNumber = index + 1
    image.AcquisitionDate = image.ContentDate = _date(started)
    image.AcquisitionTime = image.ContentTime = _time(started)
    image.KVP = _number(protocol.kvp)
    image.XRayTubeCurrent = round(protocol.current)
    image.ExposureTime = 500
    image.Exposure = round(protocol.current * 0.5)
    image.RotationDirection = "CW"
    image.ConvolutionKernel = protocol.kernel
    image.ReconstructionDiameter = _number(protocol.field_of_view)
    image.GantryDetectorTilt = "0"
    image.SliceThickness = _number(protocol.thickness)
    image.SpacingBetweenSlices = _number(protocol.thickness)
    image.PixelSpacing = [_number(grid.spacing)] * 2
    image.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    image.ImagePositionPatient = [_number(grid.first), _number(grid.first), _number(grid.z)]
    image.SliceLocation = _number(grid.z)
    image.PatientOrientation = ["L", "P"]
    image.BurnedInAnnotation = "NO"


def _pixels(image: Dataset, protocol: CtProtocol, stored: NDArray[np.uint16]) -> None:
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.RescaleIntercept = str(INTERCEPT)
    image.RescaleSlope = "1"
    image.RescaleType = "HU"
    image.WindowCenter = [_number(center) for _, center, _ in protocol.windows]
    image.WindowWidth = [_number(width) for _, _, width in protocol.windows]
    image.WindowCenterWidthExplanation = [name for name, _, _ in protocol.windows]
    image.PixelData = stored.tobytes()


def request_attributes(
    *, accession: str, procedure_id: str, step_id: str, description: str
) -> Sequence:
    """Return the Request Attributes Sequence (PS3.3 10.6) that names the order in each image."""
    item = Dataset()
    item.AccessionNumber = accession
    item.RequestedProcedureID = procedure_id
    item.ScheduledProcedureStepID = step_id
    item.ScheduledProcedureStepDescription = description
    item.RequestedProcedureDescription = description
    return Sequence([item])


def _date(moment: datetime) -> str:
    return moment.strftime("%Y%m%d")


def _time(moment: datetime) -> str:
    return moment.strftime("%H%M%S")


def _number(value: float) -> str:
    """Write a decimal string of at most 16 characters (PS3.5 6.2, VR DS)."""
    return f"{value:.6g}"
