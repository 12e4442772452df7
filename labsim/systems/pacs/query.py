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
from labsim.systems.pacs.documents import with_keys
from labsim.systems.pacs.hierarchy import LEVELS, UNIQUE
from labsim.systems.pacs.index import name_keys
from labsim.wire.charset import declared_in, fitting
from labsim.wire.matching import is_universal, matches, project, range_of, unsupported, values_of


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
_DISTINCT = "(SELECT GROUP_CONCAT(DISTINCT {}) FROM {} WHERE {})"
# Instance Availability (0008,0056), the best first: where its name begins tells how bad it is.
_AVAILABILITIES = "ONLINE NEARLINE OFFLINE UNAVAILABLE"
_AVAILABILITY = f"(SELECT MAX(INSTR('{_AVAILABILITIES}', i2.availability)) FROM {{}} WHERE {{}})"
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
            "ModalitiesInStudy": _DISTINCT.format(
                "se2.modality", "series se2", "se2.study = st.id"
            ),
            "SOPClassesInStudy": _DISTINCT.format("i2.sop_class", _INSTANCES, "st2.id = st.id"),
            "InstanceAvailability": _AVAILABILITY.format(_INSTANCES, "st2.id = st.id"),
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
            "InstanceAvailability": _AVAILABILITY.format("instances i2", "i2.series = se.id"),
            "NumberOfSeriesRelatedInstances": _COUNT.format("instances i2", "i2.series = se.id"),
        },
    ),
    "IMAGE": _Level(
        "JOIN instances i ON i.series = se.id",
        {
            "SOPInstanceUID": "i.sop_uid",
            "InstanceAvailability": f"INSTR('{_AVAILABILITIES}', i.availability)",
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


KEYWORDS: Mapping[str, list[str]] = {name: list(_LEVEL[name].columns) for name in LEVELS}


def answers(
    db: Database, identifier: Dataset, level: str, *, combined: bool = False
) -> Iterator[tuple[Dataset, bool]]:
    """Find what matches.

    Parameters
    ----------
    db : Database
        The index.
    identifier : Dataset
        The request's keys.
    level : str
        One of `LEVELS`.
    combined : bool
        Whether dates and times are matched together.

    Yields
    ------
    answer : Dataset
        What was asked for, of one match, in the character set of the request
        where that has all of its characters.
    complete : bool
        Whether every key was supported; status 0xFF01 if not.
    """
    columns = _columns(identifier, level)
    where, values = _narrow(identifier, columns)
    # Only single instances have keys of their own.
    kept = {"keys": "i.keys"} if level == "IMAGE" else {}
    select = ", ".join(f"{sql} AS {name}" for name, sql in (columns | kept).items())
    asked = [key.keyword for key in identifier]
    joins = " ".join(_LEVEL[name].join for name in LEVELS[: LEVELS.index(level) + 1])
    rows = db.rows(f"SELECT {select} FROM {joins} {where} ORDER BY {_ORDER[level]}", *values)
    for row in rows:
        candidate = _candidate(row, columns)
        if kept:
            with_keys(candidate, row["keys"], asked)
        if matches(identifier, candidate, combined=combined):
            answer = project(identifier, candidate)
            answer.QueryRetrieveLevel = level
            written = fitting(declared_in(identifier), *_texts(answer))
            if written:
                answer.SpecificCharacterSet = written
            yield answer, not unsupported(identifier, candidate)


def _columns(identifier: Dataset, level: str) -> dict[str, str]:
    """Return keyword to SQL of what is asked for, of this level and those above."""
    known: dict[str, str] = {}
    for name in LEVELS[: LEVELS.index(level) + 1]:
        known |= _LEVEL[name].columns
    asked = {key.keyword for key in identifier}
    unique = UNIQUE[level]
    return {keyword: sql for keyword, sql in known.items() if keyword in asked or keyword == unique}


def _texts(answer: Dataset) -> tuple[list[str], list[str]]:
    """Return the text in a data set that has a character set, and the names in it."""
    texts: list[str] = []
    names: list[str] = []
    for element in answer:
        if element.VR == "SQ":
            for item in element.value:
                more_texts, more_names = _texts(item)
                texts += more_texts
                names += more_names
        elif element.VR in ("SH", "LO", "ST", "LT", "UC", "UT", "PN"):
            (names if element.VR == "PN" else texts).extend(values_of(element))
    return texts, names


def _narrow(identifier: Dataset, columns: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a WHERE clause that keeps at least every match, and its values."""
    # A correction may have made a patient known before the first image comes.
    tests = ["EXISTS (SELECT 1 FROM studies WHERE patient = p.id)"]
    values: list[str] = []
    for key in identifier:
        sql = columns.get(key.keyword)
        if key.keyword == "ModalitiesInStudy" and sql and not is_universal(key):
            test, bound = _sql_test(key, "modality")
            tests.append(f"EXISTS (SELECT 1 FROM series WHERE study = st.id AND {test})")
            values += bound
        elif sql is None or is_universal(key) or "(" in sql:
            continue
        else:
            test, bound = _name_test(key) if sql == "p.name" else _sql_test(key, sql)
            if test:
                tests.append(test)
                values += bound
    return "WHERE " + " AND ".join(tests), values


def _sql_test(key: DataElement, sql: str) -> tuple[str, list[str]]:
    wanted = values_of(key)
    if key.VR == "DA":
        first, last = range_of("DA", wanted[0])
        return f"{sql} BETWEEN ? AND ?", [first, last]
    if key.VR in ("TM", "DT", "IS", "DS", "US", "PN"):
        return "", []
    if any(set(value) & set("*?") for value in wanted) and key.VR != "UI":
        return " OR ".join([f"{sql} GLOB ?"] * len(wanted)).join("()"), [_glob(v) for v in wanted]
    return f"{sql} IN ({', '.join('?' * len(wanted))})", wanted


def _name_test(key: DataElement) -> tuple[str, list[str]]:
    """Narrow by the component groups, each of which has a column and an index."""
    wanted = values_of(key)[0]
    keys = {column: part for column, part in name_keys(wanted).items() if part}
    if "=" not in wanted:  # any group may be meant
        keys = dict.fromkeys(name_keys(""), keys["name_key"]) if keys else {}
    if not keys:
        return "", []
    # SQLite finds what stands before the first wild card in the index.
    both = " INTERSECT " if "=" in wanted else " UNION "
    known = both.join(f"SELECT id FROM patients WHERE {column} GLOB ?" for column in keys)
    return f"p.id IN ({known})", [_glob(pattern) for pattern in keys.values()]


def _glob(pattern: str) -> str:
    """Turn a DICOM wild card pattern into SQLite's GLOB, where ``[`` is special too."""
    return re.sub(r"\[", "[[]", pattern)


def _candidate(row: sqlite3.Row, columns: Mapping[str, str]) -> Dataset:
    candidate = Dataset()
    for keyword in columns:
        vr, value = dictionary_VR(keyword), row[keyword]
        if keyword in ("ModalitiesInStudy", "SOPClassesInStudy"):
            value = str(value or "").split(",")
        elif keyword == "InstanceAvailability":
            value = _AVAILABILITIES[value - 1 :].split(" ")[0] if value else ""
        elif vr == "US":
            value = int(value) if value else None
        elif vr == "IS":
            value = str(value) if value is not None else ""
        setattr(candidate, keyword, value)
    return candidate
