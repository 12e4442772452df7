"""C-FIND at the PACS: from an Identifier to SQL, and from rows to answers.

SQL narrows the search by what it has an index for; whether a row matches is
decided by `labsim.wire.matching`, for every kind of matching in the same way.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.errors import LabError
from labsim.systems.pacs.index import first_group
from labsim.wire.matching import is_universal, matches, project, range_of, unsupported, values_of

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")


class BadIdentifier(LabError):
    """An Identifier that does not fit the SOP class: 0xA900 (PS3.4 C.4.1.1.4)."""


@dataclass(frozen=True)
class _Level:
    """What one level adds to a query.

    Parameters
    ----------
    join : str
        Its part of the FROM clause.
    columns : mapping
        Attribute keyword to SQL expression.
    """

    join: str
    columns: Mapping[str, str]


_COUNT = "(SELECT COUNT(*) FROM {} WHERE {})"
_OF_PATIENT = "st2.patient = p.id"
_SERIES_OF_STUDIES = "series se2 JOIN studies st2 ON st2.id = se2.study"
_INSTANCES = (
    "instances i2 JOIN series se2 ON se2.id = i2.series JOIN studies st2 ON st2.id = se2.study"
)

_LEVEL: Mapping[str, _Level] = {
    "PATIENT": _Level(
        "patients p",
        {
            "PatientName": "p.name",
            "PatientID": "p.patient_id",
            "IssuerOfPatientID": "p.issuer",
            "PatientBirthDate": "p.birth_date",
            "PatientSex": "p.sex",
            "NumberOfPatientRelatedStudies": _COUNT.format("studies st2", _OF_PATIENT),
            "NumberOfPatientRelatedSeries": _COUNT.format(_SERIES_OF_STUDIES, _OF_PATIENT),
            "NumberOfPatientRelatedInstances": _COUNT.format(_INSTANCES, _OF_PATIENT),
        },
    ),
    "STUDY": _Level(
        "JOIN studies st ON st.patient = p.id",
        {
            "StudyInstanceUID": "st.study_uid",
            "StudyDate": "st.study_date",
            "StudyTime": "st.study_time",
            "AccessionNumber": "st.accession",
            "StudyID": "st.study_id",
            "StudyDescription": "st.description",
            "ReferringPhysicianName": "st.referring",
            "ModalitiesInStudy": "(SELECT GROUP_CONCAT(DISTINCT se2.modality) FROM series se2 "
            "WHERE se2.study = st.id)",
            "NumberOfStudyRelatedSeries": _COUNT.format("series se2", "se2.study = st.id"),
            "NumberOfStudyRelatedInstances": _COUNT.format(_INSTANCES, "st2.id = st.id"),
        },
    ),
    "SERIES": _Level(
        "JOIN series se ON se.study = st.id",
        {
            "SeriesInstanceUID": "se.series_uid",
            "Modality": "se.modality",
            "SeriesNumber": "se.number",
            "SeriesDescription": "se.description",
            "BodyPartExamined": "se.body_part",
            "ProtocolName": "se.protocol",
            "SeriesDate": "se.series_date",
            "SeriesTime": "se.series_time",
            "NumberOfSeriesRelatedInstances": _COUNT.format("instances i2", "i2.series = se.id"),
        },
    ),
    "IMAGE": _Level(
        "JOIN instances i ON i.series = se.id",
        {
            "SOPInstanceUID": "i.sop_uid",
            "SOPClassUID": "i.sop_class",
            "InstanceNumber": "i.number",
            "Rows": "i.rows",
            "Columns": "i.columns",
            "NumberOfFrames": "i.frames",
            "AvailableTransferSyntaxUID": "i.transfer_syntax",
        },
    ),
}
_ORDER = {"PATIENT": "p.id", "STUDY": "st.id", "SERIES": "se.id", "IMAGE": "i.id"}


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


def answers(db: Database, identifier: Dataset, level: str) -> Iterator[tuple[Dataset, bool]]:
    """Find what matches.

    Parameters
    ----------
    db : Database
        The index.
    identifier : Dataset
        The request's keys.
    level : str
        From `level_of`.

    Yields
    ------
    answer : Dataset
        What was asked for, of one match.
    complete : bool
        Whether every key was supported; status 0xFF01 if not.
    """
    columns = _columns(identifier, level)
    where, values = _narrow(identifier, columns)
    select = ", ".join(f"{sql} AS {keyword}" for keyword, sql in columns.items())
    joins = " ".join(_LEVEL[name].join for name in LEVELS[: LEVELS.index(level) + 1])
    rows = db.rows(f"SELECT {select} FROM {joins} {where} ORDER BY {_ORDER[level]}", *values)
    for row in rows:
        candidate = _candidate(row, columns)
        if matches(identifier, candidate):
            answer = project(identifier, candidate)
            answer.QueryRetrieveLevel = level
            if any(not str(value or "").isascii() for value in row):
                answer.SpecificCharacterSet = "ISO_IR 192"
            yield answer, not unsupported(identifier, candidate)


def _columns(identifier: Dataset, level: str) -> dict[str, str]:
    """Return keyword to SQL of what is asked for, of this level and those above."""
    known: dict[str, str] = {}
    for name in LEVELS[: LEVELS.index(level) + 1]:
        known |= _LEVEL[name].columns
    asked = {key.keyword for key in identifier}
    unique = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID"}.get(level)
    return {keyword: sql for keyword, sql in known.items() if keyword in asked or keyword == unique}


def _narrow(identifier: Dataset, columns: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a WHERE clause that keeps at least every match, and its values."""
    # A correction may have made a patient known before the first image comes.
    tests = ["EXISTS (SELECT 1 FROM studies WHERE patient = p.id)"]
    values: list[str] = []
    for key in identifier:
        sql = columns.get(key.keyword)
        if sql is None or is_universal(key) or sql.startswith("("):
            continue
        test, bound = _sql_test(key, sql)
        if test:
            tests.append(test)
            values += bound
    return "WHERE " + " AND ".join(tests), values


def _sql_test(key: DataElement, sql: str) -> tuple[str, list[str]]:
    wanted = values_of(key)
    if key.keyword == "PatientName":
        # Other groups of a name are not in name_key: only a plain ASCII key can be narrowed.
        name = wanted[0]
        if "=" in name or not name.isascii():
            return "", []
        return "(p.name_key GLOB ? OR p.name LIKE '%=%')", [_glob(first_group(name))]
    if key.VR == "DA":
        first, last = range_of("DA", wanted[0])
        return f"{sql} BETWEEN ? AND ?", [first, last]
    if key.VR in ("TM", "DT", "IS", "DS", "US", "PN"):
        return "", []
    if any(set(value) & set("*?") for value in wanted) and key.VR != "UI":
        return " OR ".join([f"{sql} GLOB ?"] * len(wanted)).join("()"), [_glob(v) for v in wanted]
    return f"{sql} IN ({', '.join('?' * len(wanted))})", wanted


def _glob(pattern: str) -> str:
    """Turn a DICOM wild card pattern into SQLite's GLOB, where ``[`` is special too."""
    return re.sub(r"\[", "[[]", pattern)


def _candidate(row: sqlite3.Row, columns: Mapping[str, str]) -> Dataset:
    candidate = Dataset()
    for keyword in columns:
        vr, value = dictionary_VR(keyword), row[keyword]
        if keyword == "ModalitiesInStudy":
            value = str(value or "").split(",")
        elif vr == "US":
            value = int(value) if value else None
        elif vr == "IS":
            value = str(value) if value is not None else ""
        setattr(candidate, keyword, value)
    return candidate
