"""What the RIS keeps: patients, orders, examinations."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from labsim.errors import NotFound
from labsim.site import Site
from labsim.systems import outbox, registry, settings, step_manager
from labsim.systems.facility import Facility, System
from labsim.systems.gauges import Gauge
from labsim.systems.messages import number_of, patient_of, visit_of
from labsim.systems.order_messages import OMI, ORM
from labsim.systems.outbox import Outbox
from labsim.systems.records import Order, Patient, Procedure, Visit, record_of
from labsim.systems.registry import Registry
from labsim.systems.ris import documents, evidence, resources
from labsim.systems.settings import Choice, preset
from labsim.table import Table
from labsim.wire.hl7 import Message
from labsim.wire.mllp import TIMEOUT, MllpEndpoint
from labsim.wire.network import Address

_SCHEMA = (
    outbox.SCHEMA
    + registry.SCHEMA
    + settings.SCHEMA
    + step_manager.SCHEMA
    + resources.SCHEMA
    + evidence.SCHEMA
    + documents.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS orders (
    filler_order TEXT PRIMARY KEY,
    placer_order TEXT NOT NULL,     -- empty until the HIS has given it, for an order of ours
    placer       TEXT NOT NULL,     -- the application that gave it
    visit        TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    provider     TEXT NOT NULL,
    priority     TEXT NOT NULL,     -- R, A, S
    status       TEXT NOT NULL      -- RECEIVED, then that of the procedure
);
CREATE UNIQUE INDEX IF NOT EXISTS orders_by_placer ON orders (placer_order)
    WHERE placer_order != '';
CREATE TABLE IF NOT EXISTS procedures (
    accession    TEXT PRIMARY KEY,
    study_uid    TEXT NOT NULL,     -- where the images are; of a group case, in one study
    procedure_id TEXT NOT NULL,
    step_id      TEXT NOT NULL UNIQUE,
    filler_order TEXT NOT NULL REFERENCES orders,
    placer_order TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    modality     TEXT NOT NULL,
    body_part    TEXT NOT NULL,
    station      TEXT NOT NULL,     -- AE title
    start        TEXT NOT NULL,     -- ISO 8601
    priority     TEXT NOT NULL,
    status       TEXT NOT NULL,     -- as in records.Procedure
    performed_code TEXT NOT NULL DEFAULT '',  -- if another one was performed
    flag         TEXT NOT NULL DEFAULT ''   -- what the reader has to know
);
CREATE TABLE IF NOT EXISTS performed_procedures (  -- which step performed which examination
    mpps_uid  TEXT NOT NULL REFERENCES performed_steps,
    accession TEXT NOT NULL REFERENCES procedures,
    study_uid TEXT NOT NULL,        -- that the examination had before
    PRIMARY KEY (mpps_uid, accession)
);
CREATE TABLE IF NOT EXISTS reports (
    accession   TEXT PRIMARY KEY REFERENCES procedures,
    text        TEXT NOT NULL,
    interpreter TEXT NOT NULL,
    status      TEXT NOT NULL,
    signed_at   TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS readers (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL              -- attending, resident
);
CREATE TABLE IF NOT EXISTS readings (
    accession TEXT PRIMARY KEY REFERENCES procedures,
    reader    TEXT NOT NULL,
    taken_at  TEXT NOT NULL
);
"""
)
# A procedure with its order, its patient and the visit it belongs to.
FULL = (
    "SELECT pr.*, o.placer, o.visit, o.reason, o.provider, p.name, p.birth_date, p.sex, "
    "COALESCE(v.patient_class, 'O') AS patient_class, "
    "COALESCE(v.location, 'OUT') AS location, COALESCE(v.attending, '') AS attending "
    "FROM procedures pr JOIN orders o USING (filler_order) "
    "JOIN patients p ON p.patient_id = pr.patient_id AND p.issuer = pr.issuer "
    "LEFT JOIN visits v ON v.visit = o.visit AND v.issuer = o.issuer "
)


