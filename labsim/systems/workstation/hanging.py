"""How a study hangs: which protocol fits it, and which images each box gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from labsim.systems.facility import text_of
from labsim.systems.records import Patient
from labsim.systems.workstation.protocols import (
    DEFAULT,
    LEVELS,
    DisplaySet,
    HangingProtocol,
    ImageSet,
)
from labsim.table import Table
from labsim.wire.matching import values_of

# Objects about images do not hang; they are shown with the images that they are about.
NOT_IMAGES = frozenset({"KO", "PR", "SR", "SEG", "REG", "DOC", "FID", "RWV"})


@dataclass(frozen=True)
class Shown:
    """A study on the screens.

    Parameters
    ----------
    study_uid, accession, date, time, description : str
        Which study.
    patient : Patient
        Whose, as the archive says.
    headers : sequence of Dataset
        What hangs of it, without pixels, in the order of series and instances.
    documents : sequence of Dataset
        Objects about these images.
    """

    study_uid: str
    accession: str
    date: str
    time: str
    description: str
    patient: Patient
    headers: Sequence[Dataset] = field(repr=False)
    documents: Sequence[Dataset] = field(default=(), repr=False)

    @property
    def modality(self) -> str:
        """Of most of its images."""
        return self._most("Modality")

    @property
    def body_part(self) -> str:
        """Body Part Examined (0018,0015) of most of its images."""
        return self._most("BodyPartExamined")

    @property
    def laterality(self) -> str:
        """``"L"`` or ``"R"`` if all images are of one side, else empty."""
        sides = {
            text_of(image.get("ImageLaterality") or image.get("Laterality"))
            for image in self.headers
        }
        return sides.pop() if len(sides) == 1 else ""

    def sop_classes(self) -> Mapping[str, int]:
        """Return how many instances of each SOP class are shown."""
        return Counter(str(image.SOPClassUID) for image in [*self.headers, *self.documents])

    def _most(self, keyword: str) -> str:
        counted = Counter(text_of(image.get(keyword)) for image in self.headers)
        return counted.most_common(1)[0][0] if counted else ""


@dataclass(frozen=True)
class Box:
    """One display set with the images that hang in it.

    Parameters
    ----------
    display_set : DisplaySet
        Where.
    image_set : ImageSet
        What is wanted there.
    study : Shown or None
        Of which the images are; None if there is no such prior.
    headers : tuple of Dataset
        The images; none if the study has no such.
    """

    display_set: DisplaySet
    image_set: ImageSet
    study: Shown | None
    headers: tuple[Dataset, ...]


@dataclass(frozen=True)
class Hanging:
    """A hanging protocol applied.

    Parameters
    ----------
    protocol : HangingProtocol
        Which one.
    boxes : tuple of Box
        One for each display set.
    """

    protocol: HangingProtocol
    boxes: tuple[Box, ...]

    def table(self) -> Table:
        """Return which image set goes to which display set."""
        rows = [
            (
                box.display_set.number,
                box.image_set.label,
                box.study.accession if box.study else "",
                box.study.date if box.study else "",
                box.display_set.layout,
                len(box.headers),
                "\\".join(f"{each:g}" for each in box.display_set.position),
            )
            for box in self.boxes
        ]
        columns = ("display set", "image set", "accession", "date", "layout", "images", "position")
        return Table(columns, rows, f"Hanging protocol: {self.protocol.name}")

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def hang(protocols: Iterable[HangingProtocol], current: Shown, priors: Sequence[Shown]) -> Hanging:
    """Choose the protocol that fits best, and put the images into its boxes.

    One nearer to the reader comes first (its level), then one for this body part or
    side, then the one with most priors, then the one that tells most images apart.

    Parameters
    ----------
    protocols : iterable of HangingProtocol
        To choose from; if none fits, all images are tiled.
    current : Shown
        The study that was opened.
    priors : sequence of Shown
        The most recent first.
    """
    fitting = [each for each in protocols if _fits(each, current, len(priors))]
    best = max(fitting, key=_rank, default=DEFAULT)  # of equals the first one
    sets = {each.number: each for each in best.image_sets}
    studies = [current, *priors]
    boxes = []
    for shown in best.display_sets:
        images = sets[shown.image_set]
        study = studies[images.prior] if images.prior < len(studies) else None
        boxes.append(Box(shown, images, study, _selected(images, study)))
    return Hanging(best, tuple(boxes))


def _fits(protocol: HangingProtocol, current: Shown, priors: int) -> bool:
    filled = [
        bool(_selected(images, current)) for images in protocol.image_sets if not images.prior
    ]
    enough = any if protocol.partial_data == "MAINTAIN_LAYOUT" else all
    return (
        current.modality in protocol.modalities
        and protocol.body_part in ("", current.body_part)
        and protocol.laterality in ("", current.laterality)
        and protocol.priors <= priors
        and enough(filled)
    )


def _rank(protocol: HangingProtocol) -> tuple[int, ...]:
    current = [images for images in protocol.image_sets if not images.prior]
    return (
        LEVELS.index(protocol.level),
        bool(protocol.body_part) + bool(protocol.laterality),
        protocol.priors,
        len(current),
    )


def _selected(images: ImageSet, study: Shown | None) -> tuple[Dataset, ...]:
    """Return the images of a study that match all selectors (PS3.3 C.23.1.1.3)."""
    return tuple(
        header
        for header in (study.headers if study else ())
        if all(
            keyword in header and set(values_of(header[keyword])) & set(values)
            for keyword, values in images.selectors.items()
        )
    )
