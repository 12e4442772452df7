"""What the HIS keeps: patients, visits, orders, results."""

from __future__ import annotations

from labsim.errors import NotFound
from labsim.site import Site
from labsim.systems import outbox, registry, settings
from labsim.systems.facility import Facility, System
from labsim.systems.gauges import Gauge
from labsim.systems.messages import number_of, patient_segments
from labsim.systems.order_messages import OMG, ORM
from labsim.systems.outbox import Outbox
from labsim.systems.records import Order, Patient, Visit, record_of
from labsim.systems.registry import Registry
from labsim.systems.settings import Choice, preset
from labsim.wire.mllp import MllpEndpoint
from labsim.wire.network import Address

_SCHEMA = (
    outbox.SCHEMA
    + registry.SCHEMA
    + settings.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS orders (
    placer_order TEXT PRIMARY KEY,
    filler_order TEXT NOT NULL DEFAULT '',  -- the RIS's number, once it has told
    accession    TEXT NOT NULL DEFAULT '',
    visit        TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    provider     TEXT NOT NULL,
    priority     TEXT NOT NULL,             -- R, A, S
    status       TEXT NOT NULL,             -- as in records.Order
    placed_at    TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS results (        -- every version of every result
    id           INTEGER PRIMARY KEY,
    placer_order TEXT NOT NULL REFERENCES orders,
    accession    TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    study_uid    TEXT NOT NULL,
    status       TEXT NOT NULL,             -- P, F, C
    text         TEXT NOT NULL,
    interpreter  TEXT NOT NULL,
    received_at  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS results_by_order ON results (placer_order);
"""
)


class HisTables(System):
    """The tables of the HIS with its HL7 interface, which every part of it works on.

    Parameters
    ----------
    site : Site
        Its own entry, and whom it sends orders to.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    order_message : str
        How orders are written, `labsim.systems.order_messages`: ``"ORM^O01"``
        (v2.3.1) or ``"OMG^O19"`` (v2.5.1).
    """

    order_message = Choice(ORM, OMG)

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("his", facility, _SCHEMA)
        self._site = site
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self.outbox = Outbox(self, self._hl7, site.his.application)
        self.registry = Registry(self.db, "his")
        preset(self.db, "order_message", site.his.order_message)
        self._ris = Address(*site.hl7_place(site.his.orders_to))

    def gauges(self) -> list[Gauge]:
        """Return what waits to be sent."""
        return [*super().gauges(), self.outbox.gauge()]

    def patient(self, patient_id: str) -> Patient:
        """Return one patient.

        Parameters
        ----------
        patient_id : str
            A number of this hospital, or ``"NUMBER^^^ISSUER"``.

        Raises
        ------
        NotFound
            If there is none of that ID.
        """
        return self.registry.patient(*number_of(patient_id, self.facility.issuer))

    def patients(self) -> list[Patient]:
        """Return all patients, in the order of their numbers."""
        return self.registry.patients()

    def visits(self, patient_id: str) -> list[Visit]:
        """Return a patient's visits, oldest first.

        Raises
        ------
        NotFound
            If there is no such patient.
        """
        return self.registry.visits(self.patient(patient_id))

    def orders(self) -> list[Order]:
        """Return all orders, oldest first."""
        rows = self.db.rows("SELECT * FROM orders ORDER BY placer_order")
        return [record_of(Order, row) for row in rows]

    def order(self, placer_order: str) -> Order:
        """Return one order.

        Raises
        ------
        NotFound
            If there is none of that placer order number.
        """
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", placer_order)
        if row is None:
            raise NotFound(
                f"The HIS has no order {placer_order!r}.", "hospital.his.orders() lists them."
            )
        return record_of(Order, row)

    # For the other parts

    def _segments(self, patient: Patient, visit: Visit, version: str) -> tuple[str, str]:
        """Return PID and PV1; only v2.5.1 can say that a patient is not identified."""
        unidentified = version != "2.3.1" and self.registry.is_unidentified(patient)
        return patient_segments(patient, visit, unidentified=unidentified)

    def _current_visit(self, patient: Patient) -> Visit:
        """Return the visit that a message about a patient is about."""
        none = Visit("", patient.patient_id, patient.issuer)
        return self.registry.current_visit(patient) or none
