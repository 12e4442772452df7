"""A workstation: where a radiologist finds studies, fetches them and looks at them.

IHE actors: Image Display, Evidence Creator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from sqlite3 import OperationalError

from pydicom.dataset import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AllStoragePresentationContexts, build_context, evt

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import is_ae_title
from labsim.site import Site, WorkstationSite
from labsim.sop_classes import VERIFICATION
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import Facility, System, text_of
from labsim.systems.records import Record
from labsim.systems.workstation import cache
from labsim.systems.workstation.asking import Asking, Outcome
from labsim.systems.workstation.cache import Cache, CacheFull, has_its_uids
from labsim.table import Table
from labsim.wire.dimse import Call, DicomNode, Peer, Rejection
from labsim.wire.matching import values_of
from labsim.wire.network import Address
from labsim.wire.status import CALLING_TITLE_UNKNOWN, describe_status, failure

_SCHEMA = (
    cache.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS peers (
    ae_title TEXT PRIMARY KEY,      -- whose associations are accepted
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
)
_SETTINGS = {
    "archive": "AE title of the peer that is asked for studies",
    "destination": "AE title that a C-MOVE names: its own, as the archive knows it",
}


@dataclass(frozen=True)
class Retrieved(Record):
    """What came of fetching a study.

    Parameters
    ----------
    study_uid, accession : str
        Which study.
    method : str
        ``"C-MOVE"``, ``"C-GET"``, or empty if all of it was here already.
    expected : int
        How many instances the archive has of it.
    here : int
        How many of them are on the workstation's disk now.
    completed, failed, warnings : int
        Sub-operations, as the archive counts them.
    status : str
        Of the archive's last answer.
    """

    study_uid: str
    accession: str
    method: str
    expected: int
    here: int
    completed: int = 0
    failed: int = 0
    warnings: int = 0
    status: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of it is here."""
        return self.here == self.expected


