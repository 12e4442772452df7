"""The DICOMDIR of a disc against its files (PS3.3 annex F)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

Problem = tuple[str, str]  # file, and what is wrong with it

_FILE_ID = re.compile(r"[A-Z0-9_]{1,8}")  # one component (PS3.10 8.5)
_LEVELS = {"PATIENT": 0, "STUDY": 1, "SERIES": 2}


def find_dicomdir(folder: Path) -> Path | None:
    """Return the DICOMDIR of a folder; a disc may show it in small letters."""
    return next((path for path in sorted(folder.iterdir()) if _is_dicomdir(path)), None)


def _is_dicomdir(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR" and path.is_file()


def compare(
    directory: Path | None,
    folder: Path,
    files: Sequence[tuple[str, Dataset]],
    broken: set[str],
) -> list[Problem]:
    """Say where a DICOMDIR and the files do not agree.

    Parameters
    ----------
    directory : Path or None
        The DICOMDIR, None if there is none.
    folder : Path
        The disc.
    files : sequence of (name, data set)
        Its DICOM files.
    broken : set of str
        Files that are there and cannot be read.

    Returns
    -------
    list of (file, reason)
        Files that are named and missing or other than described, and files
        that are not named.
    """
    if directory is None:
        return [("DICOMDIR", "there is none: every file of the disc is looked at")]
    try:
        records = list(_leaves(dcmread(directory)))
    except Exception as error:  # pydicom raises many kinds for broken data
        return [(directory.name, f"cannot be read: {error}")]
    by_name = {name.upper(): header for name, header in files}
    unread = {name.upper() for name in broken}
    problems: list[Problem] = []
    named = set()
    for components, described in records:
        name = "/".join(components)
        named.add(name.upper())
        if not all(map(_FILE_ID.fullmatch, components)) or len(components) > 8:
            problems.append((name, "named by the DICOMDIR, and no file ID (PS3.10 8.5)"))
        header = by_name.get(name.upper())
        if header is None:
            if name.upper() not in unread:
                problems.append((name, "named by the DICOMDIR, and not on the disc"))
            continue
        problems += [(name, reason) for reason in _differences(described, header)]
    problems += [
        (name, "on the disc, and not named by the DICOMDIR")
        for name, _ in files
        if name.upper() not in named
    ]
    return problems


def _leaves(dicomdir: Dataset) -> Iterator[tuple[list[str], Dataset]]:
    """Yield file ID and description of each record that names a file.

    The records stand in the order of their tree in nearly every DICOMDIR, so that
    the patient, study and series of a file are those that came last.
    """
    above: list[Dataset] = []
    for record in dicomdir.get("DirectoryRecordSequence") or []:
        level = _LEVELS.get(str(record.get("DirectoryRecordType")))
        if level is not None:
            above = [*above[:level], record]
        if not record.get("ReferencedFileID"):
            continue
        described = Dataset()
        for entry in (*above, record):
            described.update(entry)
        value = record["ReferencedFileID"].value
        yield ([value] if isinstance(value, str) else [str(part) for part in value]), described


def _differences(described: Dataset, header: Dataset) -> Iterator[str]:
    pairs = (
        ("Patient ID", "PatientID", "PatientID"),
        ("Study Instance UID", "StudyInstanceUID", "StudyInstanceUID"),
        ("Series Instance UID", "SeriesInstanceUID", "SeriesInstanceUID"),
        ("SOP Instance UID", "ReferencedSOPInstanceUIDInFile", "SOPInstanceUID"),
    )
    for words, in_record, in_file in pairs:
        said, there = str(described.get(in_record) or ""), str(header.get(in_file) or "")
        if said != there and there:
            yield f"the DICOMDIR says {words} {said or '(none)'}, the file {there}"
