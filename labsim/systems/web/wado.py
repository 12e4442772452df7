"""WADO-RS, retrieval over the web: whole instances (PS3.18 10.4.1.1; IHE RAD-107)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pydicom.uid import UID

from labsim.systems.pacs.index import Instance
from labsim.systems.pacs.transcoding import TARGETS
from labsim.systems.web.bulkdata import BulkData
from labsim.systems.web.frames import Frames
from labsim.systems.web.handler import WebHandler
from labsim.systems.web.holdings import AS_STORED, DEFAULT
from labsim.systems.web.media_types import MediaRange
from labsim.systems.web.metadata import Metadata
from labsim.systems.web.multipart_writing import Part
from labsim.systems.web.rendered import Rendered, Thumbnail
from labsim.systems.web.retrieve import Retrieve

DICOM = "application/dicom"
STUDY = "/studies/([^/]+)"
SERIES = STUDY + "/series/([^/]+)"
INSTANCE = SERIES + "/instances/([^/]+)"
FRAMES = INSTANCE + "/frames/([^/]+)"
_OFFERED = (
    f'multipart/related; type="{DICOM}", with transfer-syntax=* for as it is stored'
    f", or {DICOM} for a single instance"
)


class Instances(Retrieve):
    """Gives a study, a series or an instance as DICOM files."""

    async def get(self, *uids: str) -> None:
        """Answer with one part for each instance (PS3.18 10.4.4)."""
        found = await self.wanted(*uids)
        single = len(uids) == 3  # only an instance is a single thing (10.4.4)
        ranges = [one for one in self.accepted() if _in_parts(one) or (single and _alone(one))]
        if not (syntaxes := _syntaxes(ranges)):
            raise self.not_acceptable(_OFFERED)
        found = await self.within_reach(found)
        if _in_parts(ranges[0]):
            await self.stream(DICOM, self._parts(found, syntaxes))
        else:
            await self.answer(await self.made(partial(self._part, found[0], syntaxes)))

    def _parts(self, found: Sequence[Instance], syntaxes: Sequence[str]) -> Iterator[Part]:
        for instance in found:
            yield self._part(instance, syntaxes)

    def _part(self, instance: Instance, syntaxes: Sequence[str]) -> Part:
        syntax, data = self.holdings.file(instance, syntaxes)
        return Part(f"{DICOM}; transfer-syntax={syntax}", data, self.address(instance))


def _in_parts(one: MediaRange) -> bool:
    return one.takes(DICOM, multipart=True) and _known(one.syntax)


def _alone(one: MediaRange) -> bool:
    return one.takes(DICOM, multipart=False) and _known(one.syntax)


def _known(syntax: str) -> bool:
    """Tell whether instances may be had so; implicit and big endian are not for the web (8.7.3)."""
    if syntax in ("", AS_STORED):
        return True
    return UID(syntax).is_transfer_syntax and syntax not in _NOT_FOR_THE_WEB


_NOT_FOR_THE_WEB = {str(uid) for uid in TARGETS if uid.is_implicit_VR or not uid.is_little_endian}


def _syntaxes(ranges: Sequence[MediaRange]) -> list[str]:
    """Return the transfer syntaxes to try, the best first.

    The default is Explicit VR Little Endian; what cannot be had so, because it is
    there in a lossy form only, is given as it is stored (PS3.18 8.7.3).
    """
    named = [one.syntax or DEFAULT for one in ranges]
    fallback = [AS_STORED] if any(not one.syntax for one in ranges) else []
    return list(dict.fromkeys([*named, *fallback]))


def routes(base: str, **named: Any) -> list[tuple[str, type[WebHandler], dict[str, Any]]]:
    """Return where to retrieve what, below a base path (PS3.18 10.4.1)."""
    levels = (STUDY, SERIES, INSTANCE)
    paths: dict[str, type[WebHandler]] = {
        **dict.fromkeys(levels, Instances),
        **{f"{level}/metadata": Metadata for level in levels},
        **{f"{level}/bulkdata": BulkData for level in levels},
        f"{INSTANCE}/bulkdata/(.+)": BulkData,
        FRAMES: Frames,
        **{f"{level}/rendered": Rendered for level in (*levels, FRAMES)},
        **{f"{level}/thumbnail": Thumbnail for level in (*levels, FRAMES)},
    }
    return [(base + path, handler, named) for path, handler in paths.items()]
