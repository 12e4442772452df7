"""Orders: placed here, filled by the RIS, which tells what becomes of them."""

from __future__ import annotations

import sqlite3

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.systems.catalogue import CODING_SCHEME, examination
from labsim.systems.his.forms import name_of
from labsim.systems.his.registration import Registration
from labsim.systems.messages import patient_of, provider_field, provider_of
from labsim.systems.order_messages import (
    ANSWERS,
    ORM,
    PRIORITIES,
    Timing,
    order_header,
    order_segments,
    priority_of,
    reason_field,
    reason_of,
)
from labsim.systems.records import Order, Patient
from labsim.wire.hl7 import Message, escape, segment, timestamp

# What the RIS's order status (ORC-5, HL7 table 0038) is called here.
_STATUS = {
    "SC": "SCHEDULED",
    "IP": "IN PROGRESS",
    "CM": "COMPLETED",
    "DC": "DISCONTINUED",
    "CA": "CANCELLED",
}
_FILLER_CONTROLS = "SN, SC, XX and OC"


class Orders(Registration):
    """Places, changes and cancels orders, and hears of them from the RIS."""

    def place_order(
        self,
        patient_id: str,
        code: str = "CTTHORAX",
        reason: str = "",
        provider: str = "Lindqvist^Greta",
        *,
        priority: str = "R",
    ) -> Order:
        """Order an examination (ORM^O01 or OMG^O19, RAD-2).

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
        priority : str
            ``"R"`` routine, ``"A"`` as soon as possible, ``"S"`` stat.

        Returns
        -------
        Order
            With a new placer order number.

        Raises
        ------
        NotFound
            If patient or examination are unknown.
        ConfigurationError
            If the priority is none.
        DeliveryFailed
            If the RIS did not take the order; it waits in the outbox.
        """
        patient = self.patient(patient_id)
        wanted = examination(code)
        if priority not in PRIORITIES:
            raise ConfigurationError(f"{priority!r} is no priority.", "Use R, A or S.")
        order = self._new_order(
            patient,
            visit=self._current_visit(patient).visit,
            code=code,
            description=wanted.description,
            reason=reason,
            provider=name_of(provider),
            priority=priority,
        )
        self.note(
            f"order {order.placer_order} placed: {wanted.description}",
            placer_order=order.placer_order,
            patient_id=patient.patient_id,
        )
        self._send_order(order, "NW")
        return order

    def cancel_order(self, placer_order: str) -> Order:
        """Cancel an order that has not been begun (ORC-1 CA, RAD-2).

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
        order = self.order(placer_order)
        self._send_order(order, "CA")
        self.db.run("UPDATE orders SET status = 'CANCELLED' WHERE placer_order = ?", placer_order)
        self.note(
            f"order {placer_order} cancelled",
            placer_order=placer_order,
            patient_id=order.patient_id,
        )
        return self.order(placer_order)

    def change_order(
        self, placer_order: str, *, code: str = "", reason: str = "", priority: str = ""
    ) -> Order:
        """Change an order: cancel it, and order anew (RAD-2).

        IHE knows no other way: of the order controls of HL7 an order placer
        uses NW, CA and DC (RAD TF-2, RAD-2), never XO.

        Parameters
        ----------
        placer_order : str
            Which order.
        code, reason, priority : str
            What is to be different; as in `place_order`.

        Returns
        -------
        Order
            The new one, with a number of its own.

        Raises
        ------
        NotFound
            If there is no such order or examination.
        ConfigurationError
            If the priority is none, or the examination has begun as far as the HIS knows.
        DeliveryFailed
            If the RIS refused, because the examination has begun; the order stays then.
        """
        old = self.order(placer_order)
        if old.status not in ("ORDERED", "SCHEDULED"):
            raise ConfigurationError(
                f"Too late: order {placer_order} is {old.status}.", "Place another order."
            )
        examination(code or old.code)
        if priority and priority not in PRIORITIES:
            raise ConfigurationError(f"{priority!r} is no priority.", "Use R, A or S.")
        self.cancel_order(placer_order)
        return self.place_order(
            f"{old.patient_id}^^^{old.issuer}",
            code or old.code,
            reason or old.reason,
            old.provider,
            priority=priority or old.priority,
        )

    # Messages

    def _new_order(self, patient: Patient, **values: str) -> Order:
        number = f"ORD{self.db.next('order'):06d}"
        self.db.insert(
            "orders",
            placer_order=number,
            patient_id=patient.patient_id,
            issuer=patient.issuer,
            **({"status": "ORDERED"} | values),
            placed_at=self.now(),
        )
        return self.order(number)

    def _send_order(self, order: Order, control: str) -> None:
        self.outbox.send(
            self._order_message(self.order_message, order, {1: control}), self._ris, "RAD-2"
        )

    def _order_message(self, kind: str, order: Order, orc: dict[int, str], *more: str) -> Message:
        now = timestamp(self.facility.clock.now())
        number = f"{order.placer_order}^{self._site.his.application}"
        provider = provider_field(order.provider) if order.provider else ""
        obr = {
            1: "1",
            2: number,
            3: orc.get(3, ""),
            4: f"{order.code}^{escape(order.description)}^{CODING_SCHEME}",
            16: provider,
            31: reason_field(order.reason),
        }
        patient = self.registry.patient(order.patient_id, order.issuer)
        visit = self.registry.visit(order.visit, order.issuer) or self._current_visit(patient)
        header = order_header(self.outbox, kind, self._site.ris.application)
        return Message.build(
            header,
            *more,
            *self._segments(patient, visit, header.version),
            *order_segments(
                kind,
                {**orc, 2: number, 9: now, 12: provider},
                obr,
                Timing(now, order.priority),
            ),
        )

    # What the RIS tells (RAD-3)

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
