"""Tag morphing: rules that change attributes of an image on its way into the archive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.conditions import conditions_of, described, met
from labsim.systems.pacs.overlay import Amendment, amend
from labsim.table import Table
from labsim.wire.association_log import dicom_keys

SCHEMA = """
CREATE TABLE IF NOT EXISTS morphing_rules (
    name       TEXT PRIMARY KEY,
    conditions TEXT NOT NULL,       -- JSON, as of labsim.systems.pacs.conditions
    actions    TEXT NOT NULL        -- JSON: list of [kind, keyword, value]
);
"""
_TEXT = {"AE", "AS", "CS", "DA", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT"}
Action = tuple[str, str, Any]


class Morphing:
    """The rules, and what they do with an image.

    What a rule changes is told in the Original Attributes Sequence
    (0400,0561; PS3.3 C.12.1.1.9) of the instance. The SOP Instance UID stays.

    Parameters
    ----------
    system : System
        The archive.
    own_title : str
        Its AE title, named as the Modifying System.
    access : Access
        Who is asking.
    """

    def __init__(self, system: System, own_title: str, access: Access) -> None:
        self._system = system
        self._own_title = own_title
        self.access = access

    @needs("configure")
    def add(
        self,
        name: str,
        *,
        when: Mapping[str, object] | None = None,
        values: Mapping[str, str] | None = None,
        copy: Mapping[str, str] | None = None,
        remove: Sequence[str] = (),
        translate: Mapping[str, Mapping[str, str]] | None = None,
        prefix: Mapping[str, str] | None = None,
    ) -> None:
        """Add a rule, or replace the one of that name.

        Rules are applied in the order in which they were added, and the
        actions of a rule in the order of the parameters.

        Parameters
        ----------
        name : str
            What it is called.
        when : mapping, optional
            Conditions, such as ``{"calling": "PACS", "Modality": ["CT", "MR"]}``,
            as those of a route; all images if left out.
        values : mapping, optional
            Keyword to the value that it gets.
        copy : mapping, optional
            Keyword to the keyword whose value it gets, where that has one.
        remove : sequence of str
            Keywords of what is taken out.
        translate : mapping, optional
            Keyword to a table of old to new values; what is not in the table stays.
        prefix : mapping, optional
            Keyword to the text put in front of its value, once, where there is one.

        Raises
        ------
        ConfigurationError
            If it does nothing, or touches what cannot be changed: only text
            can, and never a UID.
        """
        actions: list[Action] = [
            *(("set", keyword, value) for keyword, value in (values or {}).items()),
            *(("copy", keyword, source) for keyword, source in (copy or {}).items()),
            *(("remove", keyword, "") for keyword in remove),
            *(("translate", keyword, dict(t)) for keyword, t in (translate or {}).items()),
            *(("prefix", keyword, text) for keyword, text in (prefix or {}).items()),
        ]
        if not actions:
            raise ConfigurationError(
                f"The rule {name!r} does nothing.",
                'For example values={"InstitutionName": "Hillside"}.',
            )
        for kind, keyword, value in actions:
            _require_text(keyword)
            if kind == "copy":
                _require_text(value)
        self._system.db.upsert(
            *("morphing_rules", "name"),
            name=name,
            conditions=json.dumps(conditions_of(when or {})),
            actions=json.dumps(actions),
        )
        self._system.note(f"tag morphing: rule {name} set")

    @needs("configure")
    def remove(self, name: str) -> None:
        """Take a rule away; what it has changed stays so.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        if not self._system.db.run("DELETE FROM morphing_rules WHERE name = ?", name):
            known = ", ".join(rule for rule, _, _ in self._rules()) or "none"
            raise NotFound(f"The archive has no morphing rule {name!r}.", f"There are: {known}.")
        self._system.note(f"tag morphing: rule {name} removed")

    def table(self) -> Table:
        """Return the rules in the order of their application."""
        rows = [
            (name, described(conditions) or "every image", ", ".join(map(_told, actions)))
            for name, conditions, actions in self._rules()
        ]
        return Table(("rule", "when", "does"), rows, f"Tag morphing at {self._own_title}")

    def change(self, data: bytes, header: FileDataset, calling: str) -> bytes | None:
        """Return the changed file of an image, None if no rule changes it."""
        now = self._system.facility.clock.now()
        rules = [rule for rule in self._rules() if met(rule[1], header, calling, now)]
        if not rules:
            return None
        dataset = dcmread(BytesIO(data))
        changed = [name for name, _, actions in rules if self._apply(dataset, actions, calling)]
        if not changed:
            return None
        what = f"image changed on the way in by {', '.join(changed)}: {header.SOPInstanceUID}"
        self._system.note(what, **dicom_keys(header))
        return written(dataset)

    def _apply(self, dataset: Dataset, actions: list[Action], calling: str) -> bool:
        changes: dict[str, str] = {}
        removed: list[str] = []
        for kind, keyword, value in actions:
            old = changes.get(keyword, text_of(dataset.get(keyword)))
            new = _outcome(kind, old, value, dataset)
            if kind == "remove":
                removed.append(keyword)
            elif new != old:
                changes[keyword] = new
        removed = [keyword for keyword in removed if keyword in dataset and keyword not in changes]
        if changes or removed:
            amend(
                dataset,
                Amendment(changes, self._system.now(), self._own_title, calling, "COERCE"),
                removed,
            )
        return bool(changes or removed)

    def _rules(self) -> list[tuple[str, dict[str, list[str]], list[Action]]]:
        rows = self._system.db.rows("SELECT * FROM morphing_rules ORDER BY rowid")
        return [(r["name"], json.loads(r["conditions"]), json.loads(r["actions"])) for r in rows]


def written(dataset: FileDataset) -> bytes:
    """Return a data set as a file."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _outcome(kind: str, old: str, value: Any, dataset: Dataset) -> str:
    if kind == "set":
        return str(value)
    if kind == "copy":
        return text_of(dataset.get(value)) or old
    if kind == "translate":
        return str(value.get(old, old))
    if kind == "prefix" and old and not old.startswith(value):
        return f"{value}{old}"
    return old


def _told(action: Action) -> str:
    kind, keyword, value = action
    if kind == "translate":
        return f"{keyword} by {len(value)} values of a table"
    return {
        "set": f"{keyword} = {value}",
        "copy": f"{keyword} from {value}",
        "remove": f"without {keyword}",
        "prefix": f"{value} before {keyword}",
    }[kind]


def _require_text(keyword: str) -> None:
    if tag_for_keyword(keyword) is None:
        raise ConfigurationError(
            f"{keyword!r} is no keyword of the DICOM dictionary.", 'For example "InstitutionName".'
        )
    if dictionary_VR(keyword) not in _TEXT or keyword == "SpecificCharacterSet":
        raise ConfigurationError(
            f"{keyword} cannot be changed on the way in.",
            "Only text can; a UID names the same thing for ever (PS3.5 section 9).",
        )
