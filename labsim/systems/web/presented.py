"""What a presentation state shows, rendered (PS3.18 10.4.1.3; PS3.4 N.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue

from labsim.errors import LabError
from labsim.imaging.presentation_applying import apply
from labsim.imaging.presentation_references import referenced
from labsim.systems.pacs.index import Instance
from labsim.systems.web.holdings import Holdings
from labsim.systems.web.rendering import Look, encoded, framed
from labsim.wire.http import HttpError


@dataclass(frozen=True)
class Target:
    """A frame that a presentation state is about.

    Parameters
    ----------
    instance : Instance
        The image.
    frame : int
        Counted from 1.
    """

    instance: Instance
    frame: int


class Presented:
    """Draws the images that a presentation state is about.

    Parameters
    ----------
    holdings : Holdings
        Where the images are.
    state : Dataset
        The presentation state.
    """

    def __init__(self, holdings: Holdings, state: Dataset) -> None:
        self._holdings = holdings
        self._state = state
        self._opened: tuple[str, FileDataset] | None = None  # the image that was drawn last

    def targets(self) -> list[Target]:
        """Return the frames that it is about, of those images that may be seen."""
        found = []
        for series, reference in referenced(self._state):
            uid = str(reference.get("ReferencedSOPInstanceUID", ""))
            instances = self._holdings.find((str(self._state.StudyInstanceUID), series, uid))
            for instance in self._holdings.there(self._holdings.fetch(instances)):
                frames = self._frames(instance, reference.get("ReferencedFrameNumber"))
                found += [Target(instance, frame) for frame in frames]
        return found

    def drawn(self, target: Target, kind: str, look: Look) -> bytes:
        """Return a frame as a file; the windows of the state are used, and no other."""
        image = self._image(target.instance)
        try:
            shown = apply(self._state, image, target.frame)
        except LabError as error:
            raise HttpError(406, f"It cannot be rendered: {error.what}") from error
        return encoded([framed(shown.values, look)], kind, look.quality)

    def _frames(self, instance: Instance, named: object) -> Iterator[int]:
        if isinstance(named, MultiValue):
            yield from (int(one) for one in named)
        elif named is not None:
            yield int(str(named))
        else:
            count = int(self._image(instance).get("NumberOfFrames") or 1)
            yield from range(1, count + 1)

    def _image(self, instance: Instance) -> FileDataset:
        if self._opened is None or self._opened[0] != instance.sop_uid:
            self._opened = instance.sop_uid, self._holdings.encoded(instance)
        return self._opened[1]
