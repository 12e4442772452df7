"""What was performed, against what was asked for: matching, differences, steps without an order."""

from __future__ import annotations

import sqlite3

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.performed_step import WRONG_ENTRY
from labsim.systems.records import Procedure
from labsim.systems.ris.filler_orders import FillerOrders
from labsim.table import Table

LATE_IMAGES = "images after report"
_UNMATCHED = (
    "FROM performed_steps p WHERE reason <> ? AND NOT EXISTS "
    "(SELECT 1 FROM performed_procedures l WHERE l.mpps_uid = p.mpps_uid)"
)


class Performed(FillerOrders):
    """Ties the performed steps of the scanners to examinations."""

    def unmatched(self) -> Table:
        """Return the performed steps that no order asked for, for a clerk to `match`."""
        rows = self.db.rows(
            "SELECT mpps_uid, station, started, patient_id, name, description, status, images "
            + _UNMATCHED
            + " ORDER BY started, rowid",
            WRONG_ENTRY,
        )
        columns = (
            "performed step", "station", "started", "patient ID", "name", "performed", "status",
            "images",
        )  # fmt: skip
        return Table(columns, rows, "Performed steps without an order")

    def match(
        self,
        mpps_uid: str,
        patient_id: str = "",
        *,
        accession: str = "",
        code: str = "",
        reason: str = "",
        provider: str = "",
    ) -> Procedure:
        """Say whose an unscheduled step is (IHE Patient Information Reconciliation).

        An order is made for it, for which the HIS gives its number (RAD-3), and
        the PACS is told which patient and Accession Number its study has (RAD-4).
        If an examination was scheduled meanwhile, it is the one performed, and
        the PACS hears that its study is this one (RAD-13).

        Parameters
        ----------
        mpps_uid : str
            From `unmatched`.
        patient_id : str
            Whose it is; the RIS must know the patient.
        accession : str
            Instead: the scheduled examination that it was.
        code : str
            What was done; what the scanner says if left out.
        reason, provider : str
            Of the new order.

        Raises
        ------
        NotFound
            If there is no such step, patient or examination.
        ConfigurationError
            If the step is matched already, or the examination is not waiting.
        """
        step = self._unmatched_step(mpps_uid)
        if bool(patient_id) == bool(accession):
            raise ConfigurationError(
                "A step is matched with a patient, or with an examination.",
                "Give patient_id or accession, not both.",
            )
        with self.db.transaction():
            if accession:
                self._require_waiting(self.procedure(accession), step)
            else:
                accession = self.request_order(
                    patient_id,
                    code or step["codes"].split(",")[0],
                    reason=reason,
                    provider=provider,
                    station=step["station"],
                    study_uid=step["study_uid"],
                    status="IN PROGRESS",
                ).accession
            for part in self._steps_of(step):
                self._link(part, accession)
                self._follow_procedure(accession, part)
        self._note_procedure(self.procedure(accession), "matched", mpps_uid=mpps_uid)
        return self.procedure(accession)

    def schedule_again(self, accession: str) -> Procedure:
        """Put an examination that was given up back on the worklist; `reschedule` moves it.

        Parameters
        ----------
        accession : str
            Which examination.

        Raises
        ------
        NotFound
            If there is no such examination.
        ConfigurationError
            If it was not given up.
        """
        procedure = self.procedure(accession)
        if procedure.status != "DISCONTINUED":
            raise ConfigurationError(
                f"Examination {accession} is {procedure.status}, not DISCONTINUED.",
                "Only what was given up is scheduled again.",
            )
        self._set_status(accession, "SCHEDULED")
        procedure = self.procedure(accession)
        self._note_procedure(procedure, "scheduled again")
        return procedure

    def discrepancies(self) -> Table:
        """Return where what was performed is not what was asked for, with what follows from it."""
        different = self.db.rows(
            "SELECT pr.*, o.description AS asked FROM procedures pr JOIN orders o "
            "USING (filler_order) WHERE pr.performed_code <> '' ORDER BY accession"
        )
        rows = [
            (p["accession"], p["asked"], p["description"], f"charge {p['performed_code']}")
            for p in different
        ]
        late = self.db.rows("SELECT * FROM procedures WHERE flag <> '' ORDER BY accession")
        rows += [(p["accession"], p["description"], p["flag"], "read again") for p in late]
        wrong = self.db.rows(
            "SELECT * FROM performed_steps WHERE reason = ? AND images > 0 ORDER BY rowid",
            WRONG_ENTRY,
        )
        rows += [
            (step["name"], step["description"], step["why"], f"{step['images']} images to check")
            for step in wrong
        ]
        columns = ("examination", "asked for", "performed", "what follows")
        return Table(columns, rows, "Discrepancies")

    # Following the scanners

    def _follow(self, mpps_uid: str) -> None:
        """Give examinations the status of a step that has begun or changed."""
        step = self.db.row("SELECT * FROM performed_steps WHERE mpps_uid = ?", mpps_uid)
        assert step is not None
        linked = self._linked(mpps_uid) or self._link_scheduled(step)
        if not linked:
            what = f"performed step {step['status']} without a scheduled one"
            self.note(what, mpps_uid=mpps_uid, study_uid=step["study_uid"])
            return
        nothing_made = step["status"] == "DISCONTINUED" and not step["images"]
        for accession in linked:
            if nothing_made or step["reason"] == WRONG_ENTRY:
                self._unlink(step, accession)
            self._follow_procedure(accession, step)

    def _link_scheduled(self, step: sqlite3.Row) -> list[str]:
        """Tie a step that begins to the examinations whose scheduled steps it names.

        One that names none, but adds to a study that has been matched, belongs to that.
        """
        rows = self.db.rows(
            "SELECT accession FROM scheduled_steps JOIN procedures USING (step_id) "
            "WHERE mpps_uid = ? ORDER BY accession",
            step["mpps_uid"],
        ) or self.db.rows(
            "SELECT accession FROM procedures WHERE study_uid = ? ORDER BY accession",
            step["study_uid"],
        )
        for row in rows:
            self._link(step, row["accession"])
        return [row["accession"] for row in rows]

    def _link(self, step: sqlite3.Row, accession: str) -> None:
        procedure = self.procedure(accession)
        self.db.insert(
            "performed_procedures",
            mpps_uid=step["mpps_uid"],
            accession=accession,
            study_uid=procedure.study_uid,
        )
        self._compare(accession)
        if step["study_uid"]:  # images of several examinations may be in one study
            self._set_study(accession, step["study_uid"])

    def _unlink(self, step: sqlite3.Row, accession: str) -> None:
        """Let an examination be as before a step that left no images of its patient."""
        link = self.db.row(
            "SELECT * FROM performed_procedures WHERE mpps_uid = ? AND accession = ?",
            step["mpps_uid"],
            accession,
        )
        assert link is not None
        if step["reason"] == WRONG_ENTRY:
            self.db.run(
                "DELETE FROM performed_procedures WHERE mpps_uid = ? AND accession = ?",
                step["mpps_uid"],
                accession,
            )
        self._compare(accession)
        self._set_study(accession, link["study_uid"])

    def _set_study(self, accession: str, study_uid: str) -> None:
        """Keep in which study the images are, and tell the PACS if that is not the one planned."""
        if self.procedure(accession).study_uid != study_uid:
            self._update("procedures", "accession", accession, {"study_uid": study_uid})
            self._tell_archive(accession, "XO")

    def _compare(self, accession: str) -> None:
        """Keep what was done if it is not what was asked for, and tell the HIS: it charges."""
        procedure = self.procedure(accession)
        done = self.db.rows(
            "SELECT p.* FROM performed_steps p JOIN performed_procedures USING (mpps_uid) "
            "WHERE accession = ? AND codes <> '' AND (images > 0 OR status <> 'DISCONTINUED') "
            "ORDER BY p.rowid",
            accession,
        )
        codes = [code for step in done for code in step["codes"].split(",")]
        asked = self._order_row(procedure.filler_order)["description"]
        if not codes or procedure.code in codes:
            changes = {"performed_code": "", "description": asked}
        else:
            changes = {"performed_code": codes[0], "description": done[0]["description"]}
        if changes["performed_code"] == procedure.performed_code:
            return
        self._update("procedures", "accession", accession, changes)
        self._tell_placer(accession, "XX")
        what = f"{changes['description']} performed, {asked} asked for"
        self._note_procedure(self.procedure(accession), what)

    def _follow_procedure(self, accession: str, step: sqlite3.Row) -> None:
        procedure, now = self.procedure(accession), self._performed_status(accession)
        if procedure.status == "REPORTED":  # a signed report is not taken back
            if step["images"]:
                self._update("procedures", "accession", accession, {"flag": LATE_IMAGES})
            what = f"performed step {step['status']} after the report"
        else:
            self._set_status(accession, now)
            what = f"examination {now}"
        self._note_procedure(self.procedure(accession), what, mpps_uid=step["mpps_uid"])

    def _performed_status(self, accession: str) -> str:
        """Return what an examination is at when its steps are at different states."""
        states = {
            row["status"]
            for row in self.db.rows(
                "SELECT status FROM performed_steps JOIN performed_procedures USING (mpps_uid) "
                "WHERE accession = ?",
                accession,
            )
        }
        order = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")
        return next((state for state in order if state in states), "SCHEDULED")

    def _linked(self, mpps_uid: str) -> list[str]:
        rows = self.db.rows(
            "SELECT accession FROM performed_procedures WHERE mpps_uid = ? ORDER BY accession",
            mpps_uid,
        )
        return [row["accession"] for row in rows]

    def _unmatched_step(self, mpps_uid: str) -> sqlite3.Row:
        row = self.db.row(f"SELECT p.* {_UNMATCHED} AND mpps_uid = ?", WRONG_ENTRY, mpps_uid)
        if row is not None:
            return row
        linked = " and ".join(self._linked(mpps_uid))
        if linked:
            raise ConfigurationError(f"This step performed {linked}: it is matched already.")
        raise NotFound(
            f"No performed step {mpps_uid!r} waits to be matched.",
            "hospital.ris.unmatched() lists those that do.",
        )

    def _steps_of(self, step: sqlite3.Row) -> list[sqlite3.Row]:
        """Return a step that waits to be matched, with what was appended to its study."""
        return self.db.rows(
            f"SELECT p.* {_UNMATCHED} AND (mpps_uid = ? OR study_uid = ? AND study_uid <> '') "
            "ORDER BY p.rowid",
            WRONG_ENTRY,
            step["mpps_uid"],
            step["study_uid"],
        )

    def _require_waiting(self, procedure: Procedure, step: sqlite3.Row) -> None:
        if procedure.status != "SCHEDULED":
            raise ConfigurationError(
                f"Examination {procedure.accession} is {procedure.status} already.",
                "Match with one that is SCHEDULED, or with a patient.",
            )
        if procedure.modality != step["modality"]:
            raise ConfigurationError(
                f"Examination {procedure.accession} is one of {procedure.modality}, "
                f"the step one of {step['modality']}."
            )
