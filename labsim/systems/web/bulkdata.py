"""Bulk data: large values that metadata only points to (PS3.18 10.4.1.5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from labsim.systems.pacs.index import Instance
from labsim.systems.web.frames import OCTETS, OFFERED, chosen, frames_of, kind_of
from labsim.systems.web.holdings import DEFAULT
from labsim.systems.web.multipart_writing import Part
from labsim.systems.web.retrieve import Retrieve
from labsim.wire.http import HttpError

LARGEST_INLINE = 1024  # bytes of a binary value in metadata; more is bulk data
_BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"}
_ALWAYS = {0x7FE00008, 0x7FE00009, 0x7FE00010}  # pixels, however few
_PIXEL_DATA = "7FE00010"


def is_bulk(element: DataElement) -> bool:
    """Tell whether metadata only points to a value: pixels, and binary of more than 1024 bytes."""
    if element.VR not in _BINARY or not element.value:
        return False
    return element.tag in _ALWAYS or len(element.value) > LARGEST_INLINE


def bulk_of(dataset: Dataset, path: str = "") -> Iterator[tuple[str, DataElement]]:
    """Return all bulk data of a data set, each with its path.

    The path is the tag as eight digits; in a sequence that of the sequence, the
    number of the item, and so on: ``00880200/1/7FE00010`` are the pixels of an icon.
    """
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
        except (ValueError, TypeError, OverflowError):
            continue  # a value that is not what it says; no large one, those are taken as they are
        place = f"{path}{tag:08X}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value, start=1):
                yield from bulk_of(item, f"{place}/{number}/")
        elif is_bulk(element):
            yield place, element


class BulkData(Retrieve):
    """Gives the bulk data of a study, a series or an instance, or one value of that."""

    async def get(self, *path: str) -> None:
        """Answer with one part for each value; compressed pixels in one for each frame."""
        uids, asked = path[:3], path[3] if len(path) > 3 else ""
        found = await self.within_reach(await self.wanted(*uids))
        ranges = self.accepted()
        kind, syntax, parted = chosen(found[0].transfer_syntax, ranges, single=bool(asked))
        if not kind:
            raise self.not_acceptable(OFFERED)
        parts = self._parts(found, kind, syntax, asked)
        if parted:
            await self.stream(kind, parts)
        else:
            await self.answer(await self.made(lambda: self._alone(parts)))

    def _parts(
        self, found: Sequence[Instance], kind: str, syntax: str, asked: str
    ) -> Iterator[Part]:
        given = 0
        for instance in found:
            for part in self._of(instance, kind, syntax, asked):
                given += 1
                yield part
        if not given:
            raise HttpError(404, "There is no such bulk data.", "The metadata says where it is.")

    def _of(self, instance: Instance, kind: str, syntax: str, asked: str) -> Iterator[Part]:
        dataset = self.holdings.encoded(instance, syntax)
        for path, element in bulk_of(dataset):
            if asked and path.upper() != asked.upper():
                continue
            place = self.address(instance, "bulkdata", path)
            if path == _PIXEL_DATA and UID(syntax).is_encapsulated:
                for frame in frames_of(dataset):
                    yield Part(kind_of(kind, syntax), frame, place)
            elif path == _PIXEL_DATA:
                yield Part(kind_of(OCTETS, DEFAULT), element.value, place)
            else:
                yield Part(OCTETS, element.value, place)

    def _alone(self, parts: Iterator[Part]) -> Part:
        first = next(parts)
        if next(parts, None) is not None:
            raise HttpError(406, "It is several frames.", "Accept multipart/related.")
        return first
