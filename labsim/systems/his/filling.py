"""What the RIS tells of orders: what becomes of them, and which begin there (RAD-3)."""

from __future__ import annotations

import sqlite3

from labsim.errors import Hl7Error, NotFound
from labsim.systems.his.orders import Orders
from labsim.systems.messages import patient_of, provider_of
from labsim.systems.order_messages import ANSWERS, ORM, priority_of, reason_of
from labsim.systems.records import Order, Patient
from labsim.wire.hl7 import Message, escape, segment

# What the RIS's order status (ORC-5, HL7 table 0038) is called here.
_STATUS = {
    "SC": "SCHEDULED",
    "IP": "IN PROGRESS",
    "CM": "COMPLETED",
    "DC": "DISCONTINUED",
    "CA": "CANCELLED",
}
_FILLER_CONTROLS = "SN, SC, XX and OC"


class Filling(Orders):
    """Follows orders, and gives those that begin at the RIS their numbers."""

    def _take_filler(self, message: Message) -> None:
        """Take in what the RIS tells of an order: SN new, SC status, XX changed, OC cancelled."""
        control = message["ORC-1"]
        patient = patient_of(message, self.facility.issuer)
        whose = self.registry.resolve(patient.patient_id, patient.issuer)
        if control == "SN":
            self._take_new(message, *whose)
        elif control in ("SC", "XX", "OC"):
            self._take_status(message, whose)
        else:
            raise Hl7Error(
                f"Order control {control!r} (ORC-1) is not taken, only {_FILLER_CONTROLS}."
            )

    def _take_new(self, message: Message, number: str, issuer: str) -> None:
        """Give a new order of the RIS its placer order number, and answer with it (ORC-1 NA)."""
        try:
            patient = self.registry.patient(number, issuer)
        except NotFound as error:
            raise Hl7Error(error.what) from error
        filler_order = message["ORC-3.1"]
        if not filler_order:
            raise Hl7Error("ORC-3 Filler Order Number is empty.")
        with self.db.transaction():
            known = self.db.value(
                "SELECT placer_order FROM orders WHERE filler_order = ?", filler_order
            )
            # The same message again gets the same number.
            order = self.order(known) if known else self._order_of_filler(patient, message)
            orc = {1: "NA", 3: f"{filler_order}^{self._site.ris.application}"}
            msa = segment("MSA", {1: "AA", 2: escape(message.control_id)})
            kind = ANSWERS.get(message.type, ANSWERS[ORM])
            self.outbox.post(self._order_message(kind, order, orc, msa), self._ris, "RAD-3")
        self.note(
            f"order {order.placer_order} taken over from the RIS: {order.description}",
            placer_order=order.placer_order,
            filler_order=filler_order,
            patient_id=patient.patient_id,
        )

    def _order_of_filler(self, patient: Patient, message: Message) -> Order:
        return self._new_order(
            patient,
            filler_order=message["ORC-3.1"],
            accession=message["OBR-18"],
            visit=message["PV1-19.1"],
            code=message["OBR-4.1"],
            description=message["OBR-4.2"],
            reason=reason_of(message),
            provider=provider_of(message, "ORC-12"),
            priority=priority_of(message),
            status=_STATUS.get(message["ORC-5"], "ORDERED"),
        )

    def _take_status(self, message: Message, whose: tuple[str, str]) -> None:
        row = self._order_in(message, whose)
        number, control = row["placer_order"], message["ORC-1"]
        status = "CANCELLED" if control == "OC" else _STATUS.get(message["ORC-5"], row["status"])
        if row["status"] in ("PRELIMINARY", "RESULTED"):
            status = row["status"]  # the report was faster
        with self.db.transaction():
            self.db.run(
                "UPDATE orders SET status = ?, filler_order = ?, accession = ? "
                "WHERE placer_order = ?",
                status,
                message["ORC-3.1"] or row["filler_order"],
                message["OBR-18"] or row["accession"],
                number,
            )
            if control == "XX":
                self.db.run(
                    "UPDATE orders SET code = ?, description = ?, reason = ?, priority = ? "
                    "WHERE placer_order = ?",
                    message["OBR-4.1"],
                    message["OBR-4.2"],
                    reason_of(message),
                    priority_of(message),
                    number,
                )
        why = message["ORC-16.2"] or message["ORC-16.1"]
        what = f"changed to {message['OBR-4.2']}" if control == "XX" else f"is {status}"
        self.note(
            f"order {number} {what}" + (f": {why}" if why else ""),
            placer_order=number,
            accession=message["OBR-18"],
            patient_id=whose[0],
        )

    def _order_in(self, message: Message, whose: tuple[str, str]) -> sqlite3.Row:
        """Return the order that a message of the RIS is about, by our number or by theirs.

        Raises
        ------
        Hl7Error
            If there is none, or it is another patient's.
        """
        number = message["ORC-2.1"] or message["OBR-2.1"]
        filler = message["ORC-3.1"] or message["OBR-3.1"]
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", number)
        if row is None and not number:
            row = self.db.row(
                "SELECT * FROM orders WHERE filler_order = ? AND filler_order != ''", filler
            )
        if row is None:
            raise Hl7Error(f"The HIS placed no order {number!r} (OBR-2).")
        if (row["patient_id"], row["issuer"]) != whose:
            # A report in the wrong chart harms a patient; in nobody's chart it is found.
            raise Hl7Error(f"Order {row['placer_order']} is not of patient {whose[0]!r} (PID-3).")
        return row
