"""HIS, the hospital information system.

IHE actors: ADT Patient Registration, Order Placer; and the chart that receives
results (Result Receiver of Results Distribution).
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import date

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.site import Site
from labsim.systems import outbox
from labsim.systems.catalogue import CODING_SCHEME, examination
from labsim.systems.facility import Facility, System
from labsim.systems.messages import merge_segment, patient_segments, provider_field
from labsim.systems.outbox import Outbox
from labsim.systems.people import invent
from labsim.systems.records import Order, Patient, Result
from labsim.table import Table
from labsim.wire.hl7 import Message, escape, segment, timestamp
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address

_SCHEMA = (
    outbox.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS patients (
    patient_id TEXT PRIMARY KEY,
    issuer     TEXT NOT NULL,
    name       TEXT NOT NULL,
    birth_date TEXT NOT NULL,
    sex        TEXT NOT NULL,
    visit      TEXT NOT NULL        -- the current one
);
CREATE TABLE IF NOT EXISTS orders (
    placer_order TEXT PRIMARY KEY,
    visit        TEXT NOT NULL,
    patient_id   TEXT NOT NULL REFERENCES patients,
    code         TEXT NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       TEXT NOT NULL      -- ORDERED, PRELIMINARY, RESULTED, CANCELLED
);
CREATE TABLE IF NOT EXISTS results (
    placer_order TEXT PRIMARY KEY,
    accession    TEXT NOT NULL,
    patient_id   TEXT NOT NULL REFERENCES patients,
    study_uid    TEXT NOT NULL,
    status       TEXT NOT NULL,
    text         TEXT NOT NULL,
    interpreter  TEXT NOT NULL,
    received_at  TEXT NOT NULL
);
"""
)


