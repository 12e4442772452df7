"""Ultrasound (PS3.3 A.6) and Ultrasound Multi-frame Image IOD (A.7): abdomen, kidney and heart.

As real scanners do it, who was examined is drawn into the picture itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from labsim.imaging import echoes
from labsim.imaging.codes import Code
from labsim.imaging.common import (
    Acquisition,
    add_equipment,
    add_image,
    add_series,
    check_artefact,
    new_image,
    number,
)
from labsim.imaging.overlay import (
    STRIP,
    Picture,
    colored,
    depth_scale,
    draw_trace,
    electrocardiogram,
    identity,
    labels,
)
from labsim.imaging.projection import Image
from labsim.imaging.sector import Probe, Scanner, Screen

__all__ = ["ARTEFACTS", "PROTOCOLS", "Acquisition", "UsProtocol", "acquire", "burned_in"]
DROPOUT, OVERGAIN = "dropout", "overgain"
ARTEFACTS = {
    DROPOUT: "some elements of the probe are dead: dark stripes along the beams",
    OVERGAIN: "too much gain: fluid is no longer black",
}


@dataclass(frozen=True)
class UsProtocol:
    """What is looked at, with which probe.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    series_description : str
        Series Description (0008,103E).
    sections : tuple of str
        What each image shows, as the examiner writes it into the picture.
    application : str
        Image Type (0008,0008), value 3.
    region : Code
        Anatomic Region Sequence (0008,2218).
    probe : Probe
        What it is seen with.
    transducer : tuple of str
        Its name, and Transducer Type (0018,6031).
    frequency : float
        In MHz.
    scale : float
        Pixels per mm.
    frames : int
        Frames of each image; more than one make a multi-frame image.
    frame_time : float
        In ms.
    color : bool
        Whether flow is shown in colour.
    laterality : str
        Laterality (0020,0060) of a body part that there are two of.
    size : tuple of int
        Rows and columns.
    """

    name: str
    body_part: str
    series_description: str
    sections: tuple[str, ...]
    application: str
    region: Code
    probe: Probe
    transducer: tuple[str, str]
    frequency: float
    scale: float
    frames: int = 1
    frame_time: float = 40.0
    color: bool = False
    laterality: str = ""
    size: tuple[int, int] = (432, 576)

    @property
    def images(self) -> int:
        """How many images it makes."""
        return len(self.sections)

    @property
    def screen(self) -> Screen:
        """Where on the picture the beams are drawn."""
        sink = self.probe.radius * (1 - float(np.cos(np.deg2rad(self.probe.half_angle))))
        return Screen(self.probe, self.size, STRIP + 4 + sink * self.scale, self.scale)


PROTOCOLS = {
    "ABDOMEN": UsProtocol(
        name="Abdomen",
        body_part="ABDOMEN",
        series_description="US abdomen",
        sections=("RT LIVER KIDNEY LONG", "GALLBLADDER"),
        application="ABDOMINAL",
        region=Code("818981001", "Abdomen"),
        probe=Probe(echoes.CURVED, 32, 150),
        transducer=("C5-1", "CURVED LINEAR"),
        frequency=3.5,
        scale=2.1,
    ),
    "KIDNEY": UsProtocol(
        name="Kidney with flow",
        body_part="KIDNEY",
        series_description="US kidney, colour flow",
        sections=("RT KIDNEY LONG CF",),
        application="ABDOMINAL",
        region=Code("64033007", "Kidney"),
        probe=Probe(echoes.CURVED, 32, 118),
        transducer=("C5-1", "CURVED LINEAR"),
        frequency=3.5,
        scale=2.6,
        color=True,
        laterality="R",
    ),
    "HEART": UsProtocol(
        name="Heart, four chambers",
        body_part="HEART",
        series_description="Echo apical 4 chamber",
        sections=("AP4",),
        application="TTE",
        region=Code("80891009", "Heart"),
        probe=Probe(3, 42, 160),
        transducer=("S5-1", "SECTOR_PHASED"),
        frequency=2.5,
        scale=2.1,
        frames=20,
    ),
}
_SCENES = {
    "RT LIVER KIDNEY LONG": echoes.liver_and_kidney,
    "GALLBLADDER": echoes.gallbladder,
    "RT KIDNEY LONG CF": echoes.kidney,
}


def acquire(acquisition: Acquisition[UsProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
    """Take the images of one series.

    Parameters
    ----------
    acquisition : Acquisition
        What they share.
    sop_uids : list of str
        One SOP Instance UID for each section of the protocol.

    Yields
    ------
    FileDataset
        An ultrasound image with its file meta information, Explicit VR Little
        Endian; a multi-frame one if the protocol has frames, and RGB if it
        shows flow.

    Raises
    ------
    NotFound
        If the artefact is not one of `ARTEFACTS`.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol = acquisition.protocol
    moving = protocol.frames > 1
    sop_class = UltrasoundMultiFrameImageStorage if moving else UltrasoundImageStorage
    modes = "0011" if protocol.color else "0001"  # two-dimensional, and colour Doppler
    screen = protocol.screen
    for index, (sop_uid, section) in enumerate(zip(sop_uids, protocol.sections, strict=False)):
        image = new_image(acquisition, sop_class, sop_uid)
        add_series(image, acquisition, "US", laterality=protocol.laterality)
        add_equipment(image, acquisition, "Simulated ultrasound")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY", protocol.application, modes))
        image.BurnedInAnnotation = "YES"
        image.PatientOrientation = ""
        _add_us(image, protocol)
        _add_regions(image, protocol, screen)
        rng = np.random.default_rng([acquisition.seed, acquisition.series_number, index])
        base = _overlay(acquisition, section, screen)
        if moving:
            _add_cine(image, protocol)
            _add_pixels(image, np.stack(list(_heart(acquisition, screen, base, rng))))
        else:
            _add_pixels(image, _still(acquisition, section, screen, base, rng))
        yield image


