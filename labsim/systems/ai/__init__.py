"""The AI node: it looks at CT series of the thorax by itself.

IHE actors: Evidence Creator; Task Manager and Task Performer (AI Workflow for Imaging).
"""

from __future__ import annotations

from functools import partial
from sqlite3 import Row
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.errors import AssociationFailed, LabError
from labsim.site import AiSite, Site
from labsim.sop_classes import VERIFICATION
from labsim.systems.ai import callers, images, performing
from labsim.systems.ai.callers import Callers
from labsim.systems.ai.images import Images
from labsim.systems.ai.performing import Performer, scheduled
from labsim.systems.ai.source import Source
from labsim.systems.audit.trail import MINOR_FAILURE, AuditTrail
from labsim.systems.facility import Facility, System
from labsim.systems.secured import serve_by_tls
from labsim.systems.workitems import attributes, service, worklist
from labsim.systems.workitems.attributes import CANCELED, COMPLETED
from labsim.systems.workitems.dimse import UpsProvider
from labsim.systems.workitems.service import WorkitemsWeb
from labsim.systems.workitems.status import UpsRefused
from labsim.systems.workitems.worklist import Workitems
from labsim.table import Table
from labsim.wire.dimse import DicomNode, Handlers, Peer
from labsim.wire.network import Address
from labsim.wire.status import failure

SCHEMA = images.SCHEMA + worklist.SCHEMA + performing.SCHEMA + callers.SCHEMA + service.SCHEMA


class AiNode(System):
    """Takes CT series in, looks for nodules, and sends the archive what it found.

    Its work is a list of Unified Procedure Steps. A series that was sent here
    makes one by itself; others are asked for over the web or by DIMSE.

    Parameters
    ----------
    site : Site
        Where the archive is.
    own : AiSite
        Its own entry.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    steps : Workitems
        The list.
    web : WorkitemsWeb
        The list over the web; ``web.origins`` says whose pages may call.
    tokens : Tokens
        The bearer tokens with which one may ask there.
    callers : Callers
        Who may call by DICOM, other than to verify.
    """

    def __init__(self, site: Site, own: AiSite, facility: Facility) -> None:
        super().__init__("ai", facility, SCHEMA)
        self.ae_title = own.ae_title
        self._own = own
        self._site = site
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        peer = Peer(*site.dicom_place(site.pacs))
        self._source = Source(self._dicom, peer)
        self._images = Images(self.db, self.folder / "images", facility.room)
        self.steps = Workitems(self, own.ae_title)
        self.steps.changed = self._wake
        self._performer = Performer(
            *(self, own.ae_title, self.steps, self._images, self._source),
            self.folder / "results",
        )
        self.callers = Callers(self, [peer.ae_title, site.desk.ae_title])
        self.trail = AuditTrail(self, site.audit, ae_title=own.ae_title, host=own.host)
        self.web = WorkitemsWeb(self, self.steps, own.ae_title, self._refused)
        self.tokens = self.web.tokens

    def start(self) -> None:
        """Listen for images, and for requests about work."""
        provider = UpsProvider(self.steps)
        answering: tuple[list[PresentationContext], Handlers] = (
            [
                build_context(VERIFICATION),
                build_context(CTImageStorage),
                *provider.contexts(),
            ],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_RELEASED, lambda event: self._wake()),
                *provider.handlers(),
            ],
        )
        address = Address(self._own.host, self._own.dicom_port)
        known: dict[str, Any] = {"admit": self.callers.admit}
        listen = partial(self._dicom.listen, *answering, **known)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)
        if self._site.security.dicom_calls:
            address = Address(self._own.host, self._own.dicom_tls_port)
            serve_by_tls(self, self._site, address, answering, title=self.ae_title, **known)
        self.web.serve(Address(self._own.host, self._own.http_port))

    def resume(self) -> None:
        """Take up what was not done."""
        self.trail.resume()
        self._wake()

    def retry(self) -> None:
        """Try again what waits for the archive."""
        self._wake()

    def stop(self) -> None:
        """Stop listening; what waits stays on disk."""
        self._close_services()
        self.trail.close()
        super().stop()

    def workitems(self) -> Table:
        """Return the work items, with what became of each."""
        rows = [self._shown(row) for row in self.steps.rows()]
        columns = ("number", "accession", "patient ID", "state", "findings", "reason", "work item")
        return Table(columns, rows, f"Work items of {self.ae_title}")

    def table(self) -> Table:
        """Return the work items."""
        return self.workitems()

    def _shown(self, row: Row) -> tuple[object, ...]:
        counted = "SELECT SUM(findings) FROM looked_at WHERE number = ?"
        findings = self.db.value(counted, row["number"]) if row["state"] == COMPLETED else None
        why = attributes.reason(self.steps.get(row["uid"])) if row["state"] == CANCELED else ""
        known = (row["number"], row["accession"], row["patient_id"], row["state"])
        return (*known, findings, why, row["uid"])

    # What it does, on its worker

    def _store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE; what is answered with success is on disk."""
        image = event.dataset
        uids = [image.get(f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
        # The last one names a file, so it must be a UID and no path.
        if not all(uid and UID(str(uid)).is_valid for uid in uids):
            return failure(0xA900, "an image without its UIDs")
        self._images.keep(event.encoded_dataset(), image)
        return 0x0000

    def _wake(self) -> None:
        self.worker.submit(self._work_through)

    def _work_through(self) -> None:
        try:
            for series in self._images.new_series():
                self._schedule(series)
            for row in self.steps.to_perform():
                self._perform(row["uid"], row["number"])
        except (LabError, OSError, RuntimeError) as error:
            self._wait(error)

    def _schedule(self, series: Row) -> None:
        """Make the work item of a series that is complete."""
        study_uid, series_uid, keys = series["study_uid"], series["series_uid"], _keys(series)
        expected = self._source.count(study_uid, series_uid)
        if not expected or series["images"] < expected:
            self.note(f"series waits: {series['images']} of {expected} images", **keys)
            return
        now = self.facility.clock.now().strftime("%Y%m%d%H%M%S")
        step = scheduled(self._images.of(series_uid), self._source.peer.ae_title, now)
        with self.db.transaction():
            self.steps.create(step)
            self._images.take(series_uid)
        self.note(f"series complete: {series['images']} images", **keys)

    def _perform(self, uid: str, number: int) -> None:
        """Perform a step; what only this one must wait for holds up no other."""
        try:
            if self.steps.lock(uid) or self._performer.can_perform(uid):
                self._performer.perform(uid, number)
        except AssociationFailed:
            raise  # without the archive the others would wait as well
        except UpsRefused:
            return  # another has claimed or ended it meanwhile
        except LabError as error:
            self._wait(error)

    def _wait(self, error: Exception) -> None:
        """Leave all as it is for the next time. A RuntimeError says that an association ended."""
        why = error.what if isinstance(error, LabError) else str(error)
        self.note(f"work waits: {why}", kind="error")

    def _refused(self, what: str) -> None:
        self.trail.alert("110126", what, about=self.name, outcome=MINOR_FAILURE)


def _keys(row: Row) -> dict[str, str]:
    return {name: row[name] for name in ("accession", "patient_id", "study_uid", "series_uid")}
