"""The queue of the importer: what came on discs, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from labsim.database import Database
from labsim.errors import NotFound
from labsim.media.reading import OnDisc
from labsim.systems.facility import text_of
from labsim.systems.importer.identity import described
from labsim.systems.records import Patient, Record
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS discs (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    medium  TEXT NOT NULL,          -- CD, or a file that came over the net
    read_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS findings (
    disc    INTEGER NOT NULL REFERENCES discs,
    file    TEXT NOT NULL,
    kind    TEXT NOT NULL,          -- refused, or a mismatch of the DICOMDIR
    reason  TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS imports (
    id          INTEGER PRIMARY KEY,
    disc        INTEGER NOT NULL REFERENCES discs,
    study_uid   TEXT NOT NULL,
    patient_id  TEXT NOT NULL,      -- this and the next five as on the disc
    issuer      TEXT NOT NULL,
    name        TEXT NOT NULL,
    birth_date  TEXT NOT NULL,
    sex         TEXT NOT NULL,
    accession   TEXT NOT NULL,
    study_date  TEXT NOT NULL,
    description TEXT NOT NULL,
    modality    TEXT NOT NULL,
    institution TEXT NOT NULL,
    proposal    TEXT NOT NULL DEFAULT '',  -- what fitted best when the disc was read
    state       TEXT NOT NULL,      -- WAITING, INCOMPLETE, STORED, REJECTED
    destination TEXT NOT NULL DEFAULT '',  -- whose it became, JSON
    mpps_uid    TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS images (
    id         INTEGER PRIMARY KEY,
    import     INTEGER NOT NULL REFERENCES imports,
    series_uid TEXT NOT NULL,
    series     TEXT NOT NULL,       -- its description
    sop_class  TEXT NOT NULL,
    sop_uid    TEXT NOT NULL,
    syntax     TEXT NOT NULL,
    file       TEXT NOT NULL,       -- below the folder "discs", as it came
    sent       INTEGER NOT NULL DEFAULT 0,
    answer     TEXT NOT NULL DEFAULT ''
);
"""


@dataclass(frozen=True)
class Import(Record):
    """One study of one patient that came on a disc.

    Parameters
    ----------
    number : int
        Of the queue.
    disc : str
        Where it came from.
    theirs : Patient
        As the disc has them.
    study_uid, accession, study_date, description, modality, institution : str
        Of the study, as the disc has it.
    state : str
        ``WAITING`` for a clerk, ``INCOMPLETE`` when the archive has not all of
        it, ``STORED``, or ``REJECTED``.
    images, stored : int
        How many there are, and how many the archive has.
    """

    number: int
    disc: str
    theirs: Patient
    study_uid: str
    accession: str
    study_date: str
    description: str
    modality: str
    institution: str
    state: str
    images: int
    stored: int

    def table(self) -> Table:
        """Return the fields with their values."""
        rows = [(f, described(v) if f == "theirs" else v) for f, v in vars(self).items()]
        return Table(("field", "value"), rows, f"Study {self.number} from outside")

    @property
    def source(self) -> str:
        """Who sent it, as far as it says so."""
        return self.institution or self.theirs.issuer or self.disc


