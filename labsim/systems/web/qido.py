"""QIDO-RS, search over the web (PS3.18 10.6; IHE RAD-129).

IHE actor: Image Manager. Matching is that of C-FIND.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.errors import LabError
from labsim.ids import is_uid
from labsim.systems.pacs.auditing import Auditing
from labsim.systems.pacs.hierarchy import LEVELS
from labsim.systems.pacs.query import KEYWORDS, answers
from labsim.systems.web.handler import WebHandler
from labsim.wire.http import HttpError

JSON = "application/dicom+json"
_ACCEPTED = {JSON, "application/json", "application/*", "*/*"}
_WHOLE = {"US": int, "SS": int, "UL": int, "SL": int}
_PARENTS = {
    "STUDY": ["PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"],
    "SERIES": ["StudyInstanceUID"],
    "IMAGE": ["StudyInstanceUID", "SeriesInstanceUID"],
}


class Search(WebHandler):
    """Answers a search for studies, series or instances."""

    def initialize(  # type: ignore[override]
        self,
        level: str,
        database: Callable[[], Database],
        title: str,
        auditing: Auditing,
        **rest: Any,
    ) -> None:
        """Take what the route says."""
        super().initialize(**rest)
        self._level = level
        self._database = database
        self._title = title
        self._auditing = auditing

    async def get(self, study_uid: str = "", series_uid: str = "") -> None:
        """Answer with what matches; 204 if nothing does (PS3.18 table 10.6.3-1)."""
        self.transaction = "RAD-129"
        if study_uid:
            self.keys["study_uid"] = study_uid
        self._require_json()
        identifier = self._identifier(
            {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid}
        )
        first, count = self._whole("offset") or 0, self._whole("limit")
        last = None if count is None else first + count
        found = await self.in_thread(self._find, identifier, first, last)
        await self.in_thread(self._auditing.searched, self.source(), self._asked())
        if self.get_query_argument("fuzzymatching", "") == "true":
            only = "The fuzzymatching parameter is not supported. Only literal matching is done."
            self.set_header("Warning", f'299 {self.request.host}: "{only}"')
        if not found:
            self.set_status(204)
            return
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps(found))

    def _find(self, identifier: Dataset, first: int, last: int | None) -> list[dict[str, Any]]:
        try:
            return list(self._shown(islice(self._answers(identifier), first, last)))
        except (ValueError, LabError) as error:
            raise HttpError(400, f"The search cannot be understood: {error}.") from error

    def _answers(self, identifier: Dataset) -> Iterator[Dataset]:
        return (answer for answer, _ in answers(self._database(), identifier, self._level))

    def _shown(self, found: Iterator[Dataset]) -> Iterator[dict[str, Any]]:
        for answer in found:
            answer.pop("QueryRetrieveLevel", None)
            answer.RetrieveAETitle = self._title
            answer.RetrieveURL = self.url(*_path_of(answer, self._level))
            yield answer.to_json_dict()

    def _asked(self) -> str:
        return f"{self.request.protocol}://{self.authority}{self.request.uri}"

    def _require_json(self) -> None:
        accept = self.request.headers.get("Accept", "") or "*/*"
        kinds = {part.split(";")[0].strip().lower() for part in accept.split(",")}
        if not kinds & _ACCEPTED:
            raise HttpError(406, f"Searches are answered as {JSON}, not as {accept[:100]}.")

    def _identifier(self, fixed: dict[str, str]) -> Dataset:
        """Return the Identifier that C-FIND would have for this search."""
        identifier = Dataset()
        identifier.SpecificCharacterSet = "ISO_IR 192"
        for keyword in [*_PARENTS[self._level], *KEYWORDS[self._level]]:
            identifier.add(_element(keyword, ""))
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name)
            if name == "includefield":
                for keyword in self._included(values):
                    if keyword not in identifier:
                        identifier.add(_element(keyword, ""))
            elif name not in ("limit", "offset", "fuzzymatching"):
                identifier.add(_element(_keyword(name), values[-1]))
        for keyword, uid in fixed.items():
            if uid and not is_uid(uid):
                raise HttpError(400, f"{uid[:64]!r} is not a UID.")
            if uid:
                identifier.add(_element(keyword, uid))
        return identifier

    def _included(self, values: list[str]) -> Iterator[str]:
        """Return what is asked for beyond what every answer has (PS3.18 8.3.4.3)."""
        for field in (field for value in values for field in value.split(",")):
            if field == "all":
                for level in LEVELS[: LEVELS.index(self._level) + 1]:
                    yield from KEYWORDS[level]
            else:
                yield _keyword(field)

    def _whole(self, name: str) -> int | None:
        given = self.get_query_argument(name, "")
        if not given:
            return None
        if not given.isdecimal() or len(given) > 9:
            raise HttpError(400, f"{name} must be a whole number, not {given[:20]!r}.")
        return int(given)


def _path_of(answer: Dataset, level: str) -> Iterator[str]:
    """Return where something can be retrieved, below the base path."""
    yield from ("studies", str(answer.StudyInstanceUID))
    if level != "STUDY":
        yield from ("series", str(answer.SeriesInstanceUID))
    if level == "IMAGE":
        yield from ("instances", str(answer.SOPInstanceUID))


def _keyword(name: str) -> str:
    """Return the keyword of an attribute that was named by keyword or by eight hex digits."""
    try:
        keyword = name if tag_for_keyword(name) is not None else keyword_for_tag(int(name, 16))
    except ValueError:
        keyword = ""
    if not keyword or dictionary_VR(keyword) == "SQ":
        raise HttpError(
            400,
            f"{name[:64]!r} is no attribute to search by.",
            "Name it by keyword, or by its tag.",
        )
    return keyword


def _element(keyword: str, value: str) -> DataElement:
    vr = dictionary_VR(keyword)
    kept: Any = value.replace(",", "\\") if vr == "UI" else value
    try:
        kept = _WHOLE[vr](value) if value and vr in _WHOLE else kept
        return DataElement(keyword, vr, kept if value else None, validation_mode=config.IGNORE)
    except (ValueError, TypeError) as error:
        raise HttpError(400, f"{value[:64]!r} is no value of {keyword}.") from error


def routes(base: str, **named: Any) -> list[tuple[str, type[WebHandler], dict[str, Any]]]:
    """Return where to search, below a base path (PS3.18 table 10.6.1-1)."""
    paths = {
        "/studies": "STUDY",
        "/series": "SERIES",
        "/instances": "IMAGE",
        "/studies/([^/]+)/series": "SERIES",
        "/studies/([^/]+)/instances": "IMAGE",
        "/studies/([^/]+)/series/([^/]+)/instances": "IMAGE",
    }
    return [(base + path, Search, {"level": level, **named}) for path, level in paths.items()]
