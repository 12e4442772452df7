"""The AI node: it looks at CT series of the thorax by itself.

IHE actor: Evidence Creator.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from sqlite3 import Row

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.errors import DimseFailed, LabError
from labsim.ids import make_uid
from labsim.site import AiSite, Site
from labsim.sop_classes import STUDY_ROOT_FIND, VERIFICATION
from labsim.systems.ai.nodules import find_nodules
from labsim.systems.ai.results import results_of
from labsim.systems.ai.volume import Unsuitable, volume_of
from labsim.systems.ai.work import SCHEMA, Work
from labsim.systems.facility import Facility, System
from labsim.systems.secured import serve_by_tls
from labsim.table import Table
from labsim.wire.dimse import DicomNode, Handlers, Peer
from labsim.wire.network import Address
from labsim.wire.status import describe_status, failure


class AiNode(System):
    """Takes CT series in, looks for nodules, and sends the archive what it found.

    Parameters
    ----------
    site : Site
        Where the archive is.
    own : AiSite
        Its own entry.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, own: AiSite, facility: Facility) -> None:
        super().__init__("ai", facility, SCHEMA)
        self.ae_title = own.ae_title
        self._own = own
        self._site = site
        self._archive = Peer(*site.dicom_place(site.pacs))
        self._work = Work(self.db, self.folder / "images")
        self._results = self.folder / "results"
        self._results.mkdir(exist_ok=True)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)

    def start(self) -> None:
        """Listen for images."""
        answering: tuple[list[PresentationContext], Handlers] = (
            [build_context(VERIFICATION), build_context(CTImageStorage)],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_C_STORE, self._store),
                (evt.EVT_RELEASED, lambda event: self._wake()),
            ],
        )
        address = Address(self._own.host, self._own.dicom_port)
        listen = partial(self._dicom.listen, *answering)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)
        if self._site.security.dicom_calls:
            address = Address(self._own.host, self._own.dicom_tls_port)
            serve_by_tls(self, self._site, address, answering, title=self.ae_title)

    def resume(self) -> None:
        """Take up what was not done."""
        self._wake()

    def retry(self) -> None:
        """Try again what waits for the archive."""
        self._wake()

    def stop(self) -> None:
        """Stop listening; what waits stays on disk."""
        self._close_services()
        super().stop()

    def workitems(self) -> Table:
        """Return the work items, with what became of each."""
        rows = self.db.rows(
            "SELECT id, accession, patient_id, state, findings, reason, series_uid "
            "FROM workitems ORDER BY id"
        )
        columns = ("number", "accession", "patient ID", "state", "findings", "reason", "series")
        return Table(columns, rows, f"Work items of {self.ae_title}")

    def table(self) -> Table:
        """Return the work items."""
        return self.workitems()

    # What it does, on its worker

    def _store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE; what is answered with success is on disk."""
        image = event.dataset
        uids = [image.get(f"{level}InstanceUID") for level in ("Study", "Series", "SOP")]
        # The last one names a file, so it must be a UID and no path.
        if not all(uid and UID(str(uid)).is_valid for uid in uids):
            return failure(0xA900, "an image without its UIDs")
        self._work.keep(event.encoded_dataset(), image)
        return 0x0000

    def _wake(self) -> None:
        self.worker.submit(self._work_through)

    def _work_through(self) -> None:
        try:
            for series in self._work.new_series():
                self._schedule(series)
            for item in self._work.open_items():
                self._perform(item)
        except (LabError, OSError, RuntimeError) as error:
            # RuntimeError: the association has ended. All waits as it is for the next time.
            why = error.what if isinstance(error, LabError) else str(error)
            self.note(f"work waits: {why}", kind="error")

    def _schedule(self, series: Row) -> None:
        expected = self._count(series["study_uid"], series["series_uid"])
        if not expected or series["images"] < expected:
            self.note(f"series waits: {series['images']} of {expected} images", **_keys(series))
            return
        self._work.schedule(series)
        self.note(f"series complete: {series['images']} images, SCHEDULED", **_keys(series))

    def _perform(self, item: Row) -> None:
        number, keys = int(item["id"]), _keys(item)
        self._work.change(number, "IN PROGRESS")
        self.note(f"work item {number} IN PROGRESS", **keys)
        try:
            findings = self._look(number, item["series_uid"])
        except Unsuitable as error:
            self._work.change(number, "CANCELED", error.what)
            self.note(f"work item {number} CANCELED: {error.what}", kind="error", **keys)
            return
        self._send(self._files(number))
        self._work.change(number, "COMPLETED", findings=findings)
        self.note(f"work item {number} COMPLETED: {findings} nodules", **keys)

    def _look(self, number: int, series_uid: str) -> int:
        """Write the results of a series to disk, and return how many nodules it has."""
        volume = volume_of(self._work.images(series_uid))
        findings = find_nodules(volume)
        if not self._files(number):  # else they were written, and perhaps sent, before a restart
            uid = partial(make_uid, "ai", self.facility.seed, number, series_uid)
            made = results_of(
                volume, findings, uid, self.facility.institution, self.facility.clock.now()
            )
            for result in made:
                path = self._results / f"{number}-{result.Modality}.part"
                result.save_as(path, enforce_file_format=True)
            for result in made:
                path = self._results / f"{number}-{result.Modality}.part"
                path.replace(path.with_suffix(".dcm"))
        return len(findings)

    def _files(self, number: int) -> list[Path]:
        return sorted(self._results.glob(f"{number}-*.dcm"))

    # What it asks of the archive

    def _count(self, study_uid: str, series_uid: str) -> int:
        """Return how many images the archive has of a series."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "SERIES"
        keys.StudyInstanceUID, keys.SeriesInstanceUID = study_uid, series_uid
        keys.NumberOfSeriesRelatedInstances = ""
        count = 0
        with self._dicom.associate(self._archive, [build_context(STUDY_ROOT_FIND)]) as archive:
            for status, answer in archive.send_c_find(keys, STUDY_ROOT_FIND):
                code = int(status.get("Status", 0xC000))
                if code in (0xFF00, 0xFF01) and answer is not None:
                    count = int(answer.NumberOfSeriesRelatedInstances)
                elif code != 0x0000:
                    raise DimseFailed(f"C-FIND failed: {describe_status(code)}.", status=code)
        return count

    def _send(self, files: list[Path]) -> None:
        results = [dcmread(path) for path in files]
        contexts = [
            build_context(result.SOPClassUID, result.file_meta.TransferSyntaxUID)
            for result in results
        ]
        with self._dicom.associate(self._archive, contexts) as archive:
            for result in results:
                code = int(archive.send_c_store(result).get("Status", 0xC000))
                if code != 0x0000 and not 0xB000 <= code <= 0xBFFF:
                    raise DimseFailed(f"C-STORE failed: {describe_status(code)}.", status=code)


def _keys(row: Row) -> dict[str, str]:
    return {name: row[name] for name in ("accession", "patient_id", "study_uid", "series_uid")}
