"""HIS, the hospital information system.

IHE actors: ADT Patient Registration, Order Placer; and the chart that receives
results (Result Receiver of Results Distribution).
"""

from __future__ import annotations

from labsim.systems.his.chart import Chart
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

    def start(self) -> None:
        """Listen for results, and for what becomes of orders."""
        port = self._hl7.listen(
            {
                "ORU^R01": Taken("RAD-128", self._take_result),
                "ORM^O01": Taken("RAD-3", self._take_filler),
                "OMG^O19": Taken("RAD-3", self._take_filler),
            },
            self.fixed_port("mllp"),
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
