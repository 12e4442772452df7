"""The reading list: what waits for a report, and who is reading it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Record
from labsim.systems.ris.tables import RisTables
from labsim.table import Table

ROLES = ("attending", "resident")
# Who reads at first; the same names sign in the examples.
_STAFF = {
    "Okafor^Ngozi": "attending",
    "Quist^Noah": "attending",
    "Bianchi^Elena": "resident",
}
_RANKS = {"S": 0, "A": 1}  # priorities of HL7 (TQ-6); all others come after them
_WAITING = """
SELECT pr.accession, pr.priority, pr.patient_id, p.name, pr.description, pr.modality, pr.flag,
    (SELECT MAX(s.ended) FROM performed_procedures l JOIN performed_steps s USING (mpps_uid)
        WHERE l.accession = pr.accession) AS since,
    (SELECT COUNT(*) FROM procedures x
        WHERE x.patient_id = pr.patient_id AND x.issuer = pr.issuer
        AND x.accession != pr.accession AND x.status IN ('COMPLETED', 'REPORTED')) AS priors,
    COALESCE(r.status, '') AS report, COALESCE(reading.reader, '') AS reader
FROM procedures pr
    JOIN patients p ON p.patient_id = pr.patient_id AND p.issuer = pr.issuer
    LEFT JOIN reports r ON r.accession = pr.accession
    LEFT JOIN readings reading ON reading.accession = pr.accession
WHERE pr.status = 'COMPLETED' OR pr.flag != '' ORDER BY pr.accession
"""


@dataclass(frozen=True)
class ToRead(Record):
    """An examination that waits for its report.

    Parameters
    ----------
    accession : str
        Which examination.
    priority : str
        Of its order: ``"S"`` stat, ``"A"`` as soon as possible, ``"R"`` routine.
    waiting : int
        Minutes since it was completed.
    patient_id, name, description, modality : str
        Whose it is, and what was done.
    priors : int
        How many other examinations of the patient are completed.
    report : str
        ``"P"`` if there is a preliminary report; other states as in OBR-25.
    flag : str
        What the reader has to know, such as that images came after the report.
    reader : str
        Who is reading it, empty if nobody is.
    """

    accession: str
    priority: str
    waiting: int
    patient_id: str
    name: str
    description: str
    modality: str
    priors: int
    report: str
    flag: str
    reader: str


class ReadingList(list[ToRead]):
    """What waits for a report: the urgent first, then what waits longest."""

    def table(self) -> Table:
        """Return it as a table."""
        columns = (
            "accession",
            "priority",
            "minutes",
            "patient ID",
            "name",
            "examination",
            "modality",
            "priors",
            "report",
            "flag",
            "reader",
        )
        return Table(columns, [tuple(vars(entry).values()) for entry in self], "Reading list")

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Reading(RisTables):
    """Hands out what is to be read."""

    def reading_list(self) -> ReadingList:
        """Return what is completed and has no final report, or is flagged after it.

        One is flagged when images came after its report; an addendum takes the
        flag away.

        Returns
        -------
        ReadingList
            Stat before as soon as possible before routine, then what waits longest.
        """
        now = self.facility.clock.now()
        entries = []
        for row in self.db.rows(_WAITING):
            values = dict(row)
            since = values.pop("since")
            waiting = now - datetime.fromisoformat(since) if since else now - now
            entries.append(ToRead(**values, waiting=int(waiting.total_seconds() // 60)))
        return ReadingList(
            sorted(entries, key=lambda entry: (_RANKS.get(entry.priority, 2), -entry.waiting))
        )

    def take(self, accession: str, reader: str) -> None:
        """Take an examination from the reading list, so that nobody else reads it too.

        Parameters
        ----------
        accession : str
            Which examination.
        reader : str
            Who reads it, one of `readers`.

        Raises
        ------
        NotFound
            If there is no such examination or reader.
        ConfigurationError
            If it does not wait for a report, or somebody else is reading it.
        """
        self.role(reader)
        procedure = self.procedure(accession)
        if procedure.status != "COMPLETED" and not procedure.flag:
            raise ConfigurationError(
                f"Examination {accession} is {procedure.status}: it does not wait for a report.",
                "hospital.ris.reading_list() has what does.",
            )
        with self.db.transaction():
            self._require_unread(accession, reader)
            self.db.upsert(
                "readings", "accession", accession=accession, reader=reader, taken_at=self.now()
            )
        self._note_procedure(procedure, f"taken by {reader}")

    def give_back(self, accession: str) -> None:
        """Put an examination back on the reading list, for anybody to take.

        Raises
        ------
        NotFound
            If there is no such examination.
        """
        procedure = self.procedure(accession)
        if self._put_back(accession):
            self._note_procedure(procedure, "given back to the reading list")

    def readers(self) -> Table:
        """Return who reads, and in which role."""
        rows = self.db.rows("SELECT name, role FROM readers ORDER BY rowid")
        return Table(("reader", "role"), rows, "Readers")

    def add_reader(self, name: str, role: str = "attending") -> None:
        """Let somebody read, or change their role.

        Parameters
        ----------
        name : str
            ``"Family^Given"``.
        role : str
            ``"attending"`` signs final reports, ``"resident"`` preliminary ones.

        Raises
        ------
        ConfigurationError
            If name or role cannot be right.
        """
        if role not in ROLES:
            raise ConfigurationError(f"{role!r} is no role.", f"Use {' or '.join(ROLES)}.")
        if not name.strip("^ "):
            raise ConfigurationError(f"{name!r} is no name.", 'Write it as "Family^Given".')
        self.db.upsert("readers", "name", name=name, role=role)
        self.note(f"reader {name} is {role}")

    def role(self, reader: str) -> str:
        """Return the role of a reader.

        Raises
        ------
        NotFound
            If nobody of that name reads here.
        """
        role = self.db.value("SELECT role FROM readers WHERE name = ?", reader)
        if role is None:
            raise NotFound(
                f"The RIS knows no reader {reader!r}.",
                "hospital.ris.readers() lists them; hospital.ris.add_reader(…) adds one.",
            )
        return str(role)

    # For the other parts

    def _hire(self) -> None:
        """Enter who reads at first, all together: one that is killed meanwhile begins anew."""
        with self.db.transaction():
            if self.db.next("staffed") == 1:
                rows = list(_STAFF.items())
                self.db.run_many("INSERT INTO readers (name, role) VALUES (?, ?)", rows)

    def _require_unread(self, accession: str, reader: str) -> None:
        holder = self.db.value("SELECT reader FROM readings WHERE accession = ?", accession)
        if holder not in (None, reader):
            raise ConfigurationError(
                f"{holder} is reading {accession}.",
                "Take another one; hospital.ris.give_back(…) puts it back on the list.",
            )

    def _put_back(self, accession: str) -> bool:
        return bool(self.db.run("DELETE FROM readings WHERE accession = ?", accession))
