"""Orders: placed here, filled by the RIS, which tells what becomes of them."""

from __future__ import annotations

from labsim.errors import ConfigurationError
from labsim.systems.catalogue import CODING_SCHEME, examination
from labsim.systems.his.forms import name_of
from labsim.systems.his.registration import Registration
from labsim.systems.messages import provider_field
from labsim.systems.order_messages import (
    ANSWERS,
    PRIORITIES,
    Timing,
    order_header,
    order_segments,
    reason_field,
)
from labsim.systems.records import Order, Patient
from labsim.wire.hl7 import Message, escape, timestamp


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
        pid, *pv1 = self._segments(patient, visit, header.version)
        return Message.build(
            header,
            *more,
            pid,
            # An answer has none (HL7 v2.3.1 4.2.2, v2.5.1 4.4.5).
            *([] if kind in ANSWERS.values() else pv1),
            *order_segments(
                kind,
                {**orc, 2: number, 9: now, 12: provider},
                obr,
                Timing(now, order.priority),
            ),
        )
