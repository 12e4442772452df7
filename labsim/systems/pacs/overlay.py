"""What was corrected since the files came: laid over an instance when it is sent.

The files stay as they came. What a correction replaces is told in the Original
Attributes Sequence (PS3.3 C.12.1.1.9), one item a correction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.database import Database
from labsim.systems.facility import text_of
from labsim.systems.pacs.index import Instance
from labsim.wire.charset import readable

SCHEMA = """
CREATE TABLE IF NOT EXISTS overlays (
    id         INTEGER PRIMARY KEY,
    correction INTEGER NOT NULL REFERENCES corrections,
    uid        TEXT NOT NULL,       -- of a study, a series or an instance
    keyword    TEXT NOT NULL,
    value      TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS overlays_by_uid ON overlays (uid);
"""


@dataclass(frozen=True)
class Amendment:
    """One correction as the corrected instance tells of it.

    Parameters
    ----------
    changes : mapping of str to str
        Keyword to new value.
    made_at : str
        When, ISO 8601.
    system : str
        Modifying System (0400,0563).
    source : str
        Source of Previous Values (0400,0564).
    coded_reason : str
        ``"COERCE"`` or ``"CORRECT"`` (0400,0565).
    """

    changes: Mapping[str, str]
    made_at: str
    system: str
    source: str
    coded_reason: str


class Overlay:
    """Applies the corrections of an instance, of its series and of its study.

    Parameters
    ----------
    db : Database
        Has overlays and corrections.
    own_title : str
        AE title of the archive.
    """

    def __init__(self, db: Database, own_title: str) -> None:
        self._db = db
        self._own_title = own_title

    def concerns(self, instance: Instance) -> bool:
        """Tell whether anything of an instance was corrected."""
        found = self._db.row(
            "SELECT 1 FROM overlays o JOIN corrections c ON c.id = o.correction "
            "WHERE o.uid IN (?, ?, ?) AND c.state = 'done'",
            *(instance.study_uid, instance.series_uid, instance.sop_uid),
        )
        return found is not None

    def apply(self, dataset: Dataset, instance: Instance) -> None:
        """Change a data set to what it is now, oldest correction first."""
        rows = self._db.rows(
            "SELECT c.id, c.made_at, c.coded_reason, o.keyword, o.value FROM overlays o "
            "JOIN corrections c ON c.id = o.correction "
            "WHERE o.uid IN (?, ?, ?) AND c.state = 'done' ORDER BY c.id, o.id",
            *(instance.study_uid, instance.series_uid, instance.sop_uid),
        )
        source = text_of(dataset.get("InstitutionName")) if rows else ""
        for _, group in itertools.groupby(rows, lambda row: int(row["id"])):
            changes = list(group)
            amend(
                dataset,
                Amendment(
                    {row["keyword"]: row["value"] for row in changes},
                    changes[0]["made_at"],
                    self._own_title,
                    source,
                    changes[0]["coded_reason"],
                ),
            )


def amend(dataset: Dataset, amendment: Amendment, removed: Iterable[str] = ()) -> None:
    """Replace attributes, and tell what they were (PS3.3 C.12.1.1.9).

    Parameters
    ----------
    dataset : Dataset
        What to change.
    amendment : Amendment
        What to, and why.
    removed : iterable of str
        Keywords of attributes that are not right any more.
    """
    before = Dataset()
    readable(dataset)
    dataset.decode()  # all text, in sequences too, before its character set changes
    for keyword, value in amendment.changes.items():
        if text_of(dataset.get(keyword)) == value:
            continue
        if keyword in dataset:
            before.add(deepcopy(dataset[keyword]))  # what is set below is set in place
        else:  # told as empty
            setattr(before, keyword, None)
        setattr(dataset, keyword, value)
    for keyword in removed:
        if keyword in dataset:
            before.add(dataset[keyword])
            del dataset[keyword]
    if not before:
        return
    dataset.SpecificCharacterSet = "ISO_IR 192"
    item = Dataset()
    item.ModifiedAttributesSequence = Sequence([before])
    made_at = datetime.fromisoformat(amendment.made_at)
    item.AttributeModificationDateTime = made_at.strftime("%Y%m%d%H%M%S")
    item.ModifyingSystem = amendment.system
    item.SourceOfPreviousValues = amendment.source
    item.ReasonForTheAttributeModification = amendment.coded_reason
    told = dataset.get("OriginalAttributesSequence") or []
    dataset.OriginalAttributesSequence = Sequence([*told, item])
