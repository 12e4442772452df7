"""Is the patient of a disc one of ours? Names, birth dates and sex say; numbers do not."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher

from labsim.systems.records import Patient, Record
from labsim.table import Table

_NAME, _SIMILAR_NAME, _BIRTH_DATE, _SEX = 50, 30, 40, 10  # points, 100 together
_SIMILAR = 0.8  # of SequenceMatcher: one letter in eight
# What Unicode does not take apart into a letter and a mark.
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True)
class Match(Record):
    """How well a patient of ours fits the patient of a disc.

    Parameters
    ----------
    patient : Patient
        Ours.
    score : int
        0 to 100.
    same : bool
        Whether it can be the same person: the names are the same or similar,
        the birth dates are the same, and the sexes do not differ.
    reasons : tuple of str
        What agrees and what does not.
    """

    patient: Patient
    score: int
    same: bool
    reasons: tuple[str, ...]

    def table(self) -> Table:
        """Return who it is, and each reason."""
        rows = [("patient", described(self.patient)), ("score", self.score)]
        rows += [("can be the same", "yes" if self.same else "no")]
        rows += [("", reason) for reason in self.reasons]
        return Table(("field", "value"), rows, "Match")


def compare(theirs: Patient, ours: Patient) -> Match:
    """Compare the patient of a disc with one of ours.

    Parameters
    ----------
    theirs : Patient
        As the disc has them.
    ours : Patient
        As this hospital has them.
    """
    name, name_says = _compare_names(theirs.name, ours.name)
    score, reasons = name, [name_says]
    born = bool(ours.birth_date) and theirs.birth_date == ours.birth_date
    score += _BIRTH_DATE if born else 0
    reasons.append(_says("birth date", theirs.birth_date, ours.birth_date))
    sexes_differ = "" not in (theirs.sex, ours.sex) and theirs.sex != ours.sex
    score += _SEX if theirs.sex and theirs.sex == ours.sex else 0
    reasons.append(_says("sex", theirs.sex, ours.sex))
    same = name > 0 and born and not sexes_differ
    if theirs.patient_id == ours.patient_id and theirs.issuer != ours.issuer:
        whose = theirs.issuer or "an unknown issuer"
        reasons.append(f"same number, given by {whose}: says nothing")
    return Match(ours, score, same, tuple(reasons))


def _compare_names(theirs: str, ours: str) -> tuple[int, str]:
    first, second = plain(theirs), plain(ours)
    if not first or not second:
        return 0, "no name to compare"
    if first == second:
        return _NAME, "same name"
    if SequenceMatcher(None, first, second, autojunk=False).ratio() >= _SIMILAR:
        return _SIMILAR_NAME, f"similar name: {theirs}, here {ours}"
    return 0, f"other name: {theirs}, here {ours}"


def _says(what: str, theirs: str, ours: str) -> str:
    if not theirs or not ours:
        return f"no {what} to compare"
    return f"same {what}" if theirs == ours else f"other {what}: {theirs}, here {ours}"


def plain(name: str) -> str:
    """Return family and given name without accents, capitals and punctuation."""
    parts = name.partition("=")[0].split("^")[:2]
    text = unicodedata.normalize("NFD", " ".join(parts).casefold().translate(_LETTERS))
    kept = "".join(c if c.isalpha() else " " for c in text if not unicodedata.combining(c))
    return " ".join(kept.split())


def described(patient: Patient) -> str:
    """Return a patient in one line."""
    parts = (patient.name, patient.birth_date, patient.sex)
    return f"{patient.patient_id}^^^{patient.issuer} {' '.join(filter(None, parts))}"
