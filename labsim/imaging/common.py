"""What every image IOD shares (PS3.3 C.7, C.12.1): patient, study, series, equipment, pixels."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from labsim.errors import NotFound
from labsim.ids import make_uid

IMPLEMENTATION_UID = make_uid("implementation")
IMPLEMENTATION_NAME = "LABSIM"
Windows = tuple[tuple[str, float, float], ...]  # name, centre, width


class Protocol(typing.Protocol):
    """What the protocols of all modalities have."""

    @property
    def name(self) -> str:
        """Protocol Name (0018,1030)."""

    @property
    def body_part(self) -> str:
        """Body Part Examined (0018,0015), defined term of PS3.16 annex L."""

    @property
    def series_description(self) -> str:
        """Series Description (0008,103E)."""

    @property
    def images(self) -> int:
        """How many images it makes."""


P_co = TypeVar("P_co", bound=Protocol, covariant=True)


@dataclass(frozen=True)
class Acquisition(Generic[P_co]):
    """Everything about one series that its images share.

    Parameters
    ----------
    study : Dataset
        Patient and study attributes as the worklist gave them, with the
        Request Attributes Sequence.
    protocol : Protocol
        How to take the images; one of the ``PROTOCOLS`` of the modality.
    series_uid, frame_of_reference_uid : str
        New UIDs.
    series_number : int
        Counts the series of the study.
    station : str
        Station Name (0008,1010).
    institution : str
        Institution Name (0008,0080).
    started : datetime
        When the first image was taken.
    seed : int
        Decides the anatomy.
    artefact : str
        What goes wrong, one of the ``ARTEFACTS`` of the modality; nothing if
        it is empty.
    """

    study: Dataset
    protocol: P_co
    series_uid: str
    frame_of_reference_uid: str
    series_number: int
    station: str
    institution: str
    started: datetime
    seed: int
    artefact: str = ""


AnyAcquisition = Acquisition[Protocol]


def check_artefact(acquisition: AnyAcquisition, known: Collection[str]) -> None:
    """Refuse an artefact that a modality does not know.

    Raises
    ------
    NotFound
        If it is not one of the known ones.
    """
    if acquisition.artefact and acquisition.artefact not in known:
        raise NotFound(
            f"There is no artefact {acquisition.artefact!r} here.",
            f"There are {', '.join(sorted(known))}.",
        )


def new_image(acquisition: AnyAcquisition, sop_class: str, sop_uid: str) -> FileDataset:
    """Return an image without pixels: file meta information, SOP Common, patient and study."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = sop_class
    image.SOPInstanceUID = sop_uid
    image.update(acquisition.study)
    return image


def add_series(
    image: Dataset,
    acquisition: AnyAcquisition,
    modality: str,
    *,
    position: str = "",
    laterality: str = "",
) -> None:
    """Add the General Series Module (PS3.3 C.7.3.1).

    Parameters
    ----------
    image : Dataset
        Where to.
    acquisition : Acquisition
        What the images share.
    modality : str
        Modality (0008,0060).
    position : str
        Patient Position (0018,5100), for modalities that need it.
    laterality : str
        Laterality (0020,0060), ``"L"`` or ``"R"``, for a paired body part
        whose side is not in each image.
    """
    protocol, started = acquisition.protocol, acquisition.started
    image.Modality = modality
    image.SeriesInstanceUID = acquisition.series_uid
    image.SeriesNumber = acquisition.series_number
    image.SeriesDescription = protocol.series_description
    image.SeriesDate, image.SeriesTime = date(started), time(started)
    image.ProtocolName = protocol.name
    image.BodyPartExamined = protocol.body_part
    if position:
        image.PatientPosition = position
    if laterality:
        image.Laterality = laterality
    image.PerformedProcedureStepStartDate = date(started)
    image.PerformedProcedureStepStartTime = time(started)
    image.PerformedProcedureStepDescription = protocol.name


def add_frame_of_reference(image: Dataset, acquisition: AnyAcquisition) -> None:
    """Add the Frame of Reference Module (PS3.3 C.7.4.1), for images with a place in space."""
    image.FrameOfReferenceUID = acquisition.frame_of_reference_uid
    image.PositionReferenceIndicator = ""


def add_equipment(image: Dataset, acquisition: AnyAcquisition, model: str) -> None:
    """Add the General Equipment Module (PS3.3 C.7.5.1)."""
    image.Manufacturer = "labsim"
    image.ManufacturerModelName = model
    image.InstitutionName = acquisition.institution
    image.StationName = acquisition.station
    image.DeviceSerialNumber = "0001"
    image.SoftwareVersions = "1"


def add_image(image: Dataset, acquisition: AnyAcquisition, index: int, kind: Iterable[str]) -> None:
    """Add the General Image Module (PS3.3 C.7.6.1).

    Parameters
    ----------
    image : Dataset
        Where to.
    acquisition : Acquisition
        What the images share.
    index : int
        Place in the series, from 0.
    kind : iterable of str
        Image Type (0008,0008).
    """
    started = acquisition.started
    image.ImageType = list(kind)
    image.AcquisitionNumber = 1
    image.InstanceNumber = index + 1
    image.AcquisitionDate = image.ContentDate = date(started)
    image.AcquisitionTime = image.ContentTime = time(started)
    image.BurnedInAnnotation = "NO"


def add_windows(image: Dataset, windows: Windows) -> None:
    """Add suggested windows (PS3.3 C.11.2); the first is shown first."""
    image.WindowCenter = [number(center) for _, center, _ in windows]
    image.WindowWidth = [number(width) for _, _, width in windows]
    image.WindowCenterWidthExplanation = [name for name, _, _ in windows]


def add_pixels(image: Dataset, stored: NDArray[Any], bits: int) -> None:
    """Add the Image Pixel Module (PS3.3 C.7.6.3) of one grey frame.

    Parameters
    ----------
    image : Dataset
        Where to.
    stored : ndarray, (rows, columns)
        Whole numbers from 0 to 2**bits - 1.
    bits : int
        Bits Stored, up to 16; more than 8 are allocated 16.
    """
    allocated = 8 if bits <= 8 else 16
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = allocated, bits, bits - 1
    image.PixelRepresentation = 0
    raw = stored.astype(np.uint8 if allocated == 8 else "<u2").tobytes()
    image.add_new("PixelData", "OB" if allocated == 8 else "OW", raw + b"\0" * (len(raw) % 2))


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


def stamp(made: Dataset, now: datetime) -> None:
    """Give an object that a library made the hospital's time instead of the machine's.

    Parameters
    ----------
    made : Dataset
        Keeps which dates and times it has.
    now : datetime
        By the clock of the system that made it.
    """
    for prefix in ("PresentationCreation", "InstanceCreation", "Content", "Series"):
        for keyword, value in ((f"{prefix}Date", date(now)), (f"{prefix}Time", time(now))):
            if keyword in made:
                setattr(made, keyword, value)
    for equipment in made.get("ContributingEquipmentSequence") or ():  # the library names itself
        equipment.ContributionDateTime = date(now) + time(now)


def date(moment: datetime) -> str:
    """Write a date (PS3.5 6.2, VR DA)."""
    return moment.strftime("%Y%m%d")


def time(moment: datetime) -> str:
    """Write a time (PS3.5 6.2, VR TM)."""
    return moment.strftime("%H%M%S")


def number(value: float) -> str:
    """Write a decimal string of at most 16 characters (PS3.5 6.2, VR DS)."""
    return f"{value:.6g}"
