"""Private attributes that are known to be safe (PS3.15 E.3.10)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag


class SafePrivate(NamedTuple):
    """A private attribute that says nothing of a person.

    Parameters
    ----------
    creator : str
        Private Creator, who reserved the block (PS3.5 7.8.1).
    group : int
        Odd.
    element : int
        Its last two digits, wherever the block is: 0x00 to 0xFF.
    """

    creator: str
    group: int
    element: int


# Some of PS3.15 Table E.3.10-1: what quantities are computed with.
SAFE_PRIVATE = frozenset(
    {
        SafePrivate("Philips PET Private Group", 0x7053, 0x00),  # SUV factor
        SafePrivate("Philips PET Private Group", 0x7053, 0x09),  # activity concentration factor
        SafePrivate("ELSCINT1", 0x00E1, 0x21),  # dose length product
        SafePrivate("GEMS_ACQU_01", 0x0019, 0x23),  # table speed
        SafePrivate("GEMS_ACQU_01", 0x0019, 0x27),  # rotation speed
        SafePrivate("GEMS_PARM_01", 0x0043, 0x27),  # scan pitch ratio
        SafePrivate("Philips Imaging DD 001", 0x2001, 0x03),  # diffusion b-factor
        SafePrivate("Philips Imaging DD 001", 0x2001, 0x04),  # diffusion direction
        SafePrivate("SIEMENS MR HEADER", 0x0019, 0x0C),  # b value
        SafePrivate("SIEMENS MR HEADER", 0x0019, 0x0D),  # diffusion directionality
        SafePrivate("SIEMENS MR HEADER", 0x0019, 0x0E),  # diffusion gradient direction
    }
)


def safe_elements(dataset: Dataset, safe: Collection[SafePrivate]) -> Iterator[DataElement]:
    """Yield the private attributes of a data set that are safe, each after its creator."""
    for element in dataset:
        tag = element.tag
        if not tag.is_private or tag.element < 0x1000 or element.VR == "SQ":
            continue
        creator = dataset.get(Tag(tag.group, tag.element >> 8))
        name = "" if creator is None else str(creator.value).strip()
        if creator is not None and SafePrivate(name, tag.group, tag.element & 0xFF) in safe:
            yield creator
            yield element
