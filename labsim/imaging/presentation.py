"""Makes presentation states: how images are to be seen, kept apart from them (PS3.3 A.33).

What an Evidence Creator of IHE RAD Consistent Presentation of Images stores:
window, turn, section, shutter, marks and words, without touching a pixel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from labsim.errors import ConfigurationError
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, stamp
from labsim.imaging.presentation_parts import Annotation, Area, Mark, Shutter, Text, Window
from labsim.imaging.presentation_space import Placement
from labsim.imaging.presentation_tables import tables
from labsim.sop_classes import COLOR_STATE

__all__ = ["Annotation", "Area", "Mark", "Shutter", "Text", "Window", "make"]

_LABEL = re.compile(r"[A-Z0-9 _]{1,16}")
# What a state takes over from the images: whose they are, and of which study.
_IDENTITY = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription",
    "AccessionNumber", "ReferringPhysicianName", "BodyPartExamined",
)  # fmt: skip
_OWN = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Rows", "Columns", "SamplesPerPixel",
    "NumberOfFrames",
)  # fmt: skip


def make(
    images: Sequence[Dataset],
    *,
    series_uid: str,
    sop_uid: str,
    now: datetime,
    label: str = "PRESENTATION",
    description: str = "",
    creator: str = "",
    institution: str = "",
    model: str = "labsim",
    series_number: int = 9003,
    instance_number: int = 1,
    series_description: str = "Presentation state",
    window: Window | tuple[float, float] | None = None,
    inverse: bool = False,
    rotation: int = 0,
    flip: bool = False,
    area: Area | None = None,
    shutter: Shutter | None = None,
    annotations: Sequence[Annotation] = (),
) -> Dataset:
    """Make a presentation state for images of one study and size.

    Parameters
    ----------
    images : sequence of Dataset
        What it is about; they stay as they are.
    series_uid, sop_uid : str
        New UIDs.
    now : datetime
        When it is made.
    label, description : str
        Content Label (0070,0080), capitals, and Content Description (0070,0081).
    creator : str
        Content Creator's Name (0070,0084).
    institution : str
        Institution Name (0008,0080).
    model : str
        Manufacturer's Model Name (0008,1090) of what makes it.
    series_number, instance_number : int
        Series Number (0020,0011) and Instance Number (0020,0013).
    series_description : str
        Series Description (0008,103E).
    window : Window or (centre, width), optional
        For all images. Without it each keeps the first window, or the table,
        that it suggests.
    inverse : bool
        Black for white. Low values of a MONOCHROME1 image are white by themselves.
    rotation : int
        0, 90, 180 or 270 degrees, clockwise.
    flip : bool
        Left for right, after the turn.
    area : Area, optional
        What is displayed; the whole image if left out, as large as possible.
    shutter : Shutter, optional
        What is hidden.
    annotations : sequence of Mark and Text
        What is drawn over it.

    Returns
    -------
    Dataset
        A Grayscale Softcopy Presentation State (PS3.3 A.33.1), with file meta
        information; of coloured images a Color one (A.33.2).

    Raises
    ------
    ConfigurationError
        If one state cannot hold for all the images, or a value is none that
        the standard has.
    """
    import highdicom.pr as hd  # lazy: it takes half a second

    _check(images, label, rotation)
    headers = [_header(image) for image in images]
    shared: dict[str, Any] = {
        "referenced_images": headers,
        "series_instance_uid": series_uid,
        "series_number": series_number,
        "sop_instance_uid": sop_uid,
        "instance_number": instance_number,
        "manufacturer": "labsim",
        "manufacturer_model_name": model,
        "software_versions": "1",
        "device_serial_number": "1",
        "content_label": label,
        "content_description": description or None,
        "content_creator_name": creator or None,
        "institution_name": institution or None,
        "series_description": series_description,
    }
    try:
        layers, drawn = _annotations(headers, annotations)
        shared |= {"graphic_layers": layers or None, "graphic_annotations": drawn or None}
        if headers[0].SamplesPerPixel == 3:
            state: Dataset = hd.ColorSoftcopyPresentationState(**shared, icc_profile=_srgb())
        else:
            state = hd.GrayscaleSoftcopyPresentationState(
                **shared, **tables(images, window, inverse)
            )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"There can be no such presentation state: {error}") from error
    _complete(state, headers[0], _side(images), now)
    _turn(state, rotation, flip)
    state.DisplayedAreaSelectionSequence = [_area(images[0], area or Area(), rotation, flip)]
    if shutter is not None:
        _shut(state, shutter)
    return state


def _check(images: Sequence[Dataset], label: str, rotation: int) -> None:
    if not images:
        raise ConfigurationError("A presentation state needs an image.")
    if not _LABEL.fullmatch(label):
        raise ConfigurationError(
            f"{label!r} cannot label a presentation state.",
            "Use 1 to 16 capitals, digits, spaces or underscores.",
        )
    if rotation not in (0, 90, 180, 270):
        raise ConfigurationError(
            f"An image cannot be turned by {rotation} degrees.", "Use 0, 90, 180 or 270."
        )
    for keyword in ("PatientID", "StudyInstanceUID", "Rows", "Columns", "SamplesPerPixel"):
        if len({str(image.get(keyword, "")) for image in images}) > 1:
            raise ConfigurationError(
                f"The images differ in {keyword}.",
                "A presentation state is for images of one study and one size.",
            )


def _header(image: Dataset) -> Dataset:
    """Return what a state says of an image, in one character set."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _IDENTITY:
        value = image.get(keyword)
        setattr(header, keyword, "" if value is None else str(value))
    for keyword in _OWN:
        if keyword in image:
            setattr(header, keyword, image.get(keyword))
    return header