class Queue:
    """The tables of `SCHEMA`.

    Parameters
    ----------
    db : Database
        Has them.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_disc(self, name: str, medium: str, now: str) -> int:
        """Add a disc, and return its number."""
        return self._db.insert("discs", name=name, medium=medium, read_at=now)

    def add_findings(self, disc: int, kind: str, findings: Iterable[tuple[str, str]]) -> None:
        """Keep what was found wrong with a disc."""
        self._db.run_many(
            "INSERT INTO findings VALUES (?, ?, ?, ?)",
            [(disc, file, kind, reason) for file, reason in findings],
        )

    def add_study(self, disc: int, files: Sequence[tuple[OnDisc, str]]) -> int:
        """Add one study of one patient with its images, and return its number.

        Parameters
        ----------
        disc : int
            From `add_disc`.
        files : sequence of (file on the disc, name of its copy)
            All of one patient and study.
        """
        first = files[0][0].header
        theirs = patient_of_image(first)
        modalities = dict.fromkeys(text_of(image.header.get("Modality")) for image, _ in files)
        number = self._db.insert(
            "imports",
            disc=disc,
            study_uid=str(first.StudyInstanceUID),
            **vars(theirs),
            accession=text_of(first.get("AccessionNumber")),
            study_date=text_of(first.get("StudyDate")),
            description=text_of(first.get("StudyDescription")),
            modality="\\".join(modalities),
            institution=text_of(first.get("InstitutionName")),
            state="WAITING",
        )
        for image, copy in files:
            header = image.header
            self._db.insert(
                "images",
                **{"import": number},
                series_uid=str(header.SeriesInstanceUID),
                series=text_of(header.get("SeriesDescription")),
                sop_class=str(header.SOPClassUID),
                sop_uid=str(header.SOPInstanceUID),
                syntax=str(header.file_meta.TransferSyntaxUID),
                file=copy,
            )
        return number

    def change(self, number: int, **columns: Any) -> None:
        """Set columns of a study."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.run(f"UPDATE imports SET {names} WHERE id = ?", *columns.values(), number)

    def get(self, number: int) -> Import:
        """Return one study.

        Raises
        ------
        NotFound
            If there is none of that number.
        """
        row = self._row(number)
        theirs = Patient(
            row["patient_id"], row["issuer"], row["name"], row["birth_date"], row["sex"]
        )
        counts = self._db.row(
            "SELECT COUNT(*) AS images, COALESCE(SUM(sent), 0) AS stored FROM images "
            "WHERE import = ?",
            number,
        )
        assert counts is not None
        names = ("study_uid", "accession", "study_date", "description", "modality")
        own = {name: row[name] for name in (*names, "institution", "state")}
        return Import(number, row["disc_name"], theirs, **own, **dict(counts))

    def all(self) -> list[Import]:
        """Return every study, in the order in which they came."""
        return [self.get(row["id"]) for row in self._db.rows("SELECT id FROM imports ORDER BY id")]

    def proposal(self, number: int) -> str:
        """Return what fitted best when the disc was read."""
        return str(self._row(number)["proposal"])

    def destination(self, number: int) -> dict[str, Any]:
        """Return whose a study became, empty if nobody decided yet."""
        kept = self._row(number)["destination"]
        return dict(json.loads(kept)) if kept else {}

    def mpps_uid(self, number: int) -> str:
        """Return the performed procedure step of a study, empty if none is begun."""
        return str(self._row(number)["mpps_uid"])

    def medium(self, number: int) -> str:
        """Return what a study came on."""
        return str(self._row(number)["medium"])

    def images(self, number: int, *, sent: bool) -> list[dict[str, Any]]:
        """Return the images of a study that the archive has, or those that it has not."""
        rows = self._db.rows(
            "SELECT * FROM images WHERE import = ? AND sent = ? ORDER BY id", number, int(sent)
        )
        return [dict(row) for row in rows]

    def answered(self, image: int, taken: bool, answer: str) -> None:
        """Keep what the archive said to an image."""
        self._db.run(
            "UPDATE images SET sent = ?, answer = ? WHERE id = ?", int(taken), answer, image
        )

    def findings(self, disc: int) -> list[tuple[str, str, str]]:
        """Return (kind, file, reason) of what was found wrong with a disc."""
        rows = self._db.rows("SELECT kind, file, reason FROM findings WHERE disc = ?", disc)
        return [(row["kind"], row["file"], row["reason"]) for row in rows]

    def _row(self, number: int) -> Any:
        row = self._db.row(
            "SELECT i.*, d.name AS disc_name, d.medium FROM imports i "
            "JOIN discs d ON d.id = i.disc WHERE i.id = ?",
            number,
        )
        if row is None:
            raise NotFound(
                f"The importer has no study {number}.", "hospital.importer.imports() lists them."
            )
        return row


def patient_of_image(image: Dataset) -> Patient:
    """Return the patient as an image has them."""
    name = text_of(image.get("PatientName"))
    return Patient(
        text_of(image.get("PatientID")),
        text_of(image.get("IssuerOfPatientID")),
        name,
        text_of(image.get("PatientBirthDate")).replace(".", ""),
        text_of(image.get("PatientSex")),
    )


def studies_of(images: Iterable[OnDisc]) -> list[list[OnDisc]]:
    """Return the images of each patient and study together, in the order of the disc.

    Two patients in one study are two entries: somebody has to look at them.
    """
    order: dict[tuple[str, ...], int] = {}
    keyed = [(_key(image.header), image) for image in images]
    for key, _ in keyed:
        order.setdefault(key, len(order))
    keyed.sort(key=lambda pair: order[pair[0]])
    return [[image for _, image in group] for _, group in groupby(keyed, lambda pair: pair[0])]


def _key(header: Dataset) -> tuple[str, ...]:
    theirs = patient_of_image(header)
    return (*vars(theirs).values(), str(header.StudyInstanceUID))


def copy_name(disc: int, number: int) -> Path:
    """Return where the copy of a file lies below the folder of discs."""
    return Path(f"{disc:05d}") / f"{number:06d}.dcm"
