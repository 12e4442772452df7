"""MR Image IOD (PS3.3 A.4): planes through a body in space, weighted as a sequence weights them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import MRImageStorage

from labsim.imaging.bodies.head import head
from labsim.imaging.bodies.knee import APART, knee
from labsim.imaging.bodies.lumbar import lumbar
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
)
from labsim.imaging.solids import Image, Plane, Section, Vector, Waves
from labsim.imaging.tissues import Sequence

ARTEFACTS = {
    "motion": "the patient moved: ghosts along the phase direction",
    "wrap": "the field of view is too small: what is outside lies over the other side",
}
FIELD, PROTON = 1.5, 42.577  # tesla, and MHz per tesla
BRIGHT = 1800  # stored value of the strongest tissue
IRREGULAR = 1.2  # by how many mm shapes differ from those of a textbook
WRAPPED = 0.5  # the part that is left of the field of view when it is too small
LETTERS = {"AXIAL": "LP", "SAGITTAL": "PF", "CORONAL": "LF"}  # Patient Orientation
Body = Callable[[Section, dict[str, float]], None]


@dataclass(frozen=True)
class Coil:
    """What receives the signal.

    Parameters
    ----------
    name : str
        Receive Coil Name (0018,1250).
    centre : tuple of float
        Where it receives best: x, y, z in mm.
    reach : tuple of float
        At which distance along x, y and z it receives 60 %, in mm.
    """

    name: str
    centre: Vector
    reach: Vector

    def sensitivity(self, section: Section) -> Image:
        """Return how well each pixel is received."""
        plane = section.plane
        total = np.zeros_like(section.image)
        for axis, (middle, reach) in enumerate(zip(self.centre, self.reach, strict=True)):
            across, down = plane.along(np.eye(3)[axis].tolist())
            total += ((across + down - np.float32(middle)) / np.float32(reach)) ** 2
        return np.asarray(np.exp(-total / 2), dtype=np.float32)


@dataclass(frozen=True)
class MrProtocol:
    """How a body part is imaged.

    Parameters
    ----------
    name : str
        Protocol Name (0018,1030).
    body_part : str
        Body Part Examined (0018,0015), defined term of PS3.16 annex L.
    series_description : str
        Series Description (0008,103E).
    views : tuple of str
        ``"AXIAL"``, ``"SAGITTAL"``, ``"CORONAL"``; more than one for a localizer.
    centre : tuple of float
        x, y, z of the middle of the slices in mm.
    slices : int
        How many in each view.
    thickness, distance : float
        Slice thickness, and distance of the middles of slices, in mm.
    size : int
        Rows and columns.
    field_of_view : float
        Width of the image in mm.
    phase : str
        ``"ROW"`` or ``"COL"``: along what the phase is encoded (0018,1312).
    sequence : Sequence
        What is done to the protons.
    variant : tuple of str
        Sequence Variant (0018,0021).
    train : int
        Echo Train Length (0018,0091).
    coil : Coil
        What receives.
    noise : float
        Standard deviation, as a part of the strongest signal.
    windows : tuple of (name, centre, width)
        Suggested windows; the first is shown first.
    position : str
        Patient Position (0018,5100).
    laterality : str
        ``"L"`` or ``"R"`` for a paired body part.
    """

    name: str
    body_part: str
    series_description: str
    views: tuple[str, ...]
    centre: Vector
    slices: int
    thickness: float
    distance: float
    size: int
    field_of_view: float
    phase: str
    sequence: Sequence
    variant: tuple[str, ...]
    train: int
    coil: Coil
    noise: float
    windows: Windows
    position: str = "HFS"
    laterality: str = ""

    @property
    def images(self) -> int:
        """How many images it makes."""
        return self.slices * len(self.views)

    def planes(self) -> Iterator[Plane]:
        """Yield where its images lie: towards the left, the back and the head."""
        spacing = self.field_of_view / self.size
        for view in self.views:
            for index in range(self.slices):
                plane = Plane(self.centre, view, self.size, self.size, spacing, self.thickness)
                place = list(self.centre)
                place[plane.normal] += (index - (self.slices - 1) / 2) * self.distance
                yield replace(plane, centre=(place[0], place[1], place[2]))


_T1 = Sequence("SE", 500, 11)
_T2 = Sequence("SE", 4800, 102)
_PD = Sequence("SE", 3000, 28)
_FLAIR = Sequence("IR", 9000, 108, inversion=2450)
_SCOUT = Sequence("GR", 9, 4, flip=25)
_HEAD = MrProtocol(
    name="Head routine",
    body_part="HEAD",
    series_description="t2_tse_tra",
    views=("AXIAL",),
    centre=(0, 0, 14),
    slices=20,
    thickness=5.0,
    distance=6.0,
    size=256,
    field_of_view=240.0,
    phase="ROW",
    sequence=_T2,
    variant=("SK", "SP"),
    train=13,
    coil=Coil("Head 8", (0, 10, 5), (190, 210, 170)),
    noise=0.012,
    windows=(("T2", 560, 1000),),
)
_KNEE = MrProtocol(
    name="Knee left",
    body_part="KNEE",
    series_description="pd_tse_sag_L",
    views=("SAGITTAL",),
    centre=(APART, 0, 0),
    slices=21,
    thickness=3.5,
    distance=4.0,
    size=256,
    field_of_view=160.0,
    phase="COL",
    sequence=_PD,
    variant=("SK", "SP"),
    train=7,
    coil=Coil("Knee 8", (APART, 0, 0), (110, 110, 85)),
    noise=0.015,
    windows=(("PD", 900, 1800),),
    position="FFS",
    laterality="L",
)
_LUMBAR = MrProtocol(
    name="Lumbar spine",
    body_part="LSPINE",
    series_description="t2_tse_sag",
    views=("SAGITTAL",),
    centre=(0, 14, 0),
    slices=15,
    thickness=4.0,
    distance=4.4,
    size=256,
    field_of_view=300.0,
    phase="COL",
    sequence=_T2,
    variant=("SK", "SP"),
    train=17,
    coil=Coil("Spine 6", (0, 90, 0), (220, 95, 260)),
    noise=0.01,
    windows=(("T2", 520, 1000),),
)


def _localizer(
    protocol: MrProtocol, centre: Vector, field_of_view: float, description: str = "localizer"
) -> MrProtocol:
    """Return the quick protocol of three planes on which another one is planned."""
    return replace(
        protocol,
        series_description=description,
        views=("SAGITTAL", "CORONAL", "AXIAL"),
        centre=centre,
        slices=1,
        thickness=8.0,
        distance=8.0,
        field_of_view=field_of_view,
        sequence=_SCOUT,
        variant=("SP",),
        train=1,
        noise=0.03,
        windows=(("SCOUT", 800, 1700),),
    )


def _other_side(protocol: MrProtocol) -> MrProtocol:
    """Return the protocol of the right side from that of the left one."""
    x, y, z = protocol.centre
    coil_x, coil_y, coil_z = protocol.coil.centre
    return replace(
        protocol,
        name=protocol.name.replace("left", "right"),
        series_description=protocol.series_description.removesuffix("L") + "R",
        centre=(-x, y, z),
        coil=replace(protocol.coil, centre=(-coil_x, coil_y, coil_z)),
        laterality="R",
    )


_LEFT = {
    "KNEE_LEFT_LOCALIZER": _localizer(_KNEE, (APART, 0, 18), 240.0, "localizer_L"),
    "KNEE_LEFT": _KNEE,
    "KNEE_LEFT_COR": replace(
        _KNEE,
        series_description="t1_se_cor_L",
        views=("CORONAL",),
        centre=(APART, 4, 0),
        slices=17,
        sequence=_T1,
        variant=("SP",),
        train=1,
        windows=(("T1", 800, 1500),),
    ),
}
PROTOCOLS = {
    "HEAD_LOCALIZER": _localizer(_HEAD, (0, 0, -10), 280.0),
    "HEAD_T1_SAG": replace(
        _HEAD,
        series_description="t1_se_sag",
        views=("SAGITTAL",),
        centre=(0, 0, -12),
        slices=19,
        field_of_view=250.0,
        sequence=_T1,
        variant=("SP",),
        train=1,
        windows=(("T1", 650, 1200),),
    ),
    "HEAD_T2": _HEAD,
    "HEAD_FLAIR": replace(
        _HEAD,
        series_description="t2_flair_tra",
        sequence=_FLAIR,
        train=16,
        noise=0.02,
        windows=(("FLAIR", 700, 1400),),
    ),
    "HEAD_T1": replace(
        _HEAD,
        series_description="t1_se_tra",
        sequence=_T1,
        variant=("SP",),
        train=1,
        windows=(("T1", 650, 1200),),
    ),
    **_LEFT,
    **{key.replace("LEFT", "RIGHT"): _other_side(left) for key, left in _LEFT.items()},
    "LSPINE_LOCALIZER": _localizer(_LUMBAR, (0, 14, 0), 400.0),
    "LSPINE": _LUMBAR,
    "LSPINE_T1": replace(
        _LUMBAR,
        series_description="t1_tse_sag",
        sequence=_T1,
        train=3,
        windows=(("T1", 650, 1200),),
    ),
}
# The series that a study consists of, in the order of a scanner's work; they share the frame of
# reference.
STUDIES = {
    "HEAD": ("HEAD_LOCALIZER", "HEAD_T1_SAG", "HEAD_T2", "HEAD_FLAIR", "HEAD_T1"),
    "KNEE_LEFT": ("KNEE_LEFT_LOCALIZER", "KNEE_LEFT", "KNEE_LEFT_COR"),
    "KNEE_RIGHT": ("KNEE_RIGHT_LOCALIZER", "KNEE_RIGHT", "KNEE_RIGHT_COR"),
    "LSPINE": ("LSPINE_LOCALIZER", "LSPINE", "LSPINE_T1"),
}


def acquire(acquisition: Acquisition[MrProtocol], sop_uids: list[str]) -> Iterator[FileDataset]:
    """Take the images of one series, slice by slice.

    Parameters
    ----------
    acquisition : Acquisition
        What they share.
    sop_uids : list of str
        One SOP Instance UID for each image of the protocol.

    Yields
    ------
    FileDataset
        An MR image with its file meta information, Explicit VR Little Endian.
    """
    check_artefact(acquisition, ARTEFACTS)
    protocol = acquisition.protocol
    body = _body(protocol, acquisition.seed)
    signal = protocol.sequence.signals()
    gain = BRIGHT / max(signal.values())
    bend = _bend(acquisition.seed)
    rng = np.random.default_rng([acquisition.seed, acquisition.series_number])
    small = acquisition.artefact == "wrap"
    for index, (sop_uid, whole) in enumerate(zip(sop_uids, protocol.planes(), strict=False)):
        plane = _scaled(whole, protocol.phase, WRAPPED) if small else whole
        seen = _scaled(plane, protocol.phase, 2) if small else plane
        section = Section(seen, 0.0, bend, IRREGULAR)
        body(section, signal)
        received = section.image * protocol.coil.sensitivity(section)
        if small:
            received = _folded(received, protocol.phase)
        elif acquisition.artefact == "motion":
            received = _moved(received, protocol.phase, rng)
        image = new_image(acquisition, MRImageStorage, sop_uid)
        add_series(
            image,
            acquisition,
            "MR",
            position=protocol.position,
            laterality=protocol.laterality,
        )
        add_frame_of_reference(image, acquisition)
        add_equipment(image, acquisition, "Simulated MR")
        add_image(image, acquisition, index, ("ORIGINAL", "PRIMARY", "OTHER"))
        _add_mr(image, protocol, plane)
        _add_plane(image, protocol, plane)
        noisy = _rician(gain * received, BRIGHT * protocol.noise, rng)
        add_pixels(image, np.clip(np.rint(noisy), 0, 4095), 12)
        add_windows(image, protocol.windows)
        yield image


def _body(protocol: MrProtocol, seed: int) -> Body:
    """Return what paints the body part of a protocol."""
    side = -1 if protocol.laterality == "R" else 1
    makers: dict[str, Callable[[], Body]] = {
        "HEAD": lambda: head(seed),
        "KNEE": lambda: knee(seed, side),
        "LSPINE": lambda: lumbar(seed),
    }
    return makers[protocol.body_part]()


def _bend(seed: int) -> list[Waves]:
    """Return the irregularities of a patient's shape."""
    rng = np.random.default_rng([seed, 0xBE4D])
    return [Waves.random(rng, length, 5) for length in (95, 105, 115)]


