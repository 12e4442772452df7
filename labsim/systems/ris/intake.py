"""What comes by HL7: patients, their changes, orders."""

from __future__ import annotations

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.systems.catalogue import examination
from labsim.systems.messages import patient_of, prior_of, provider_of
from labsim.systems.records import Order
from labsim.systems.ris.scheduling import Scheduling
from labsim.wire.hl7 import Message


class Intake(Scheduling):
    """Takes in what the HIS sends.

    Attributes
    ----------
    schedules_at_once : bool
        Whether an order is scheduled, for now, when it comes; else it waits
        until a clerk calls `schedule`.
    """

    schedules_at_once = False

    def _take_patient(self, message: Message) -> None:
        """Take in ADT^A04 (RAD-1)."""
        patient = self._keep_patient(message)
        keys = {"patient_id": patient.patient_id, "visit": message["PV1-19.1"]}
        self.note(f"patient {patient.patient_id} received", **keys)

    def _take_update(self, message: Message) -> None:
        """Take in ADT^A08 (RAD-12), and pass it on to the PACS."""
        patient = self._keep_patient(message)
        self.note(f"patient {patient.patient_id} updated", patient_id=patient.patient_id)
        self._pass_on(message)

    def _take_merge(self, message: Message) -> None:
        """Take in ADT^A40 (RAD-12), and pass it on to the PACS."""
        kept = patient_of(message, self.facility.issuer)
        prior, _ = prior_of(message, kept)
        with self.db.transaction():
            self._keep_patient(message)
            for table in ("orders", "procedures"):
                self.db.run(
                    f"UPDATE {table} SET patient_id = ? WHERE patient_id = ?",
                    kept.patient_id,
                    prior,
                )
            self.db.run("DELETE FROM patients WHERE patient_id = ?", prior)
        self.note(f"patient {prior} merged into {kept.patient_id}", patient_id=kept.patient_id)
        self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        """Send a message about a patient to the PACS, under a header of our own."""
        header = self.outbox.header(message.type, self._site.pacs.application)
        rest = [line for line in message.text.split("\r")[1:] if line]
        self.outbox.post(Message.build(header, *rest), self._pacs, "RAD-12")

    def _take_order(self, message: Message) -> None:
        """Take in ORM^O01 (RAD-2): a new order, or that one is cancelled."""
        number, control = message["ORC-2.1"], message["ORC-1"]
        if not number:
            raise Hl7Error("ORC-2 Placer Order Number is empty.")
        if control == "CA":
            self._cancel(number, message["PID-3.1"])
        elif control == "NW":
            self._receive(number, message)
        else:
            raise Hl7Error(f"Order control {control!r} (ORC-1) is not taken, only NW and CA.")

    def _cancel(self, number: str, patient_id: str) -> None:
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", number)
        if row is None or row["patient_id"] != patient_id:
            raise Hl7Error(f"Patient {patient_id} has no order {number!r}.")
        procedures = [p for p in self.procedures() if p.placer_order == number]
        begun = [p for p in procedures if p.status not in ("SCHEDULED", "CANCELLED")]
        if begun:
            raise Hl7Error(f"Too late: examination {begun[0].accession} is {begun[0].status}.")
        with self.db.transaction():
            self.db.run("UPDATE orders SET status = 'CANCELLED' WHERE placer_order = ?", number)
            for procedure in procedures:
                self._set_status(procedure.accession, "CANCELLED")
        self.note(f"order {number} cancelled", placer_order=number, patient_id=patient_id)
        for procedure in procedures:
            self.outbox.post(self._procedure_message(procedure, "CA"), self._pacs, "RAD-13")

    def _receive(self, number: str, message: Message) -> None:
        code = message["OBR-4.1"]
        try:
            wanted = examination(code)
        except NotFound as error:
            raise Hl7Error(f"OBR-4: {error.what}") from error
        with self.db.transaction():
            patient = self._keep_patient(message)
            known = self.db.value("SELECT patient_id FROM orders WHERE placer_order = ?", number)
            if known not in (None, patient.patient_id):
                raise Hl7Error(f"Order {number} is known for another patient.")
            if known is None:  # the same order again is no new one
                order = Order(
                    placer_order=number,
                    visit=message["PV1-19.1"],
                    patient_id=patient.patient_id,
                    code=code,
                    description=wanted.description,
                    reason=message["OBR-31.2"] or message["OBR-31.1"],
                    provider=provider_of(message, "ORC-12"),
                    status="RECEIVED",
                )
                self.db.insert("orders", **vars(order))
        self.note(
            f"order {number} received: {wanted.description}",
            placer_order=number,
            patient_id=patient.patient_id,
            visit=message["PV1-19.1"],
        )
        if known is None and self.schedules_at_once:
            self._schedule_at_once(number)

    def _schedule_at_once(self, number: str) -> None:
        try:
            procedure = self._enter(number)
        except ConfigurationError as error:
            self.note(f"order {number} waits for a clerk: {error.what}", placer_order=number)
            return
        self.outbox.post(self._procedure_message(procedure, "NW"), self._pacs, "RAD-4")