def burned_in(acquisition: Acquisition[UsProtocol]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return what the picture says of the patient: two lines, each to the left and to the right.

    Parameters
    ----------
    acquisition : Acquisition
        Its study says who it is.

    Returns
    -------
    tuple of tuple of str
        Institution, and date and time; name, and ID with birth date and sex.
    """
    study = acquisition.study
    # A screen of Latin letters shows the alphabetic group of a name (PS3.5 6.2.1).
    name = str(study.get("PatientName") or "").split("=")[0]
    shown = ", ".join(part for part in name.split("^")[:2] if part).upper()
    born = str(study.get("PatientBirthDate") or "")
    if len(born) == 8:
        born = f"{born[:4]}-{born[4:6]}-{born[6:]}"
    who = (str(study.get("PatientID") or ""), born, str(study.get("PatientSex") or ""))
    return (
        (acquisition.institution, f"{acquisition.started:%Y-%m-%d %H:%M:%S}"),
        (shown, " ".join(part for part in who if part)),
    )


def _add_us(image: Dataset, protocol: UsProtocol) -> None:
    """Add the US Image Module (PS3.3 C.8.5.6)."""
    image.LossyImageCompression = "00"
    image.UltrasoundColorDataPresent = int(protocol.color)
    image.AnatomicRegionSequence = Sequence([protocol.region.item()])
    image.TransducerData = [protocol.transducer[0], f"{protocol.frequency:g} MHz", ""]
    image.TransducerType = protocol.transducer[1]
    image.DepthOfScanField = round(protocol.probe.depth)
    image.MechanicalIndex, image.SoftTissueThermalIndex = "1.1", "0.4"
    image.BoneThermalIndex, image.CranialThermalIndex = "0.7", "1.3"
    image.ProcessingFunction = protocol.name


def _add_regions(image: Dataset, protocol: UsProtocol, screen: Screen) -> None:
    """Add the US Region Calibration Module (PS3.3 C.8.5.5): what a pixel measures, and where."""
    top, bottom, left, right = screen.box
    row, column = screen.place(0, 0)
    kinds = (1, 2) if protocol.color else (1,)  # tissue, colour flow
    regions = []
    for kind in kinds:
        region = Dataset()
        region.RegionSpatialFormat = 1  # two-dimensional
        region.RegionDataType = kind
        region.RegionFlags = 0
        region.RegionLocationMinX0, region.RegionLocationMinY0 = left, top
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right, bottom
        region.ReferencePixelX0, region.ReferencePixelY0 = column - left, row - top
        region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3  # cm
        region.PhysicalDeltaX = region.PhysicalDeltaY = 0.1 / protocol.scale
        region.TransducerFrequency = round(protocol.frequency * 1000)  # kHz
        regions.append(region)
    image.SequenceOfUltrasoundRegions = Sequence(regions)


def _add_cine(image: Dataset, protocol: UsProtocol) -> None:
    """Add the Cine and Multi-frame Modules (PS3.3 C.7.6.5, C.7.6.6)."""
    rate = round(1000 / protocol.frame_time)
    image.NumberOfFrames = protocol.frames
    image.FrameIncrementPointer = 0x00181063  # Frame Time
    image.FrameTime = number(protocol.frame_time)
    image.CineRate = image.RecommendedDisplayFrameRate = rate
    image.StartTrim, image.StopTrim = 1, protocol.frames
    image.EffectiveDuration = number(protocol.frames * protocol.frame_time / 1000)
    # All frames together are one beat.
    image.HeartRate = round(60000 / (protocol.frames * protocol.frame_time))


def _add_pixels(image: Dataset, stored: Picture) -> None:
    """Add the Image Pixel Module (PS3.3 C.7.6.3): grey frames, or one in colour."""
    color = stored.shape[-1] == 3
    rows, columns = stored.shape[:2] if color else stored.shape[-2:]
    image.SamplesPerPixel = 3 if color else 1
    image.PhotometricInterpretation = "RGB" if color else "MONOCHROME2"
    if color:
        image.PlanarConfiguration = 0
    image.Rows, image.Columns = rows, columns
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    image.PixelRepresentation = 0
    raw = stored.tobytes()
    image.add_new("PixelData", "OB", raw + b"\0" * (len(raw) % 2))


# The pictures


def _still(
    acquisition: Acquisition[UsProtocol],
    section: str,
    screen: Screen,
    picture: Picture,
    rng: np.random.Generator,
) -> Picture:
    """Return one grey picture, or one in colour."""
    protocol = acquisition.protocol
    scene = _SCENES[section](acquisition.seed)
    scanner = Scanner(protocol.probe, scene, rng, _gain(acquisition))
    seen = scanner.echoes(scanner.x, scanner.y) * _alive(acquisition)
    screen.draw(seen, picture)
    if not protocol.color:
        return picture
    flow = echoes.renal_flow(scene, acquisition.seed).take(scene.index(scanner.x, scanner.y))
    return colored(screen, picture, flow, rng)


def _heart(
    acquisition: Acquisition[UsProtocol], screen: Screen, base: Picture, rng: np.random.Generator
) -> Iterator[Picture]:
    """Yield the frames of one beat."""
    protocol = acquisition.protocol
    heart = echoes.Heart(acquisition.seed)
    scanner = Scanner(protocol.probe, heart.scene, rng, _gain(acquisition))
    alive = _alive(acquisition)
    valves = slice(int(75 / scanner.step), int(115 / scanner.step))  # depths at which they are
    trace = electrocardiogram(protocol.size[1] - 12)
    for frame in range(protocol.frames):
        phase = frame / protocol.frames
        x, y = heart.where(scanner.x, scanner.y, phase)
        leaflets = np.zeros_like(x)
        leaflets[valves] = heart.leaflets(scanner.x[valves], scanner.y[valves], phase)
        picture = base.copy()
        screen.draw(scanner.echoes(x, y, leaflets) * alive, picture)
        draw_trace(picture, trace, phase)
        yield picture


def _gain(acquisition: Acquisition[UsProtocol]) -> float:
    return 20.0 if acquisition.artefact == OVERGAIN else 0.0


def _alive(acquisition: Acquisition[UsProtocol]) -> Image:
    """Return how much of each beam is left: all of it, if no element is dead."""
    beams = np.arange(acquisition.protocol.probe.beams, dtype=np.float32)
    alive = np.ones_like(beams)
    if acquisition.artefact == DROPOUT:
        for middle, width in ((0.28, 4.0), (0.34, 2.5), (0.71, 3.0)):
            away = (beams - middle * len(beams)) / width
            alive -= np.float32(0.92) * np.exp(-(away**4))
    return np.maximum(alive, 0)


def _overlay(acquisition: Acquisition[UsProtocol], section: str, screen: Screen) -> Picture:
    """Return a picture of what is written: who, when, how deep, and how it is taken."""
    protocol = acquisition.protocol
    picture = np.zeros(protocol.size, np.uint8)
    identity(picture, burned_in(acquisition))
    settings = (
        protocol.transducer[0],
        f"{protocol.frequency:g} MHz",
        f"{protocol.probe.depth / 10:.1f} cm",
        f"FR {1000 / protocol.frame_time:.0f} Hz",
        "MI 1.1",
        "TIs 0.4",
        "2D",
        f"Gn {56 + _gain(acquisition):.0f}",
        "DR 58",
    )
    labels(picture, settings, section, acquisition.station)
    depth_scale(picture, screen)
    return picture