def _annotations(
    headers: Sequence[Dataset], annotations: Sequence[Annotation]
) -> tuple[list[Any], list[Any]]:
    """Return graphic layers, and the annotations of each, for each choice of images."""
    import highdicom.pr as hd  # lazy: it takes half a second

    layers: dict[str, Any] = {}
    groups: dict[object, tuple[list[Dataset], list[Annotation]]] = {}
    for each in annotations:
        layers.setdefault(each.layer, hd.GraphicLayer(each.layer, order=len(layers) + 1))
        for series in _by_series(headers, each):
            key = (each.layer, series[0].SeriesInstanceUID, *each.images, *each.frames)
            groups.setdefault(key, (series, []))[1].append(each)
    made = [
        hd.GraphicAnnotation(
            referenced_images=chosen,
            graphic_layer=layers[members[0].layer],
            referenced_frame_number=list(members[0].frames) or None,
            graphic_objects=[_graphic(m) for m in members if isinstance(m, Mark)] or None,
            text_objects=[_words(m) for m in members if isinstance(m, Text)] or None,
        )
        for chosen, members in groups.values()
    ]
    return list(layers.values()), made


def _by_series(headers: Sequence[Dataset], annotation: Annotation) -> list[list[Dataset]]:
    """Return the images that an annotation is for, each series by itself."""
    known = {str(header.SOPInstanceUID) for header in headers}
    if unknown := set(annotation.images) - known:
        raise ConfigurationError(
            f"An annotation is for image {unknown.pop()}, which the state is not about.",
            "Name the SOP Instance UIDs of its own images.",
        )
    series: dict[str, list[Dataset]] = {}
    for header in headers:
        if not annotation.images or header.SOPInstanceUID in annotation.images:
            series.setdefault(header.SeriesInstanceUID, []).append(header)
    return list(series.values())


def _graphic(mark: Mark) -> Any:
    import highdicom.pr as hd  # lazy: it takes half a second

    points = np.array(mark.points, dtype=np.float64).reshape(-1, 2)
    return hd.GraphicObject(mark.kind, points, mark.units, is_filled=mark.filled)


def _words(text: Text) -> Any:
    import highdicom.pr as hd  # lazy: it takes half a second

    return hd.TextObject(
        text.words,
        text.units,
        bounding_box=text.box,
        anchor_point=text.at,
        text_justification="LEFT",
        anchor_point_visible=text.pointing,
    )


def _srgb() -> bytes:
    """Return the profile of the colours that screens have (PS3.3 C.11.15)."""
    from PIL import ImageCms  # lazy, it comes with highdicom

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Of the class of a colour space: the colours are the image's, not a monitor's (PS3.3 C.11.15).
    return profile[:12] + b"spac" + profile[16:]


