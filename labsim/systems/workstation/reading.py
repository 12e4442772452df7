"""A study that is open: what hangs where, and what the reader should know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from pydicom.dataset import Dataset

from labsim.errors import NotFound
from labsim.systems.workstation.hanging import Hanging, Shown
from labsim.systems.workstation.key_images import KeyImages, key_images_of
from labsim.table import Table


@dataclass(frozen=True)
class Reading:
    """A study on the screens of a workstation, with its priors.

    Parameters
    ----------
    study : Shown
        The study that was opened.
    priors : sequence of Shown
        The most recent first.
    hanging : Hanging
        Which images are where.
    remarks : sequence of str
        What is missing, or not shown, and why.
    read : callable
        Reads an image with its pixels, by its SOP Instance UID.
    """

    study: Shown
    priors: Sequence[Shown]
    hanging: Hanging
    remarks: Sequence[str]
    read: Callable[[str], Dataset]

    def images(self, display_set: int) -> list[Dataset]:
        """Return the images of a display set, with pixels.

        Raises
        ------
        NotFound
            If there is no such display set, or an image has left the cache.
        """
        for box in self.hanging.boxes:
            if box.display_set.number == display_set:
                return [self.read(str(header.SOPInstanceUID)) for header in box.headers]
        numbers = ", ".join(str(box.display_set.number) for box in self.hanging.boxes)
        raise NotFound(f"There is no display set {display_set}.", f"There are {numbers}.")

    @property
    def key_images(self) -> list[KeyImages]:
        """What readers have pointed out in the study."""
        return key_images_of(self.study)

    def table(self) -> Table:
        """Return which image set goes to which display set."""
        shown = self.hanging.table()
        caption = f"{self._title()}. {shown.caption}"
        return Table(shown.columns, shown.rows, caption)

    def _title(self) -> str:
        study, person = self.study, self.study.patient
        number = f"{person.patient_id}^^^{person.issuer}" if person.issuer else person.patient_id
        return f"{person.name}, {number}, {study.accession} {study.description} of {study.date}"

    def _lines(self) -> list[str]:
        return [*(f"Key images. {note}" for note in self.key_images), *self.remarks]

    def __str__(self) -> str:
        return "\n".join([str(self.table()), *self._lines()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        remarks = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return self.table()._repr_html_() + (f"<ul>{remarks}</ul>" if remarks else "")