class His(System):
    """Registers patients, places orders, keeps the chart.

    Parameters
    ----------
    site : Site
        Its own entry, and whom it sends orders to.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__("his", facility, _SCHEMA)
        self._site = site
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self.outbox = Outbox(self, self._hl7, site.his.application)
        self._ris = Address(*site.hl7_place(site.his.orders_to))

    def start(self) -> None:
        """Listen for results."""
        port = self._hl7.listen(
            {"ORU^R01": Taken("RAD-128", self._take_result)}, self.fixed_port("mllp")
        )
        address = Address(self._site.his.host, self._site.his.hl7_port)
        self.published("mllp", address, port, self._site.his.application)

    def resume(self) -> None:
        """Send what waited."""
        self.outbox.resume()

    def stop(self) -> None:
        """Stop listening and sending."""
        self._hl7.close()
        super().stop()

    # Patients

    def register_patient(self, name: str = "", birth_date: str = "", sex: str = "") -> Patient:
        """Register an outpatient (ADT^A04, RAD-1), invented where not given.

        Parameters
        ----------
        name : str
            ``"Family^Given"``.
        birth_date : str
            ``"YYYY-MM-DD"`` or ``"YYYYMMDD"``.
        sex : str
            ``"F"``, ``"M"`` or ``"O"`` (HL7 table 0001).

        Returns
        -------
        Patient
            With a new patient ID.

        Raises
        ------
        ConfigurationError
            If a value is not of its form.
        DeliveryFailed
            If the RIS could not be told; the patient is registered all the same.
        """
        number = self.db.next("patient")
        invented = invent(random.Random(f"{self.facility.seed}/patient/{number}"))
        patient = Patient(
            patient_id=f"P{number:06d}",
            issuer=self.facility.issuer,
            name=_name(name or invented[0]),
            birth_date=_birth_date(birth_date or invented[1]),
            sex=_sex(sex or invented[2]),
        )
        visit = f"V{self.db.next('visit'):06d}"
        self.db.insert("patients", **vars(patient), visit=visit)
        self.note(
            f"patient {patient.patient_id} registered", patient_id=patient.patient_id, visit=visit
        )
        self._announce("ADT^A04", "RAD-1", patient.patient_id)
        return patient

    def update_patient(self, patient_id: str, **changes: str) -> Patient:
        """Correct a patient's data (ADT^A08, RAD-12).

        Parameters
        ----------
        patient_id : str
            Whose.
        **changes : str
            ``name``, ``birth_date`` or ``sex``.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If something else is to be changed, or a value is not of its form.
        DeliveryFailed
            If the RIS could not be told.
        """
        self.patient(patient_id)
        forms = {"name": _name, "birth_date": _birth_date, "sex": _sex}
        for field in changes:
            if field not in forms:
                raise ConfigurationError(
                    f"A patient has no {field!r} that can be corrected.", f"Use {', '.join(forms)}."
                )
        # All values are looked at before the first is changed.
        checked = {field: forms[field](value) for field, value in changes.items()}
        with self.db.transaction():
            for field, value in checked.items():
                self.db.run(
                    f"UPDATE patients SET {field} = ? WHERE patient_id = ?", value, patient_id
                )
        self.note(f"patient {patient_id} updated: {', '.join(changes)}", patient_id=patient_id)
        self._announce("ADT^A08", "RAD-12", patient_id)
        return self.patient(patient_id)

    def merge_patients(self, keep: str, give_up: str) -> Patient:
        """Merge two records of one person (ADT^A40, RAD-12).

        Parameters
        ----------
        keep : str
            The patient ID that stays.
        give_up : str
            The one that goes; its orders and results move.

        Returns
        -------
        Patient
            Who was kept.

        Raises
        ------
        NotFound
            If there is no such patient.
        ConfigurationError
            If both are the same.
        DeliveryFailed
            If the RIS could not be told.
        """
        kept, prior = self.patient(keep), self.patient(give_up)
        if keep == give_up:
            raise ConfigurationError(
                f"{keep} cannot be merged with itself.", "Give two patient IDs."
            )
        with self.db.transaction():
            for table in ("orders", "results"):
                self.db.run(
                    f"UPDATE {table} SET patient_id = ? WHERE patient_id = ?", keep, give_up
                )
            self.db.run("DELETE FROM patients WHERE patient_id = ?", give_up)
        self.note(f"patient {give_up} merged into {keep}", patient_id=keep)
        self._announce("ADT^A40", "RAD-12", keep, merge_segment(prior))
        return kept

    def patient(self, patient_id: str) -> Patient:
        """Return one patient.

        Raises
        ------
        NotFound
            If there is none of that ID.
        """
        row = self.db.row("SELECT * FROM patients WHERE patient_id = ?", patient_id)
        if row is None:
            raise NotFound(
                f"The HIS has no patient {patient_id!r}.", "hospital.his.patients() lists them."
            )
        return Patient(**{key: value for key, value in dict(row).items() if key != "visit"})

    def patients(self) -> list[Patient]:
        """Return all patients, in the order of their registration."""
        rows = self.db.rows("SELECT patient_id FROM patients ORDER BY patient_id")
        return [self.patient(row["patient_id"]) for row in rows]

    # Orders

    def place_order(
        self,
        patient_id: str,
        code: str = "CTTHORAX",
        reason: str = "",
        provider: str = "Lindqvist^Greta",
    ) -> Order:
        """Order an examination (ORM^O01, RAD-2).

        Parameters
        ----------
        patient_id : str
            For whom.
        code : str
            An examination of `labsim.systems.catalogue`.
        reason : str
            Why (OBR-31).
        provider : str
            Who orders, ``"Family^Given"``.

        Returns
        -------
        Order
            With a new placer order number.

        Raises
        ------
        NotFound
            If patient or examination are unknown.
        DeliveryFailed
            If the RIS did not take the order; it waits in the outbox.
        """
        self.patient(patient_id)
        wanted = examination(code)
        visit = self.db.value("SELECT visit FROM patients WHERE patient_id = ?", patient_id)
        number = f"ORD{self.db.next('order'):06d}"
        order = Order(
            number, visit, patient_id, code, wanted.description, reason, _name(provider), "ORDERED"
        )
        self.db.insert("orders", **vars(order))
        self.note(
            f"order {number} placed: {wanted.description}",
            placer_order=number,
            patient_id=patient_id,
        )
        self._send_order(order, "NW")
        return order

    def cancel_order(self, placer_order: str) -> Order:
        """Cancel an order that has not been begun (ORM^O01 with ORC-1 CA, RAD-2).

        Returns
        -------
        Order
            Now ``CANCELLED``.

        Raises
        ------
        NotFound
            If there is no such order.
        DeliveryFailed
            If the RIS refused, because the examination has begun; the order stays then.
        """
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", placer_order)
        if row is None:
            raise NotFound(
                f"The HIS has no order {placer_order!r}.", "hospital.his.orders() lists them."
            )
        order = Order(**dict(row))
        self._send_order(order, "CA")
        self.db.run("UPDATE orders SET status = 'CANCELLED' WHERE placer_order = ?", placer_order)
        self.note(
            f"order {placer_order} cancelled",
            placer_order=placer_order,
            patient_id=order.patient_id,
        )
        return replace(order, status="CANCELLED")

    def orders(self) -> list[Order]:
        """Return all orders, oldest first."""
        rows = self.db.rows("SELECT * FROM orders ORDER BY placer_order")
        return [Order(**dict(row)) for row in rows]

    # The chart

    def chart(self, patient_id: str) -> list[Result]:
        """Return a patient's results, oldest first.

        Raises
        ------
        NotFound
            If there is no such patient.
        """
        self.patient(patient_id)
        rows = self.db.rows(
            "SELECT placer_order, accession, patient_id, study_uid, status, text, interpreter "
            "FROM results WHERE patient_id = ? ORDER BY received_at, placer_order",
            patient_id,
        )
        return [Result(**dict(row)) for row in rows]

    def table(self) -> Table:
        """Return every order with its patient, and whether the result is there."""
        rows = self.db.rows(
            "SELECT o.placer_order, o.patient_id, p.name, o.description, o.status "
            "FROM orders o JOIN patients p USING (patient_id) ORDER BY o.placer_order"
        )
        return Table(
            ("order", "patient ID", "name", "examination", "status"), rows, "Orders of the HIS"
        )

    # Messages

    def _announce(self, message_type: str, transaction: str, patient_id: str, *more: str) -> None:
        now = timestamp(self.facility.clock.now())
        message = Message.build(
            self.outbox.header(message_type, self._site.ris.application),
            segment("EVN", {1: message_type[-3:], 2: now}),
            *self._segments(patient_id),
            *more,
        )
        self.outbox.send(message, self._ris, transaction)

    def _send_order(self, order: Order, control: str) -> None:
        now = timestamp(self.facility.clock.now())
        number = f"{order.placer_order}^{self._site.his.application}"
        service = f"{order.code}^{escape(order.description)}^{CODING_SCHEME}"
        orc = {1: control, 2: number, 9: now, 12: provider_field(order.provider)}
        obr = {
            1: "1",
            2: number,
            4: service,
            16: provider_field(order.provider),
            27: f"1^^^{now}^^R",
        }
        message = Message.build(
            self.outbox.header("ORM^O01", self._site.ris.application),
            *self._segments(order.patient_id),
            segment("ORC", orc),
            segment("OBR", obr | {31: f"^{escape(order.reason)}" if order.reason else ""}),
        )
        self.outbox.send(message, self._ris, "RAD-2")

    def _segments(self, patient_id: str) -> tuple[str, str]:
        visit = self.db.value("SELECT visit FROM patients WHERE patient_id = ?", patient_id)
        return patient_segments(self.patient(patient_id), visit)

    def _take_result(self, message: Message) -> None:
        """Take in ORU^R01 (RAD-128)."""
        number, patient_id = message["OBR-2.1"], message["PID-3.1"]
        order = self.db.row("SELECT * FROM orders WHERE placer_order = ?", number)
        if order is None:
            raise Hl7Error(f"The HIS placed no order {number!r} (OBR-2).")
        if order["patient_id"] != patient_id:
            # A report in the wrong chart harms a patient; in nobody's chart it is found.
            raise Hl7Error(f"Order {number} is not of patient {patient_id!r} (PID-3).")
        values = list(zip(message.all("OBX-2"), message.all("OBX-5"), strict=True))
        result = Result(
            placer_order=number,
            accession=message["OBR-18"],
            patient_id=patient_id,
            study_uid=next((value for kind, value in values if kind == "HD"), ""),
            status=message["OBR-25"],
            text="\n".join(value for kind, value in values if kind in ("TX", "FT", "ST")),
            interpreter="^".join(message["OBR-32.1"].split("&")[1:3]),
        )
        kept = self.db.value("SELECT status FROM results WHERE placer_order = ?", number)
        if result.status == "P" and kept in ("F", "C"):
            raise Hl7Error(f"Order {number} has a final report: a preliminary one comes too late.")
        with self.db.transaction():
            self.db.upsert("results", "placer_order", **vars(result), received_at=self.now())
            status = "PRELIMINARY" if result.status == "P" else "RESULTED"
            self.db.run("UPDATE orders SET status = ? WHERE placer_order = ?", status, number)
        self.note(
            f"result of order {number} filed in the chart of {patient_id}",
            placer_order=number,
            accession=result.accession,
            patient_id=patient_id,
        )


def _name(text: str) -> str:
    if not text.strip("^ ") or set(text) & set("\\=\r\n") or len(text) > 64:
        raise ConfigurationError(
            f"{text!r} is no name.", 'Write it as "Family^Given", at most 64 characters.'
        )
    return text.strip("^ ")


def _birth_date(text: str) -> str:
    refused = ConfigurationError(f"{text!r} is no date of birth.", 'Write it as "1970-01-31".')
    if not re.fullmatch(r"(18|19|20)\d\d(-?)\d\d\2\d\d", text, re.ASCII):
        raise refused
    try:
        date.fromisoformat(text)
    except ValueError as error:  # 30 February, for one
        raise refused from error
    return text.replace("-", "")


def _sex(text: str) -> str:
    if text not in ("F", "M", "O", "U"):
        raise ConfigurationError(f"{text!r} is not in HL7 table 0001.", "Use F, M, O or U.")
    return text
