"""Hanging protocols: which images go where, for which kind of study (PS3.3 C.23).

The words are those of the Hanging Protocol IOD: image sets are found by
selectors and by their time, display sets show them in image boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.datadict import tag_for_keyword

from labsim.errors import ConfigurationError

# Hanging Protocol Level (0072,0006): the nearer to the reader, the more it counts.
LEVELS = ("MANUFACTURER", "SITE", "USER_GROUP", "SINGLE_USER")
LAYOUTS = ("STACK", "TILED", "SINGLE")  # Image Box Layout Type (0072,0304), as far as shown here
JUSTIFICATIONS = ("LEFT", "CENTER", "RIGHT")
PARTIAL = ("MAINTAIN_LAYOUT", "ADAPT_LAYOUT")  # Partial Data Display Handling (0072,0208)

Position = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageSet:
    """Images that belong together.

    Parameters
    ----------
    number : int
        Image Set Number (0072,0032).
    label : str
        Image Set Label (0072,0040).
    prior : int
        0 for the current study (Relative Time 0), 1 for the most recent prior, 2 for
        the one before (Abstract Prior Value).
    selectors : mapping of str to sequence of str
        Attribute keyword (Selector Attribute) to values of which an image has one. An
        image must match all of them; without any, all images belong to the set.
    """

    number: int
    label: str
    prior: int = 0
    selectors: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def category(self) -> str:
        """Image Set Selector Category (0072,0034)."""
        return "ABSTRACT_PRIOR" if self.prior else "RELATIVE_TIME"


@dataclass(frozen=True)
class DisplaySet:
    """Where an image set is shown.

    Parameters
    ----------
    number : int
        Display Set Number (0072,0202).
    image_set : int
        Which one.
    position : tuple of float
        Display Environment Spatial Position (0072,0108): x and y of the upper left
        and of the lower right corner; (0, 0) is the lower left of all screens, (1, 1)
        the upper right.
    layout : str
        Image Box Layout Type (0072,0304).
    justification : str
        Display Set Horizontal Justification (0072,0717).
    """

    number: int
    image_set: int
    position: Position
    layout: str = "STACK"
    justification: str = "CENTER"


@dataclass(frozen=True)
class HangingProtocol:
    """One hanging protocol.

    Parameters
    ----------
    name, description : str
        Hanging Protocol Name (0072,0002) and Description (0072,0004).
    modalities : tuple of str
        Which studies it is for (Hanging Protocol Definition Sequence).
    image_sets, display_sets : tuple
        What is shown, and where.
    body_part : str
        Of those studies; any if empty.
    laterality : str
        ``"L"`` or ``"R"``; any if empty.
    screens : int
        Number of Screens (0072,0100).
    partial_data : str
        What is done if images are missing: ``"MAINTAIN_LAYOUT"`` leaves their boxes
        empty, with ``"ADAPT_LAYOUT"`` another protocol is looked for.
    level : str
        Hanging Protocol Level (0072,0006).
    """

    name: str
    description: str
    modalities: tuple[str, ...]
    image_sets: tuple[ImageSet, ...]
    display_sets: tuple[DisplaySet, ...]
    body_part: str = ""
    laterality: str = ""
    screens: int = 1
    partial_data: str = "ADAPT_LAYOUT"
    level: str = "SITE"

    @property
    def priors(self) -> int:
        """Number of Priors Referenced (0072,0014)."""
        return max(each.prior for each in self.image_sets)


def grid(
    columns: int,
    rows: int,
    *image_sets: int,
    layout: str = "STACK",
    justification: Sequence[str] = ("CENTER",),
) -> tuple[DisplaySet, ...]:
    """Return display sets in equal boxes, row by row from the upper left.

    Parameters
    ----------
    columns, rows : int
        How many boxes.
    *image_sets : int
        What is in each.
    layout : str
        Of all of them.
    justification : sequence of str
        Of each, over and over.
    """
    return tuple(
        DisplaySet(
            index + 1,
            number,
            (
                index % columns / columns,
                1 - index // columns / rows,
                (index % columns + 1) / columns,
                1 - (index // columns + 1) / rows,
            ),
            layout,
            justification[index % len(justification)],
        )
        for index, number in enumerate(image_sets)
    )


_FRONT: Mapping[str, Sequence[str]] = {"ViewPosition": ("PA", "AP")}
_SIDE: Mapping[str, Sequence[str]] = {"ViewPosition": ("LL", "RL")}


def _breast(view: str, side: str) -> Mapping[str, Sequence[str]]:
    return {"ViewPosition": (view,), "ImageLaterality": (side,)}


# Right on the left and left on the right, as if the patient were looked at.
_BREASTS = tuple(
    ImageSet(4 * prior + number, f"{side} {view}{' prior' * prior}", prior, _breast(view, side))
    for prior in (0, 1)
    for number, (side, view) in enumerate(
        (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO")), start=1
    )
)
_CHEST_WALLS = ("RIGHT", "LEFT")  # against each other
_CURRENT, _PRIOR = ImageSet(1, "current"), ImageSet(2, "prior", 1)

# What a workstation comes with; when none of them fits, all images of the study are tiled.
STANDARD = (
    HangingProtocol(
        "Volume", "One stack", ("CT", "MR"), (_CURRENT,), grid(1, 1, 1), level="MANUFACTURER"
    ),
    HangingProtocol(
        "Volume with prior",
        "The prior on the left, the current study on the right",
        ("CT", "MR"),
        (_CURRENT, _PRIOR),
        grid(2, 1, 2, 1),
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Radiographs",
        "All views beside each other",
        ("DX", "CR"),
        (_CURRENT,),
        grid(1, 1, 1, layout="TILED"),
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Radiographs with prior",
        "The prior on the left, the current study on the right",
        ("DX", "CR"),
        (_CURRENT, _PRIOR),
        grid(2, 1, 2, 1, layout="TILED"),
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Chest, two views",
        "Frontal and lateral",
        ("DX", "CR"),
        (ImageSet(1, "frontal", 0, _FRONT), ImageSet(2, "lateral", 0, _SIDE)),
        grid(2, 1, 1, 2, layout="SINGLE"),
        body_part="CHEST",
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Chest, two views with prior",
        "Frontal prior, frontal and lateral",
        ("DX", "CR"),
        (
            ImageSet(1, "frontal", 0, _FRONT),
            ImageSet(2, "lateral", 0, _SIDE),
            ImageSet(3, "frontal prior", 1, _FRONT),
        ),
        grid(3, 1, 3, 1, 2, layout="SINGLE"),
        body_part="CHEST",
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Mammography",
        "Both breasts, CC above MLO",
        ("MG",),
        _BREASTS[:4],
        grid(2, 2, 1, 2, 3, 4, layout="SINGLE", justification=_CHEST_WALLS),
        body_part="BREAST",
        partial_data="MAINTAIN_LAYOUT",
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Mammography with prior",
        "The current study on the left screen, the prior on the right one",
        ("MG",),
        _BREASTS,
        grid(4, 2, 1, 2, 5, 6, 3, 4, 7, 8, layout="SINGLE", justification=_CHEST_WALLS),
        body_part="BREAST",
        screens=2,
        partial_data="MAINTAIN_LAYOUT",
        level="MANUFACTURER",
    ),
    HangingProtocol(
        "Ultrasound",
        "All images, tiled",
        ("US",),
        (_CURRENT,),
        grid(1, 1, 1, layout="TILED"),
        level="MANUFACTURER",
    ),
)
DEFAULT = HangingProtocol(
    "default", "All images, tiled", (), (_CURRENT,), grid(1, 1, 1, layout="TILED"),
    level="MANUFACTURER",
)  # fmt: skip


def require_sound(protocol: HangingProtocol) -> None:
    """Make sure that a protocol can be followed.

    Raises
    ------
    ConfigurationError
        If it cannot.
    """
    numbers = [each.number for each in protocol.image_sets]
    words = {keyword for each in protocol.image_sets for keyword in each.selectors}
    for wrong, why in (
        (not protocol.name or not protocol.modalities, "it has no name or no modality"),
        (protocol.level not in LEVELS, f"its level is none of {', '.join(LEVELS)}"),
        (protocol.partial_data not in PARTIAL, f"partial_data is none of {', '.join(PARTIAL)}"),
        (len(set(numbers)) != len(numbers), "two image sets have one number"),
        (all(each.prior for each in protocol.image_sets), "no image set is of the current study"),
        (
            {each.image_set for each in protocol.display_sets} != set(numbers),
            "not each image set has a display set",
        ),
        (
            any(each.layout not in LAYOUTS for each in protocol.display_sets),
            f"a layout is none of {', '.join(LAYOUTS)}",
        ),
        (
            any(each.justification not in JUSTIFICATIONS for each in protocol.display_sets),
            f"a justification is none of {', '.join(JUSTIFICATIONS)}",
        ),
        (
            any(tag_for_keyword(keyword) is None for keyword in words),
            "a selector is no keyword of the DICOM dictionary",
        ),
        (
            not all(
                0 <= left < right <= 1 and 0 <= bottom < top <= 1
                for left, top, right, bottom in (each.position for each in protocol.display_sets)
            ),
            "a box is not within (0, 0) and (1, 1)",
        ),
    ):
        if wrong:
            raise ConfigurationError(
                f"The hanging protocol {protocol.name!r} cannot be followed: {why}.",
                "protocols.get('Volume with prior') is one to begin with.",
            )
