"""RIS, the radiology information system.

IHE actors: Order Filler (Department System Scheduler), Performed Procedure
Step Manager, Report Creator, Report Manager.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt

from labsim.site import Site
from labsim.sop_classes import MODALITY_WORKLIST, MPPS, VERIFICATION
from labsim.systems.facility import Facility
from labsim.systems.ris.documents import Documents
from labsim.systems.ris.evidence import Evidence
from labsim.systems.ris.intake import Intake
from labsim.systems.ris.performed import Performed
from labsim.systems.ris.reporting import Reporting
from labsim.systems.ris.tables import FULL
from labsim.systems.secured import serve_by_tls
from labsim.systems.step_manager import StepManager
from labsim.systems.worklist import worklist_entry
from labsim.table import Table
from labsim.wire.dimse import DicomNode, Peer, instance_of
from labsim.wire.matching import matches, project, unsupported
from labsim.wire.network import Address


class Ris(Intake, Performed, Reporting):
    """Schedules examinations, serves the worklist, follows the scanners, reports.

    Parameters
    ----------
    site : Site
        Its own entry, the scanners, and whom it sends to.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__(site, facility)
        self._dicom = DicomNode(self.name, site.ris.ae_title, facility.journal, facility.network)
        self._steps = StepManager(self, self._follow)
        self._evidence = Evidence(self)
        archive = Peer(*site.dicom_place(site.pacs))
        self.documents = Documents(self, self._dicom, archive)
        self._hire()

    def start(self) -> None:
        """Listen for orders, worklist queries and performed procedure steps."""
        own = self._site.ris
        address = Address(own.host, own.hl7_port)
        listen = partial(self._hl7.listen, self._taken())
        protocol, close = self._hl7.protocol, self._hl7.close
        self.serve(protocol, address, own.application, listen, close, place="mllp")
        answering = (
            [
                build_context(uid)
                for uid in (
                    VERIFICATION,
                    MODALITY_WORKLIST,
                    MPPS,
                )
            ],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_C_FIND, self._answer_worklist),
                (evt.EVT_N_CREATE, self._steps.created),
                (evt.EVT_N_SET, self._step_changed),
            ],
        )
        address = Address(own.host, own.dicom_port)
        answer = partial(self._dicom.listen, *answering)
        self.serve("mwl", address, own.ae_title, answer, self._dicom.close, place="dicom")
        if self._site.security.dicom_calls:
            address = Address(own.host, own.dicom_tls_port)
            title = own.ae_title
            serve_by_tls(self, self._site, address, answering, title=title, protocol="mwl-tls")

    def resume(self) -> None:
        """Send what waited."""
        self.outbox.resume()
        self.documents.resume()

    def stop(self) -> None:
        """Stop listening and sending."""
        self._close_services()
        super().stop()

    def performed_steps(self) -> Table:
        """Return what the scanners have told of their work (MPPS)."""
        return self._steps.table()

    def _answer_worklist(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer a Modality Worklist query (RAD-5, PS3.4 K.4.1)."""
        identifier = event.identifier
        rows = self.db.rows(FULL + "WHERE pr.status = 'SCHEDULED' ORDER BY pr.start, pr.accession")
        for row in rows:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            entry = worklist_entry(row)
            if matches(identifier, entry):
                answer = project(identifier, entry)
                answer.SpecificCharacterSet = entry.SpecificCharacterSet
                yield (0xFF01 if unsupported(identifier, entry) else 0xFF00), answer

    def _step_changed(self, event: evt.Event) -> tuple[int | Dataset, Dataset | None]:
        """Answer an MPPS N-SET (RAD-7), and keep which images there are."""
        with self.db.transaction():
            status, changes = self._steps.changed(event)
            if changes is not None:
                self._evidence.keep(instance_of(event), changes)
        return status, changes
