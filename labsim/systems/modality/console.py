"""The console: what is to do, what is being done, what has been done."""

from __future__ import annotations

from labsim.systems.modality.worklist import WorklistUser
from labsim.table import Table

_COUNTS = (
    "(SELECT COUNT(*) FROM images i WHERE i.mpps_uid = s.mpps_uid) AS images, "
    "(SELECT COUNT(*) FROM images i WHERE i.mpps_uid = s.mpps_uid AND state = 'sent') AS sent, "
    "(SELECT COUNT(*) FROM images i WHERE i.mpps_uid = s.mpps_uid "
    "AND commitment = 'committed') AS committed, "
    "(SELECT COALESCE(MAX(answer), '') FROM images i WHERE i.mpps_uid = s.mpps_uid) AS answer, "
    "(SELECT GROUP_CONCAT(accession, ' ') FROM step_entries e WHERE e.mpps_uid = s.mpps_uid) "
    "AS accession"
)


class Console(WorklistUser):
    """Shows the state of the scanner."""

    def table(self) -> Table:
        """Return every step with its images: how many were taken, sent, committed."""
        columns = ("accession", "step", "images", "sent", "committed", "answer")
        rows = self.db.rows(
            f"SELECT s.status AS step, {_COUNTS} FROM steps s ORDER BY s.started, s.rowid"
        )
        shown = [[row[column] for column in columns] for row in rows]
        return Table(columns, shown, f"Console of {self.ae_title}")

    def steps(self) -> Table:
        """Return every step with the patient, and what the RIS knows of it."""
        rows = self.db.rows(f"SELECT s.*, {_COUNTS} FROM steps s ORDER BY s.started, s.rowid")
        shown = []
        for row in rows:
            step = self._step(row["mpps_uid"])
            patient = step.entries[0]
            shown.append(
                (
                    row["accession"],
                    str(patient.PatientID),
                    str(patient.PatientName),
                    step.description,
                    row["status"],
                    row["told"] or "not told",
                    row["images"],
                    row["sent"],
                    row["mpps_uid"],
                )
            )
        columns = (
            "accession", "patient ID", "name", "performed", "step", "RIS", "images", "sent",
            "performed step",
        )  # fmt: skip
        return Table(columns, shown, f"Steps of {self.ae_title}")

    def console(self) -> Table:
        """Return the worklist of today, and below it the steps that were begun.

        An old worklist is shown when the RIS does not answer; the caption says so.
        """
        listed = self.worklist()
        waiting = [
            (row[0], row[2], row[5], f"{row[7]} {row[8]}".strip(), "to do", "", "")
            for row in listed.table()
        ]
        begun = [(row[0], row[2], row[3], "", row[4], row[6], row[7]) for row in self.steps().rows]
        columns = ("accession", "name", "examination", "time", "state", "images", "sent")
        return Table(columns, [*waiting, *begun], listed.caption)
