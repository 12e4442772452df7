"""What comes by HL7: patients, their changes, orders."""

from __future__ import annotations

from dataclasses import replace

from labsim.errors import ConfigurationError, Hl7Error, NotFound
from labsim.systems.catalogue import Examination, examination
from labsim.systems.messages import UPDATES, patient_of, prior_of, provider_of, visit_of
from labsim.systems.order_messages import priority_of, reason_of
from labsim.systems.records import Patient, Procedure
from labsim.systems.ris.filler_orders import FillerOrders
from labsim.wire.hl7 import Message
from labsim.wire.mllp import Taken

_REGISTRATIONS = {"ADT^A01": "admitted", "ADT^A04": "received"}
_ORDER_CONTROLS = "NW, XO, CA and DC"


class Intake(FillerOrders):
    """Takes in what the HIS sends.

    Attributes
    ----------
    schedules_at_once : bool
        Whether an order is scheduled, for now, when it comes; else it waits
        until a clerk calls `schedule`.
    """

    schedules_at_once = False

    def _taken(self) -> dict[str, Taken]:
        """Return every message that the RIS takes in."""
        taken = {kind: Taken("RAD-1", self._take_patient) for kind in _REGISTRATIONS}
        taken |= {kind: Taken("RAD-12", self._take_update) for kind in UPDATES}
        taken["ADT^A40"] = Taken("RAD-12", self._take_merge)
        taken |= {kind: Taken("RAD-2", self._take_order) for kind in ("ORM^O01", "OMG^O19")}
        taken |= {kind: Taken("RAD-3", self._take_number) for kind in ("ORR^O02", "ORG^O20")}
        return taken

    # Patients

    def _take_patient(self, message: Message) -> None:
        """Take in ADT^A01 or A04 (RAD-1)."""
        patient = self._keep_patient(message)
        keys = {"patient_id": patient.patient_id, "visit": message["PV1-19.1"]}
        self.note(f"patient {patient.patient_id} {_REGISTRATIONS[message.type]}", **keys)

    def _take_update(self, message: Message) -> None:
        """Take in a change of patient or visit (RAD-12), and pass it on to the PACS."""
        patient = self._keep_patient(message)
        visit = visit_of(message, patient)
        if visit is not None and message.type == "ADT^A11":
            self.registry.keep_visit(replace(visit, status="CANCELLED"))
        keys = {"patient_id": patient.patient_id, "visit": message["PV1-19.1"]}
        self.note(f"patient {patient.patient_id} {UPDATES[message.type]}", **keys)
        self._pass_on(message)

    def _take_merge(self, message: Message) -> None:
        """Take in ADT^A40 (RAD-12), and pass it on to the PACS."""
        kept = patient_of(message, self.facility.issuer)
        prior = prior_of(message, kept)
        with self.db.transaction():
            # Also one that was given up before: a merge the other way round takes that back.
            self.registry.keep(kept)
            self.registry.merge(kept, *prior, "orders", "procedures")
        self.note(f"patient {prior[0]} merged into {kept.patient_id}", patient_id=kept.patient_id)
        self._pass_on(message)

    def _pass_on(self, message: Message) -> None:
        """Send a message about a patient to the PACS, under a header of our own."""
        header = self.outbox.header(message.type, self._site.pacs.application)
        rest = [line for line in message.text.split("\r")[1:] if line]
        self.outbox.post(Message.build(header, *rest), self._pacs, "RAD-12")

    # Orders

    def _take_order(self, message: Message) -> None:
        """Take in ORM^O01 or OMG^O19 (RAD-2): a new order, or that one is cancelled.

        IHE has no order control to change an order (RAD TF-2, RAD-2: NW, CA,
        DC; who wants it otherwise cancels and orders anew). Many an order
        placer sends XO nevertheless, so that is taken too.
        """
        number, control = message["ORC-2.1"], message["ORC-1"]
        if not number:
            raise Hl7Error("ORC-2 Placer Order Number is empty.")
        if control in ("CA", "DC"):
            self._take_cancel(number, patient_of(message, self.facility.issuer))
        elif control == "XO":
            self._take_change(number, message)
        elif control == "NW":
            self._receive(number, message)
        else:
            raise Hl7Error(
                f"Order control {control!r} (ORC-1) is not taken, only {_ORDER_CONTROLS}."
            )

    def _take_cancel(self, number: str, patient: Patient) -> None:
        procedures = self._changeable(number, patient)
        with self.db.transaction():
            self.db.run("UPDATE orders SET status = 'CANCELLED' WHERE placer_order = ?", number)
            for procedure in procedures:
                self._set_status(procedure.accession, "CANCELLED")
                self._tell_archive(procedure.accession, "CA")
        self.note(f"order {number} cancelled", placer_order=number, patient_id=patient.patient_id)

    def _take_change(self, number: str, message: Message) -> None:
        """Take in a change of an order (ORC-1 XO): what, why, how soon."""
        patient = patient_of(message, self.facility.issuer)
        procedures = self._changeable(number, patient)
        wanted, reason = _wanted(message), reason_of(message)
        with self.db.transaction():
            changes = {"code": wanted.code, "description": wanted.description, "reason": reason}
            changes["priority"] = priority_of(message)
            self._update("orders", "placer_order", number, changes)
            try:
                for procedure in procedures:
                    self._change(procedure, wanted.code, reason, changes["priority"])
                    self._tell_archive(procedure.accession, "XO")
            except ConfigurationError as error:  # no station does it
                raise Hl7Error(error.what) from error
        self.note(f"order {number} changed", placer_order=number, patient_id=patient.patient_id)

    def _changeable(self, number: str, patient: Patient) -> list[Procedure]:
        """Return the examinations of an order, of which none may have begun."""
        row = self.db.row("SELECT * FROM orders WHERE placer_order = ?", number)
        whose = (patient.patient_id, patient.issuer)
        if row is None or (row["patient_id"], row["issuer"]) != whose:
            raise Hl7Error(f"Patient {patient.patient_id} has no order {number!r}.")
        procedures = [p for p in self.procedures() if p.placer_order == number]
        for procedure in procedures:
            if procedure.status not in ("SCHEDULED", "CANCELLED"):
                # The HIS may think otherwise by now, if nobody waits for our acknowledgment.
                self._tell_placer(procedure.accession, "SC")
                raise Hl7Error(
                    f"Too late: examination {procedure.accession} is {procedure.status}."
                )
        return [procedure for procedure in procedures if procedure.status == "SCHEDULED"]

    def _receive(self, number: str, message: Message) -> None:
        wanted = _wanted(message)
        with self.db.transaction():
            patient = self._keep_patient(message)
            known = self.db.row(
                "SELECT patient_id, issuer, status FROM orders WHERE placer_order = ?", number
            )
            if known is not None and tuple(known)[:2] != (patient.patient_id, patient.issuer):
                raise Hl7Error(f"Order {number} is known for another patient.")
            if known is None:  # the same order again is no new one
                self.db.insert(
                    "orders",
                    filler_order=self._next_filler_order(),
                    placer_order=number,
                    placer=message["ORC-2.2"],
                    visit=message["PV1-19.1"],
                    patient_id=patient.patient_id,
                    issuer=patient.issuer,
                    code=wanted.code,
                    description=wanted.description,
                    reason=reason_of(message),
                    provider=provider_of(message, "ORC-12"),
                    priority=priority_of(message),
                    status="RECEIVED",
                )
        self.note(
            f"order {number} received: {wanted.description}",
            placer_order=number,
            patient_id=patient.patient_id,
            visit=message["PV1-19.1"],
        )
        # One that comes again may have been kept, and cut off before it was scheduled.
        if self.schedules_at_once and (known is None or known["status"] == "RECEIVED"):
            self._schedule_at_once(number)

    def _schedule_at_once(self, number: str) -> None:
        try:
            with self.db.transaction():
                procedure = self._enter(number)
                self._tell_archive(procedure.accession, "NW")
        except ConfigurationError as error:
            self.note(f"order {number} waits for a clerk: {error.what}", placer_order=number)


def _wanted(message: Message) -> Examination:
    try:
        return examination(message["OBR-4.1"])
    except NotFound as error:
        raise Hl7Error(f"OBR-4: {error.what}") from error