def _side(images: Sequence[Dataset]) -> str | None:
    """Return the Laterality of their series (PS3.3 C.7.3.1): empty if unknown, None if none."""
    shown = {str(i.get("ImageLaterality") or i.get("Laterality") or "") for i in images}
    sides = shown - {"", "U"}
    if not sides and images[0].get("BodyPartExamined"):
        return None
    return sides.pop() if len(sides) == 1 and sides <= {"L", "R"} else ""


def _complete(state: Dataset, header: Dataset, side: str | None, now: datetime) -> None:
    """Say whose and of when it is, and who wrote the file."""
    for keyword in ("IssuerOfPatientID", "StudyDescription", "BodyPartExamined"):
        if header.get(keyword):
            setattr(state, keyword, header.get(keyword))
    if side is not None:
        state.Laterality = side
    stamp(state, now)
    state.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    state.file_meta.ImplementationVersionName = IMPLEMENTATION_NAME


def _turn(state: Dataset, rotation: int, flip: bool) -> None:
    if rotation or flip:  # the module is there only if it does something (PS3.3 A.33.1.3)
        state.ImageRotation = rotation
        state.ImageHorizontalFlip = "Y" if flip else "N"


def _area(image: Dataset, area: Area, rotation: int, flip: bool) -> Dataset:
    columns, rows = int(image.Columns), int(image.Rows)
    left, top = area.left or 1, area.top or 1
    right, bottom = area.right or columns, area.bottom or rows
    if left > right or top > bottom or area.magnification <= 0:
        raise ConfigurationError("The displayed area is empty.", "It ends after it begins.")
    corners = np.array([(x, y) for x in (left, right) for y in (top, bottom)], dtype=np.float64)
    # The corners are named by where they are after the turn (PS3.3 C.10.4).
    sums = Placement(columns, rows, rotation, flip).turned(corners - 0.5).sum(axis=1)
    item = Dataset()
    item.DisplayedAreaTopLeftHandCorner = [int(n) for n in corners[sums.argmin()]]
    item.DisplayedAreaBottomRightHandCorner = [int(n) for n in corners[sums.argmax()]]
    item.PresentationSizeMode = area.mode
    spacing = image.get("PixelSpacing") or image.get("ImagerPixelSpacing")
    if spacing:
        item.PresentationPixelSpacing = [float(n) for n in spacing]
    elif area.mode == "TRUE SIZE":
        raise ConfigurationError(
            "The images do not say how large a pixel is.", "Without it there is no TRUE SIZE."
        )
    else:
        item.PresentationPixelAspectRatio = list(image.get("PixelAspectRatio") or (1, 1))
    if area.mode == "MAGNIFY":
        item.PresentationPixelMagnificationRatio = float(area.magnification)
    elif area.mode not in ("SCALE TO FIT", "TRUE SIZE"):
        raise ConfigurationError(
            f"There is no Presentation Size Mode {area.mode!r}.",
            "Use SCALE TO FIT, TRUE SIZE or MAGNIFY.",
        )
    return item


def _shut(state: Dataset, shutter: Shutter) -> None:
    shapes = []
    if shutter.rectangle is not None:
        shapes.append("RECTANGULAR")
        state.ShutterLeftVerticalEdge, state.ShutterRightVerticalEdge = shutter.rectangle[:2]
        state.ShutterUpperHorizontalEdge, state.ShutterLowerHorizontalEdge = shutter.rectangle[2:]
    if shutter.circle is not None:
        column, row, radius = shutter.circle
        shapes.append("CIRCULAR")
        state.CenterOfCircularShutter, state.RadiusOfCircularShutter = [row, column], radius
    if shutter.polygon:
        shapes.append("POLYGONAL")
        corners = [(row, column) for column, row in shutter.polygon]
        state.VerticesOfThePolygonalShutter = [n for corner in corners for n in corner]
    if not shapes:
        raise ConfigurationError("A shutter needs a shape.", "Give rectangle, circle or polygon.")
    state.ShutterShape = shapes
    state.ShutterPresentationValue = shutter.value
    if state.SOPClassUID == COLOR_STATE:
        from highdicom.color import CIELabColor  # lazy: it takes half a second

        state.ShutterPresentationColorCIELabValue = list(
            CIELabColor.from_rgb(*[shutter.value / 257] * 3).value
        )