def _scaled(plane: Plane, phase: str, factor: float) -> Plane:
    """Return a plane that reaches less far in the phase direction, or farther."""
    if phase == "COL":
        return replace(plane, rows=2 * round(plane.rows * factor / 2))
    return replace(plane, columns=2 * round(plane.columns * factor / 2))


def _folded(image: Image, phase: str) -> Image:
    """Lay what is outside the field of view over the other side of it."""
    axis = 0 if phase == "COL" else 1
    size = image.shape[axis] // 2
    before, inside, after = np.split(image, (size // 2, size // 2 + size), axis)
    other = np.concatenate((after, before), axis)
    return np.asarray(inside + other, dtype=np.float32)


def _moved(image: Image, phase: str, rng: np.random.Generator) -> Image:
    """Return what comes of a patient who moved while line after line was measured."""
    axis = 0 if phase == "COL" else 1
    size = image.shape[axis]
    lines = np.fft.fftfreq(size)
    # Breathing, and one jerk; in pixels. A shift of the body turns the phase of its lines.
    place = 1.4 * np.sin(2 * np.pi * lines * size / rng.uniform(7, 11) + rng.uniform(0, 6))
    place += np.where(lines > rng.uniform(0.05, 0.15), 1.2, 0.0)
    turn = np.exp(-2j * np.pi * lines * place)
    shape = (size, 1) if axis == 0 else (1, size)
    spectrum = np.fft.fft(image, axis=axis) * turn.reshape(shape)
    return np.abs(np.fft.ifft(spectrum, axis=axis)).astype(np.float32)


def _rician(image: Image, noise: float, rng: np.random.Generator) -> Image:
    """Return the magnitude of a signal with noise in both of its channels."""
    real, imaginary = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(noise)
    return np.asarray(np.hypot(image + real, imaginary), dtype=np.float32)


def _add_mr(image: Dataset, protocol: MrProtocol, plane: Plane) -> None:
    """Add the MR Image Module (PS3.3 C.8.3.1)."""
    sequence = protocol.sequence
    lines = plane.rows if protocol.phase == "COL" else plane.columns
    image.ScanningSequence = ["SE", "IR"] if sequence.kind == "IR" else sequence.kind
    image.SequenceVariant = list(protocol.variant)
    image.ScanOptions = ""
    image.MRAcquisitionType = "2D"
    image.SequenceName = protocol.series_description.partition("_")[0]
    image.RepetitionTime = number(sequence.repetition)
    image.EchoTime = number(sequence.echo)
    image.EchoNumbers = 1
    image.EchoTrainLength = protocol.train
    if sequence.kind == "IR":
        image.InversionTime = number(sequence.inversion)
    image.FlipAngle = number(sequence.flip)
    image.VariableFlipAngleFlag = "N"
    image.NumberOfAverages = "1"
    image.MagneticFieldStrength = number(FIELD)
    image.ImagingFrequency = number(FIELD * PROTON)
    image.ImagedNucleus = "1H"
    image.ReceiveCoilName = protocol.coil.name
    image.TransmitCoilName = "Body"
    image.InPlanePhaseEncodingDirection = protocol.phase
    # Frequency rows and columns, then phase rows and columns: two of the four are 0.
    across = protocol.phase == "ROW"
    image.AcquisitionMatrix = (
        [protocol.size, 0, 0, lines] if across else [0, protocol.size, lines, 0]
    )
    image.NumberOfPhaseEncodingSteps = lines
    image.PercentSampling = "100"
    image.PercentPhaseFieldOfView = number(round(100 * lines / protocol.size))
    image.PixelBandwidth = "130"
    image.SAR = "1.1"


def _add_plane(image: Dataset, protocol: MrProtocol, plane: Plane) -> None:
    """Add the Image Plane Module (PS3.3 C.7.6.2)."""
    row, column = plane.directions
    image.SliceThickness = number(plane.thickness)
    image.SpacingBetweenSlices = number(protocol.distance)
    image.ReconstructionDiameter = number(protocol.field_of_view)
    image.PixelSpacing = [number(plane.spacing)] * 2
    image.ImageOrientationPatient = [number(value) for value in (*row, *column)]
    image.ImagePositionPatient = [number(value) for value in plane.first]
    image.SliceLocation = number(plane.centre[plane.normal])
    image.PatientOrientation = list(LETTERS[plane.view])
