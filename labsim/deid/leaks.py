"""Find what still tells who the patient is, in whatever was made of the images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from labsim.errors import NotFound
from labsim.table import Table

_PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
_NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName")
_NUMBERS = {
    "patient ID": ("PatientID", "OtherPatientIDs"),
    "accession number": ("AccessionNumber",),
    "order or visit number": (
        "PlacerOrderNumberImagingServiceRequest",
        "FillerOrderNumberImagingServiceRequest",
        "AdmissionID",
        "RequestedProcedureID",
        "StudyID",
    ),
}
# UIDs that say what a thing is and not which it is are the same for everybody.
_SHARED_UIDS = re.compile(r"1\.2\.840\.10008\..*")
_KINDS = re.compile(r"(SOPClass|TransferSyntax|Implementation|CodingScheme|ContextUID|Mapping)")


@dataclass(frozen=True)
class Facts:
    """What of a patient must not be found.

    Parameters
    ----------
    names : set of str
        Parts of names, as written.
    numbers : mapping
        By number, what it is: a patient ID, an accession number …
    birth_dates : set of str
        As ``YYYYMMDD``.
    institutions : set of str
        Whole names.
    uids : set of str
        Of the originals.
    """

    names: frozenset[str] = frozenset()
    numbers: frozenset[tuple[str, str]] = frozenset()
    birth_dates: frozenset[str] = frozenset()
    institutions: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()

    def without(self, *kinds: str) -> Facts:
        """Return the facts but for some kinds, such as ``"uids"`` under the option Retain UIDs."""
        left = {kind: value for kind, value in vars(self).items() if kind not in kinds}
        return Facts(**left)


def facts_of(originals: Iterable[Dataset]) -> Facts:
    """Collect from the original images and documents what must not be found in the others."""
    names, numbers, births = set[str](), set[tuple[str, str]](), set[str]()
    institutions, uids = set[str](), set[str]()
    for original in originals:
        for element in _all_elements(original):
            if element.keyword in _NAMES:
                names |= {part for part in re.split(r"[\^=\s\\]+", _text(element)) if part}
            for what, keywords in _NUMBERS.items():
                if element.keyword in keywords:
                    numbers |= {(what, value) for value in _values(element)}
            if element.keyword == "PatientBirthDate":
                births |= set(_values(element))
            if element.keyword == "InstitutionName":
                institutions |= set(_values(element))
            if element.VR == "UI" and not _KINDS.search(element.keyword):
                uids |= {uid for uid in _values(element) if not _SHARED_UIDS.fullmatch(uid)}
    return Facts(
        frozenset(names),
        frozenset(numbers),
        frozenset(births),
        frozenset(institutions),
        frozenset(uids),
    )


@dataclass(frozen=True)
class Leak:
    """One place that tells who the patient is.

    Parameters
    ----------
    file : str
        Below the folder; the SOP Instance UID of a data set without a file.
    place : str
        Tags from the outside in, such as ``(0040,A730)[2].(0040,A160)``; or ``file name``.
    attribute : str
        Keyword, as far as the dictionary has one.
    what : str
        ``"name"``, ``"patient ID"``, ``"birth date"``, ``"institution"``, ``"UID"`` …
    value : str
        What was found there.
    """

    file: str
    place: str
    attribute: str
    what: str
    value: str


class Leaks(list[Leak]):
    """All that was found; an empty list is what you want."""

    def table(self) -> Table:
        """Return one line a leak."""
        rows = [(leak.file, leak.place, leak.attribute, leak.what, leak.value) for leak in self]
        caption = f"{len(self)} leaks" if self else "Nothing tells who the patient is"
        return Table(("file", "place", "attribute", "what it tells", "found"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def find_leaks(where: Path | str | Dataset | Iterable[Dataset], facts: Facts) -> Leaks:
    """Search every element of every data set for what tells who the patient is.

    Sequences, private attributes, file meta information, file names, a DICOMDIR and the text of
    other files are searched; pixels are not: look at them.

    Parameters
    ----------
    where : Path, str, Dataset or iterable of Dataset
        A folder, or what would be in it.
    facts : Facts
        From `facts_of` the originals.

    Raises
    ------
    NotFound
        If there is no such folder.
    """
    wanted = list(_needles(facts))
    if isinstance(where, Path | str):
        return Leaks(_in_folder(Path(where), wanted))
    datasets = [where] if isinstance(where, Dataset) else where
    return Leaks(
        leak for dataset in datasets for leak in _in_dataset(_name_of(dataset), dataset, wanted)
    )


@dataclass(frozen=True)
class _Needle:
    what: str
    pattern: re.Pattern[str]

    def found(self, text: str) -> str:
        hit = self.pattern.search(text)
        return hit.group() if hit else ""


@dataclass(frozen=True)
class _Uids:
    """Finds one of many UIDs, and one that was made by adding to one."""

    uids: frozenset[str]
    what: str = "UID"

    def found(self, text: str) -> str:
        for candidate in _UID.findall(text):
            while candidate:
                if candidate in self.uids:
                    return str(candidate)
                candidate = candidate.rpartition(".")[0]
        return ""


_UID = re.compile(r"\d+(?:\.\d+)+")


def _needles(facts: Facts) -> Iterator[_Needle | _Uids]:
    for name in sorted(facts.names):
        # A short name is part of many words, a long one also hides in a file name or a login.
        plain = re.escape(_plain(name))
        yield _needle("name", plain if len(name) > 4 else rf"(?<![a-z]){plain}(?![a-z])")
    for what, number in sorted(facts.numbers):
        # Digits alone are part of many UIDs.
        plain = re.escape(_plain(number))
        long = len(number) > 5 and not number.isdigit()
        yield _needle(what, plain if long else rf"(?<![a-z0-9]){plain}(?![a-z0-9])")
    for birth in sorted(facts.birth_dates):
        yield from (_needle("birth date", rf"(?<!\d){form}") for form in _written(birth))
    for institution in sorted(facts.institutions):
        yield _needle("institution", re.escape(_plain(institution)))
    yield _Uids(facts.uids)


_Needles = list[_Needle | _Uids]


def _needle(what: str, pattern: str) -> _Needle:
    return _Needle(what, re.compile(pattern))


def _written(birth: str) -> list[str]:
    """Return the ways in which people write a date, as patterns."""
    try:
        day = date(int(birth[:4]), int(birth[4:6]), int(birth[6:8]))
    except ValueError:
        return [re.escape(birth)] if birth else []
    two = rf"0?{day.day}[./-]0?{day.month}[./-]"
    american = rf"0?{day.month}[./-]0?{day.day}[./-]"
    month = f"{day:%B}"[:3].lower()
    return [
        birth,
        rf"{day.year}[./-]0?{day.month}[./-]0?{day.day}",
        rf"{two}{day.year}",
        rf"{american}{day.year}",
        rf"{day.day}\.? {month}[a-z]* {day.year}",
        rf"{month}[a-z]* {day.day},? {day.year}",
    ]


def _in_folder(folder: Path, wanted: _Needles) -> Iterator[Leak]:
    if not folder.exists():
        raise NotFound(
            f"There is no folder {folder}.", "Give the folder that would leave the site."
        )
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    for file in files:
        name = file.name if file == folder else file.relative_to(folder).as_posix()
        yield from _in_text(name, "file name", "", file.name, wanted)
        if file.is_file():
            yield from _in_file(name, file, wanted)


def _in_file(name: str, file: Path, wanted: _Needles) -> Iterator[Leak]:
    try:
        dataset = dcmread(file)
    except (InvalidDicomError, OSError):
        yield from _in_bytes(name, "text", "", file.read_bytes(), wanted)
        return
    yield from _in_bytes(name, "preamble", "", dataset.preamble or b"", wanted)
    yield from _in_dataset(name, dataset, wanted)


def _in_dataset(name: str, dataset: Dataset, wanted: _Needles) -> Iterator[Leak]:
    meta = getattr(dataset, "file_meta", None) or Dataset()
    for part in (meta, dataset):
        for place, element in _walk(part):
            attribute = element.keyword or ("private" if element.tag.is_private else "unknown")
            if isinstance(element.value, bytes):
                if element.tag not in _PIXELS:
                    yield from _in_bytes(name, place, attribute, element.value, wanted)
            else:
                yield from _in_text(name, place, attribute, _text(element), wanted)


def _in_bytes(
    name: str, place: str, attribute: str, value: bytes, wanted: _Needles
) -> Iterator[Leak]:
    """Look for text in bytes, whichever of the usual ways it is encoded in."""
    texts = {value.decode(encoding, "replace") for encoding in ("utf-8", "latin-1", "utf-16-le")}
    found = {leak for text in texts for leak in _in_text(name, place, attribute, text, wanted)}
    yield from sorted(found, key=lambda leak: (leak.what, leak.value))


def _in_text(name: str, place: str, attribute: str, text: str, wanted: _Needles) -> Iterator[Leak]:
    plain = _plain(text)
    for needle in wanted:
        if hit := needle.found(plain):
            yield Leak(name, place, attribute, needle.what, hit)


def _walk(dataset: Dataset, before: str = "") -> Iterator[tuple[str, DataElement]]:
    for element in dataset:
        place = f"{before}({element.tag.group:04X},{element.tag.element:04X})"
        if element.VR != "SQ":
            yield place, element
            continue
        for number, item in enumerate(element.value, 1):
            yield from _walk(item, f"{place}[{number}].")


def _all_elements(dataset: Dataset) -> Iterator[DataElement]:
    return (element for _, element in _walk(dataset))


def _values(element: DataElement) -> list[str]:
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return [str(value) for value in values if value not in (None, "")]


def _text(element: DataElement) -> str:
    value: Any = element.value
    return "\\".join(_values(element)) if value is not None else ""


def _plain(text: str) -> str:
    """Return a text without case and accents: Møller is found as MOLLER, and Åse as ase."""
    folded = text.casefold().translate({ord("ø"): "o", ord("æ"): "ae", ord("ł"): "l"})
    apart = unicodedata.normalize("NFKD", folded)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _name_of(dataset: Dataset) -> str:
    return str(dataset.get("SOPInstanceUID") or "a data set")
