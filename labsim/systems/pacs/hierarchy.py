"""Which keys a request may have at its level (PS3.4 C.4.1.2.1 and C.4.2.2.1).

Hierarchical requests go down from level to level, with the unique key of each
level above. Relational ones name keys of any level. An archive may take
relational ones from everybody, and most do, or only where that was negotiated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.wire.matching import values_of

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
# It says whose number the unique key is.
_QUALIFIERS = {"IssuerOfPatientID"}


class BadIdentifier(LabError):
    """An Identifier that does not fit the SOP class: 0xA900 (PS3.4 C.4.1.1.4)."""


def level_of(identifier: Dataset, top: str) -> str:
    """Return the Query/Retrieve Level of a request.

    Parameters
    ----------
    identifier : Dataset
        The request's Identifier.
    top : str
        Highest level of the information model: ``"PATIENT"`` or ``"STUDY"``.

    Raises
    ------
    BadIdentifier
        If it is missing or not of the model.
    """
    level = str(identifier.get("QueryRetrieveLevel") or "")
    allowed = LEVELS[LEVELS.index(top) :]
    if level not in allowed:
        raise BadIdentifier(f"Query/Retrieve Level {level!r} is none of {', '.join(allowed)}")
    return level


def require_hierarchy(
    identifier: Dataset, level: str, top: str, keys: Mapping[str, Collection[str]]
) -> None:
    """Refuse a request that does not go down from level to level.

    Parameters
    ----------
    identifier : Dataset
        Its keys.
    level, top : str
        Its level, and the highest of its information model.
    keys : mapping
        The keywords of each level. In the study root model those of the
        patient are of level STUDY.

    Raises
    ------
    BadIdentifier
        If the unique key of a level above is missing or has several values,
        or there is another key of a level above.
    """
    for above in LEVELS[LEVELS.index(top) : LEVELS.index(level)]:
        unique = UNIQUE[above]
        values = values_of(identifier[unique]) if unique in identifier else []
        if len(values) != 1 or set(values[0]) & set("*?"):
            raise BadIdentifier(f"{unique} needs one value at level {level}")
        of_level = set(keys[above]) | (set(keys["PATIENT"]) if above == top == "STUDY" else set())
        others = sorted(
            key.keyword
            for key in identifier
            if key.keyword in of_level and key.keyword not in {unique, *_QUALIFIERS}
        )
        if others:
            raise BadIdentifier(f"{others[0]} is no key of level {level}")
