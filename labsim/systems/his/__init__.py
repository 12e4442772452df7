"""HIS, the hospital information system.

IHE actors: ADT Patient Registration, Order Placer; and the chart that receives
results (Result Receiver of Results Distribution).
"""

from __future__ import annotations

from functools import partial

from labsim.site import Site
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import Facility
from labsim.systems.his.chart import Chart
from labsim.systems.records import Order, Patient, Visit
from labsim.wire.mllp import Taken
from labsim.wire.network import Address


class His(Chart):
    """Registers patients, places orders, keeps the chart.

    Parameters
    ----------
    site : Site
        Its own entry, and whom it sends orders to.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__(site, facility)
        self.trail = AuditTrail(self, site.audit, host=site.his.host)
        self._hl7.refused = self.trail.not_authenticated

    def start(self) -> None:
        """Listen for results, and for what becomes of orders."""
        takes = {
            "ORU^R01": Taken("RAD-128", self._take_result),
            "ORM^O01": Taken("RAD-3", self._take_filler),
            "OMG^O19": Taken("RAD-3", self._take_filler),
        }
        own = self._site.his
        listen = partial(self._hl7.listen, takes)
        address = Address(own.host, own.hl7_port)
        protocol, close = self._hl7.protocol, self._hl7.close
        self.serve(protocol, address, own.application, listen, close, place="mllp")
        self.trail.application(started=True)

    def resume(self) -> None:
        """Send what waited."""
        self.trail.resume()
        self.outbox.resume()

    def stop(self) -> None:
        """Stop listening and sending."""
        if self._services:
            self._close_services()
            self.trail.application(started=False)
        self.trail.close()
        super().stop()

    # What it reports to the audit repository (PS3.15 A.5.3), at the places that all changes pass

    def _announce(
        self,
        message_type: str,
        transaction: str,
        patient: Patient,
        *more: str,
        visit: Visit | None = None,
    ) -> None:
        action = "C" if message_type == "ADT^A04" else "U"
        self.trail.about("110110", action, [self.trail.itself(requestor=True)], patient)
        super()._announce(message_type, transaction, patient, *more, visit=visit)

    def _send_order(self, order: Order, control: str) -> None:
        action = "C" if control == "NW" else "U"
        patient = self.registry.patient(order.patient_id, order.issuer)
        self.trail.order(action, order.placer_order, patient, self.trail.itself(requestor=True))
        super()._send_order(order, control)