class Workstation(System):
    """Finds studies in the archive, fetches them into its cache, and shows them.

    Parameters
    ----------
    site : Site
        Where the archive and the audit repository are.
    own : WorkstationSite
        Its own entry.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    cache : Cache
        The images on its disk.
    trail : AuditTrail
        Its audit trail.
    """

    def __init__(self, site: Site, own: WorkstationSite, facility: Facility) -> None:
        super().__init__(own.name, facility, _SCHEMA)
        self.ae_title = own.ae_title
        self._own = own
        self.cache = Cache(self)
        self.trail = AuditTrail(self, site.audit, ae_title=own.ae_title, host=own.host)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        self._asking = Asking(self._dicom, self._archive)
        if self.db.next("configured") == 1:
            for part in (site.pacs, site.desk):
                self._know(part.ae_title, part.host, part.dicom_port)
            self._set("archive", site.pacs.ae_title)
            self._set("destination", own.ae_title)

    def start(self) -> None:
        """Listen for images."""
        storage = [
            build_context(context.abstract_syntax or "", [*AllTransferSyntaxes])
            for context in AllStoragePresentationContexts
        ]
        listen = partial(
            self._dicom.listen,
            [build_context(VERIFICATION), *storage],
            [(evt.EVT_C_ECHO, lambda event: 0x0000), (evt.EVT_C_STORE, self._store)],
            admit=self._admit,
        )
        address = Address(self._own.host, self._own.dicom_port)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)
        self.trail.application(started=True)

    def resume(self) -> None:
        """Send what waits for the audit repository."""
        self.trail.resume()

    def stop(self) -> None:
        """Stop listening; what was received stays on disk."""
        ran = bool(self._services)
        self._close_services()
        if ran:
            self.trail.application(started=False)
        self.trail.close()
        super().stop()

    # Configuration

    def register_ae(self, ae_title: str, *, host: str, port: int) -> None:
        """Let an application entity store images here, and be asked for studies.

        Parameters
        ----------
        ae_title : str
            As it calls, letter for letter.
        host, port
            Where it listens.

        Raises
        ------
        ConfigurationError
            If title or port cannot be right.
        """
        if not is_ae_title(ae_title) or not 1 <= port <= 65535:
            raise ConfigurationError(
                f"{ae_title!r} at {host}:{port} is no application entity.",
                "Give a title of 1 to 16 characters, a host name and a port 1 to 65535.",
            )
        self._know(ae_title, host, port)
        self.note(f"AE title {ae_title} registered at {host}:{port}")

    def remove_ae(self, ae_title: str) -> None:
        """Let an application entity in no longer.

        Raises
        ------
        NotFound
            If it is not registered.
        """
        if not self.db.run("DELETE FROM peers WHERE ae_title = ?", ae_title):
            raise NotFound(
                f"{self.name} does not know the AE title {ae_title!r}.",
                "peers() lists those that it knows.",
            )
        self.note(f"AE title {ae_title} removed")

    def peers(self) -> Table:
        """Return the application entities that it knows."""
        archive = self.setting("archive")
        rows = [
            (*row, "is asked for studies" if row["ae_title"] == archive else "")
            for row in self.db.rows("SELECT ae_title, host, port FROM peers ORDER BY ae_title")
        ]
        columns = ("AE title", "host", "port", "archive")
        return Table(columns, rows, f"Known to {self.ae_title}")

    def configure(self, name: str, value: str) -> None:
        """Change a setting.

        Parameters
        ----------
        name : str
            ``"archive"`` or ``"destination"``, as `settings` explains them.
        value : str
            An AE title.

        Raises
        ------
        ConfigurationError
            If there is no such setting, or the value is no AE title.
        """
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"A workstation has no setting {name!r}.", f"Use {', '.join(_SETTINGS)}."
            )
        if not is_ae_title(value):
            raise ConfigurationError(f"{value!r} is no AE title.", "1 to 16 characters.")
        self._set(name, value)
        self.note(f"{name} set to {value}")

    def settings(self) -> Table:
        """Return the settings, with what each is."""
        rows = [(name, self.setting(name), words) for name, words in _SETTINGS.items()]
        return Table(("setting", "value", "what it is"), rows, f"Settings of {self.name}")

    def setting(self, name: str) -> str:
        """Return the value of a setting."""
        return str(self.db.value("SELECT value FROM settings WHERE name = ?", name))

    # Query and retrieve

    def find(
        self,
        *,
        name: str = "",
        patient_id: str = "",
        accession: str = "",
        date: str = "",
        modality: str = "",
    ) -> Table:
        """Search the archive for studies (C-FIND, RAD-14).

        Parameters
        ----------
        name : str
            How the patient's name begins, or with wild cards of one's own.
        patient_id, accession : str
            Whole, or with wild cards.
        date : str
            ``"20260302"``, or a range such as ``"20260301-20260307"``.
        modality : str
            Modalities in Study (0008,0061).

        Returns
        -------
        Table
            A study a row, with how many of its images are here.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the archive does not answer.
        """
        found = self._asking.studies(
            {
                "PatientName": f"{name}*" if name and not set(name) & set("*?") else name,
                "PatientID": patient_id,
                "AccessionNumber": accession,
                "StudyDate": date,
                "ModalitiesInStudy": modality,
            }
        )
        rows = [
            (
                *(text_of(study.get(keyword)) for keyword in (
                    "PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber",
                )),
                "\\".join(values_of(study["ModalitiesInStudy"])),
                text_of(study.get("StudyDescription")),
                text_of(study.get("NumberOfStudyRelatedInstances")),
                len(self.cache.uids(str(study.StudyInstanceUID))),
                str(study.StudyInstanceUID),
            )
            for study in found
        ]  # fmt: skip
        columns = ("name", "patient ID", "born", "date", "accession", "modalities", "description")
        caption = f"{len(rows)} studies at {self.setting('archive')}"
        return Table((*columns, "images", "here", "study"), rows, caption)

    def retrieve(self, study: str, *, method: str = "C-MOVE") -> Retrieved:
        """Fetch a study into the cache, as far as it is not here (RAD-16).

        Parameters
        ----------
        study : str
            Accession number or Study Instance UID.
        method : str
            ``"C-MOVE"`` to itself, for which the archive must know it, or
            ``"C-GET"`` over the association that asks.

        Raises
        ------
        NotFound
            If the archive has no such study.
        ConfigurationError
            If the method is none of the two, or several studies have the accession number.
        AssociationFailed, DimseFailed
            If the archive does not answer, or refuses; what came before is kept.
        """
        return self._fetch(self._study(study), method)

    def _study(self, study: str) -> Dataset:
        """Return what the archive says of one study."""
        keyword = "StudyInstanceUID" if _is_uid(study) else "AccessionNumber"
        found = self._asking.studies({keyword: study}) if study else []
        archive = self.setting("archive")
        if not found:
            raise NotFound(
                f"{archive} has no study {study!r}.",
                "find(…) shows what it has; give an accession number or a Study Instance UID.",
            )
        if len(found) > 1:
            uids = ", ".join(str(each.StudyInstanceUID) for each in found)
            raise ConfigurationError(
                f"{archive} has {len(found)} studies of accession number {study!r}.",
                f"Name one of them: {uids}.",
            )
        return found[0]

    def _fetch(self, study: Dataset, method: str = "C-MOVE") -> Retrieved:
        if method not in ("C-MOVE", "C-GET"):
            raise ConfigurationError(
                f"Studies are not fetched by {method!r}.", 'Use "C-MOVE" or "C-GET".'
            )
        uid = str(study.StudyInstanceUID)
        images = self._asking.images(uid)
        here = self.cache.uids(uid)
        missing = [image for image in images if str(image.SOPInstanceUID) not in here]
        self.cache.use(uid)
        outcome: Outcome | None = None
        if missing and method == "C-GET":
            outcome = self._asking.get(uid, missing, self._store)
        elif missing:
            series = list(dict.fromkeys(str(image.SeriesInstanceUID) for image in missing))
            outcome = self._asking.move(uid, series, self.setting("destination"))
        here = self.cache.uids(uid) & {str(image.SOPInstanceUID) for image in images}
        accession = text_of(study.get("AccessionNumber"))
        retrieved = Retrieved(uid, accession, "", len(images), len(here))
        if outcome:
            retrieved = replace(
                retrieved,
                method=method,
                completed=outcome.completed,
                failed=outcome.failed,
                warnings=outcome.warnings,
                status=describe_status(outcome.status),
            )
            self.note(
                f"study fetched by {method}: {retrieved.here} of {retrieved.expected} are here",
                kind="state" if retrieved.complete else "error",
                study_uid=uid,
                accession=retrieved.accession,
                patient_id=text_of(study.get("PatientID")),
            )
        return retrieved

    # What comes in

    def _admit(self, call: Call) -> Rejection | None:
        known = self.db.row("SELECT 1 FROM peers WHERE ae_title = ?", call.calling)
        if known is not None:
            return None
        self.note(f"association of {call.calling} rejected: not registered here", kind="error")
        return CALLING_TITLE_UNKNOWN

    def _store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE; what is answered with success is on disk."""
        header = event.dataset
        if not has_its_uids(header):
            return failure(0xA900, "an image without its UIDs")
        try:
            self.cache.keep(event.encoded_dataset(), header)
        except (CacheFull, OSError, OperationalError) as error:
            why = error.what if isinstance(error, CacheFull) else str(error)
            self.note(f"image not taken: {why}", kind="error", sop_uid=str(header.SOPInstanceUID))
            return failure(0xA700, "no room for the image")
        return 0x0000

    # Rows

    def _archive(self) -> Peer:
        title = self.setting("archive")
        row = self.db.row("SELECT host, port FROM peers WHERE ae_title = ?", title)
        if row is None:
            raise ConfigurationError(
                f"{self.name} does not know where {title} is.",
                "Use register_ae(…) for it, or configure('archive', …) for another one.",
            )
        return Peer(title, row["host"], row["port"])

    def _know(self, ae_title: str, host: str, port: int) -> None:
        self.db.upsert("peers", "ae_title", ae_title=ae_title, host=host, port=port)

    def _set(self, name: str, value: str) -> None:
        self.db.upsert("settings", "name", name=name, value=value)


def _is_uid(text: str) -> bool:
    return "." in text and UID(text).is_valid
