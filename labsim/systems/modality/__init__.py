"""A scanner with its console.

IHE actor: Acquisition Modality.
"""

from __future__ import annotations

from functools import partial

from pynetdicom import build_context, evt

from labsim.sop_classes import VERIFICATION
from labsim.systems.modality.committing import Committing, commitment_user
from labsim.systems.modality.console import Console
from labsim.systems.modality.performing import Performing
from labsim.systems.modality.sending import Sending
from labsim.systems.modality.worklist import Worklist
from labsim.systems.secured import serve_by_tls
from labsim.wire.network import Address

__all__ = ["Modality", "Sending", "Worklist"]


class Modality(Performing, Committing, Console):
    """A scanner of one kind: worklist, acquisition, performed step, sending, commitment.

    Parameters
    ----------
    site : Site
        Where its peers are.
    own : ModalitySite
        Its own entry.
    facility : Facility
        What it shares with the others.
    """

    def start(self) -> None:
        """Listen for C-ECHO and for the results of storage commitment."""
        answering = (
            [build_context(VERIFICATION), commitment_user()],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_N_EVENT_REPORT, self._commitment_reported),
            ],
        )
        address = Address(self._own.host, self._own.dicom_port)
        listen = partial(self._dicom.listen, *answering)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)
        if self._site.security.dicom_calls:
            address = Address(self._own.host, self._own.dicom_tls_port)
            serve_by_tls(self, self._site, address, answering, title=self.ae_title)

    def resume(self) -> None:
        """Try again, as often as configured, to send what waited at the last stop."""
        self._plan_retry()

    def stop(self) -> None:
        """Stop listening; images that were not sent stay on the scanner's disk."""
        self._close_services()
        super().stop()
