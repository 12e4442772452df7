"""What the RIS keeps: patients, orders, examinations."""

from __future__ import annotations

import sqlite3

from labsim.errors import Hl7Error, NotFound
from labsim.site import Site
from labsim.systems import outbox, step_manager
from labsim.systems.catalogue import CODING_SCHEME
from labsim.systems.facility import Facility, System
from labsim.systems.messages import patient_of
from labsim.systems.outbox import Outbox
from labsim.systems.records import Order, Patient, Procedure
from labsim.table import Table
from labsim.wire.hl7 import Message, escape
from labsim.wire.mllp import TIMEOUT, MllpEndpoint
from labsim.wire.network import Address

_SCHEMA = (
    outbox.SCHEMA
    + step_manager.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS patients (
    patient_id TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    name       TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex        TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS orders (
    placer_order TEXT PRIMARY KEY,
    visit        TEXT NOT NULL,
    patient_id   TEXT NOT NULL REFERENCES patients,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       TEXT NOT NULL      -- RECEIVED, SCHEDULED, CANCELLED
);
CREATE TABLE IF NOT EXISTS procedures (
    accession    TEXT PRIMARY KEY,
    study_uid    TEXT NOT NULL UNIQUE,
    procedure_id TEXT NOT NULL,
    step_id      TEXT NOT NULL UNIQUE,
    filler_order TEXT NOT NULL,
    placer_order TEXT NOT NULL REFERENCES orders,
    patient_id   TEXT NOT NULL REFERENCES patients,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    modality     TEXT NOT NULL,
    body_part    TEXT NOT NULL,
    station      TEXT NOT NULL,     -- AE title
    start        TEXT NOT NULL,     -- ISO 8601
    status       TEXT NOT NULL      -- as in records.Procedure
);
CREATE TABLE IF NOT EXISTS reports (
    accession   TEXT PRIMARY KEY REFERENCES procedures,
    text        TEXT NOT NULL,
    interpreter TEXT NOT NULL,
    status      TEXT NOT NULL,
    signed_at   TEXT NOT NULL
);
"""
)
FULL = (
    "SELECT pr.*, o.visit, o.reason, o.provider, p.name, p.issuer, p.birth_date, p.sex "
    "FROM procedures pr JOIN orders o USING (placer_order) "
    "JOIN patients p ON p.patient_id = pr.patient_id "
)


class RisTables(System):
    """The tables of the RIS with its HL7 interface, which every part of it works on.

    Parameters
    ----------
    site : Site
        Its own entry, the scanners, and whom it sends to.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("ris", facility, _SCHEMA)
        self._site = site
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self.outbox = Outbox(self, self._hl7, site.ris.application)
        self._pacs = Address(*site.hl7_place(site.ris.orders_to))
        self._his = Address(*site.hl7_place(site.ris.results_to))

    def orders(self) -> list[Order]:
        """Return all orders received, oldest first."""
        rows = self.db.rows("SELECT * FROM orders ORDER BY placer_order")
        return [Order(**dict(row)) for row in rows]

    def wait_for_order(self, placer_order: str, timeout: float = TIMEOUT) -> Order:
        """Return an order, once it is here: through an engine it comes after the HIS was thanked.

        Parameters
        ----------
        placer_order : str
            Which order.
        timeout : float
            Seconds; at a site without an engine nothing is waited for.

        Raises
        ------
        NotFound
            If it is not here by then.
        """
        if self._site.his.orders_to == "engine":
            known = ("SELECT 1 FROM orders WHERE placer_order = ?", placer_order)
            if self.db.value(*known) is None:
                self.facility.journal.wait_for(
                    lambda event: (
                        event.source == self.name
                        and event.kind == "state"
                        and event.keys.get("placer_order") == placer_order
                    ),
                    timeout,
                )
        return self._order(placer_order)

    def procedures(self) -> list[Procedure]:
        """Return all examinations, in the order of their accession numbers."""
        rows = self.db.rows("SELECT * FROM procedures ORDER BY accession")
        return [Procedure(**dict(row)) for row in rows]

    def procedure(self, accession: str) -> Procedure:
        """Return one examination.

        Raises
        ------
        NotFound
            If there is none of that accession number.
        """
        row = self.db.row("SELECT * FROM procedures WHERE accession = ?", accession)
        if row is None:
            raise NotFound(
                f"The RIS has no examination {accession!r}.",
                "hospital.ris.procedures() lists them.",
            )
        return Procedure(**dict(row))

    def patient(self, patient_id: str) -> Patient:
        """Return a patient as the RIS knows them.

        Raises
        ------
        NotFound
            If it does not.
        """
        row = self.db.row("SELECT * FROM patients WHERE patient_id = ?", patient_id)
        if row is None:
            raise NotFound(f"The RIS has no patient {patient_id!r}.")
        return Patient(**dict(row))

    def reading_list(self) -> list[Procedure]:
        """Return the examinations that are completed and not reported."""
        return [procedure for procedure in self.procedures() if procedure.status == "COMPLETED"]

    def table(self) -> Table:
        """Return every examination with its patient and status."""
        columns = ("accession", "patient_id", "name", "description", "station", "start", "status")
        rows = self.db.rows(FULL + "ORDER BY pr.accession")
        return Table(
            columns, [[row[c] for c in columns] for row in rows], "Examinations of the RIS"
        )

    # For the other parts

    def _order(self, placer_order: str) -> Order:
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", placer_order)
        if row is None:
            raise NotFound(
                f"The RIS has no order {placer_order!r}.", "hospital.ris.orders() lists them."
            )
        return Order(**dict(row))

    def _full(self, accession: str) -> sqlite3.Row:
        self.procedure(accession)
        row = self.db.row(FULL + "WHERE pr.accession = ?", accession)
        assert row is not None
        return row

    def _set_status(self, accession: str, status: str) -> None:
        self.db.run("UPDATE procedures SET status = ? WHERE accession = ?", status, accession)

    def _note_procedure(self, procedure: Procedure, what: str, **keys: str) -> None:
        self.note(
            f"{procedure.accession}: {what}",
            accession=procedure.accession,
            study_uid=procedure.study_uid,
            placer_order=procedure.placer_order,
            filler_order=procedure.filler_order,
            patient_id=procedure.patient_id,
            visit=self._order(procedure.placer_order).visit,
            **keys,
        )

    def _keep_patient(self, message: Message) -> Patient:
        patient = patient_of(message, self.facility.issuer)
        number = patient.patient_id
        known = self.db.value("SELECT issuer FROM patients WHERE patient_id = ?", number)
        if known not in (None, patient.issuer):
            # Two people may have one number, of two issuers; neither gets the name of the other.
            raise Hl7Error(f"Patient ID {number} is one of {known} here, not of {patient.issuer}.")
        self.db.upsert("patients", "patient_id", **vars(patient))
        return patient

    def _obr(self, row: sqlite3.Row) -> dict[int, str]:
        """Return the OBR fields where IHE puts the RIS's numbers (RAD TF-2, RAD-4)."""
        return {
            1: "1",
            2: f"{row['placer_order']}^{self._site.his.application}",
            3: f"{row['filler_order']}^{self._site.ris.application}",
            4: f"{row['code']}^{escape(row['description'])}^{CODING_SCHEME}",
            18: row["accession"],
            19: row["procedure_id"],
            20: row["step_id"],
            31: f"^{escape(row['reason'])}" if row["reason"] else "",
        }


def patient_of_row(row: sqlite3.Row) -> Patient:
    """Return the patient of a row of `FULL`."""
    return Patient(row["patient_id"], row["issuer"], row["name"], row["birth_date"], row["sex"])
