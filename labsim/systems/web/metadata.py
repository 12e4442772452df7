"""Metadata: instances as JSON without what is large (PS3.18 10.4.1.2 and annex F)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset

from labsim.systems.pacs.index import Instance
from labsim.systems.web.bulkdata import LARGEST_INLINE, is_bulk
from labsim.systems.web.retrieve import Retrieve

JSON = "application/dicom+json"


class Metadata(Retrieve):
    """Describes a study, a series or an instance."""

    async def get(self, *uids: str) -> None:
        """Answer with an array of one object for each instance."""
        found = await self.wanted(*uids)
        kinds = (JSON, "application/json")
        if not any(one.takes(k, multipart=False) for one in self.accepted() for k in kinds):
            raise self.not_acceptable(JSON)
        there = await self.in_thread(self.holdings.there, found)
        self.require(found, there)
        self.set_header("Content-Type", JSON)
        await self.send_on(self._written(there), b"]")

    def _written(self, found: Sequence[Instance]) -> Iterator[bytes]:
        before = "["
        for instance in found:
            dataset = self.holdings.described(instance)
            shown = as_json(dataset, self.address(instance, "bulkdata"), self._left_out)
            yield (before + json.dumps(shown)).encode()
            before = ","

    def _left_out(self, tag: str, why: str) -> None:
        what = f"({tag[:4]},{tag[4:]}) left out of metadata: {why}"
        self.gate.system.note(what, kind="error", study_uid=self.keys["study_uid"])


def as_json(
    dataset: Dataset, place: str, left_out: Callable[[str, str], None] = lambda tag, why: None
) -> dict[str, Any]:
    """Return a data set as DICOM JSON, with a URI in place of each large value (PS3.18 F.2).

    Parameters
    ----------
    dataset : Dataset
        What to describe.
    place : str
        Address below which its bulk data is.
    left_out : callable
        Told of each value that no JSON can be made of, by tag and reason.
    """
    found: dict[str, Any] = {}
    for tag in (tag for tag in sorted(dataset.keys()) if tag.element):  # no group lengths
        name = f"{tag:08X}"
        try:
            element = dataset[tag]
            if element.VR == "SQ":
                items = enumerate(element.value, start=1)
                shown = [as_json(item, f"{place}/{name}/{n}", left_out) for n, item in items]
                found[name] = {"vr": "SQ", **({"Value": shown} if shown else {})}
            elif is_bulk(element):
                found[name] = {"vr": element.VR, "BulkDataURI": f"{place}/{name}"}
            else:
                made = element.to_json_dict(None, LARGEST_INLINE)
                json.dumps(made, allow_nan=False)
                found[name] = made
        except Exception as error:  # a value that is not what it says; each VR fails in its own way
            left_out(name, str(error))
    return found