class RisTables(System):
    """The tables of the RIS with its HL7 interface, which every part of it works on.

    Parameters
    ----------
    site : Site
        Its own entry, the scanners, and whom it sends to.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    order_message : str
        How orders are written, `labsim.systems.order_messages`: ``"ORM^O01"``
        (v2.3.1), or ``"OMI^O23"`` (v2.5.1) with which the HIS gets OMG^O19.
    """

    order_message = Choice(ORM, OMI)

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("ris", facility, _SCHEMA)
        self._site = site
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self.outbox = Outbox(self, self._hl7, site.ris.application)
        self.registry = Registry(self.db, "ris")
        preset(self.db, "order_message", site.ris.order_message)
        self._pacs = Address(*site.hl7_place(site.ris.orders_to))
        self._his = Address(*site.hl7_place(site.ris.results_to))

    def gauges(self) -> list[Gauge]:
        """Return what waits to be sent, and how long the worklist is."""
        scheduled = "SELECT COUNT(*) FROM procedures WHERE status = 'SCHEDULED'"
        return [
            *super().gauges(),
            self.outbox.gauge(),
            Gauge("worklist_length", "Examinations to be done.", self.db.value(scheduled)),
        ]

    def orders(self) -> list[Order]:
        """Return all orders received, oldest first."""
        rows = self.db.rows("SELECT * FROM orders ORDER BY filler_order")
        return [record_of(Order, row) for row in rows]

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
            known = "SELECT 1 FROM orders WHERE ? IN (placer_order, filler_order)"
            if self.db.value(known, placer_order) is None:
                self.facility.journal.wait_for(
                    lambda event: (
                        event.source == self.name
                        and event.kind == "state"
                        and event.keys.get("placer_order") == placer_order
                    ),
                    timeout,
                )
        return record_of(Order, self._order_row(placer_order))

    def procedures(self) -> list[Procedure]:
        """Return all examinations, in the order of their accession numbers."""
        rows = self.db.rows("SELECT * FROM procedures ORDER BY accession")
        return [record_of(Procedure, row) for row in rows]

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
        return record_of(Procedure, row)

    def patient(self, patient_id: str) -> Patient:
        """Return a patient as the RIS knows them.

        Parameters
        ----------
        patient_id : str
            A number of this hospital, or ``"NUMBER^^^ISSUER"``.

        Raises
        ------
        NotFound
            If it does not.
        """
        return self.registry.patient(*number_of(patient_id, self.facility.issuer))

    def patients(self) -> list[Patient]:
        """Return every patient that the RIS knows."""
        return self.registry.patients()

    def table(self) -> Table:
        """Return every examination with its patient and status."""
        columns = ("accession", "patient_id", "name", "description", "station", "start", "status")
        rows = self.db.rows(FULL + "ORDER BY pr.accession")
        return Table(
            columns, [[row[c] for c in columns] for row in rows], "Examinations of the RIS"
        )

    # For the other parts

    def _order_row(self, number: str) -> sqlite3.Row:
        """Return an order by its placer order number, or by ours."""
        row = self.db.row(
            "SELECT * FROM orders WHERE placer_order = ? OR filler_order = ?", number, number
        )
        if row is None or not number:
            raise NotFound(f"The RIS has no order {number!r}.", "hospital.ris.orders() lists them.")
        return row

    def _full(self, accession: str) -> sqlite3.Row:
        self.procedure(accession)
        row = self.db.row(FULL + "WHERE pr.accession = ?", accession)
        assert row is not None
        return row

    def _note_procedure(self, procedure: Procedure, what: str, **keys: str) -> None:
        self.note(
            f"{procedure.accession}: {what}",
            accession=procedure.accession,
            study_uid=procedure.study_uid,
            placer_order=procedure.placer_order,
            filler_order=procedure.filler_order,
            patient_id=procedure.patient_id,
            visit=self._order_row(procedure.filler_order)["visit"],
            **keys,
        )

    def _keep_patient(self, message: Message) -> Patient:
        """Keep patient and visit as a message tells them."""
        patient = patient_of(message, self.facility.issuer)
        number, issuer = self.registry.resolve(patient.patient_id, patient.issuer)
        visit = visit_of(message, replace(patient, patient_id=number, issuer=issuer))
        with self.db.transaction():
            # What was on its way when its patient was merged into another names nobody now.
            if (number, issuer) == (patient.patient_id, patient.issuer):
                self.registry.keep(patient, unidentified=message["PID-31"] == "Y")
            if visit is not None:
                self.registry.keep_visit(visit)
            return self.registry.patient(number, issuer)


def patient_of_row(row: sqlite3.Row) -> Patient:
    """Return the patient of a row of `FULL`."""
    return Patient(row["patient_id"], row["issuer"], row["name"], row["birth_date"], row["sex"])


def visit_of_row(row: sqlite3.Row) -> Visit:
    """Return the visit of a row of `FULL`."""
    return Visit(
        row["visit"],
        row["patient_id"],
        row["issuer"],
        row["patient_class"],
        row["location"],
        row["attending"],
    )
