"""The importer: discs from other hospitals, and a clerk who says whose they are.

IHE actors: Portable Media Importer (PDI), Importer (Import Reconciliation
Workflow, IRWF).
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt

from labsim.errors import ConfigurationError, LabError
from labsim.ids import is_ae_title, make_uid
from labsim.media.reading import Limits, opened, read_disc
from labsim.site import ImporterSite, Site
from labsim.sop_classes import MPPS, VERIFICATION
from labsim.systems.facility import Facility, System, text_of
from labsim.systems.importer import queue
from labsim.systems.importer.asking import Asking
from labsim.systems.importer.coercion import Coercion, Destination
from labsim.systems.importer.discs import Reading, keep_disc
from labsim.systems.importer.identity import Match, compare, described
from labsim.systems.importer.queue import Import, Queue
from labsim.systems.importer.sending import Sending
from labsim.systems.importer.steps import import_begun, import_completed
from labsim.systems.records import Patient
from labsim.systems.secured import serve_by_tls
from labsim.table import Table
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.network import Address

_SCHEMA = (
    queue.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS peers (
    service  TEXT PRIMARY KEY,      -- worklist, mpps, query, store
    ae_title TEXT NOT NULL,
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL,
    tls      INTEGER NOT NULL DEFAULT 0
);
"""
)
SERVICES = ("worklist", "mpps", "query", "store")


class Importer(System):
    """Takes discs in, holds them until a clerk decides, and stores them under our identity.

    Nothing from outside goes to the archive by itself.

    Parameters
    ----------
    site : Site
        Where its peers are.
    own : ImporterSite
        Its own entry.
    facility : Facility
        What it shares with the others.
    """

    def __init__(self, site: Site, own: ImporterSite, facility: Facility) -> None:
        super().__init__("importer", facility, _SCHEMA)
        self.ae_title = own.ae_title
        self._site = site
        self._own = own
        self._discs = self.folder / "discs"
        self._discs.mkdir(exist_ok=True)
        self._queue = Queue(self.db)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        self._asking = Asking(self._dicom, self.peer, facility.issuer)
        self._sending = Sending(self._dicom, self.peer, self._queue, self._discs)
        with self.db.transaction():  # who is cut off here begins anew
            if self.db.next("configured") == 1:
                ris, pacs = Peer(*site.dicom_place(site.ris)), Peer(*site.dicom_place(site.pacs))
                for service, peer in zip(SERVICES, (ris, ris, pacs, pacs), strict=True):
                    self.db.insert("peers", service=service, **vars(peer))

    def start(self) -> None:
        """Listen for C-ECHO."""
        answering = (
            [build_context(VERIFICATION)],
            [(evt.EVT_C_ECHO, lambda event: 0x0000)],
        )
        address = Address(self._own.host, self._own.dicom_port)
        listen = partial(self._dicom.listen, *answering)
        self.serve("dicom", address, self.ae_title, listen, self._dicom.close)
        if self._site.security.dicom_calls:
            address = Address(self._own.host, self._own.dicom_tls_port)
            serve_by_tls(self, self._site, address, answering, title=self.ae_title)

    def stop(self) -> None:
        """Stop listening; what waits stays on disk."""
        self._close_services()
        super().stop()

    # Configuration

    def configure(
        self, service: str, *, ae_title: str, host: str, port: int, tls: bool = False
    ) -> None:
        """Set whom the importer calls.

        Parameters
        ----------
        service : str
            ``"worklist"``, ``"mpps"``, ``"query"`` or ``"store"``.
        ae_title, host, port
            The peer.
        tls : bool
            Whether it is called by TLS.

        Raises
        ------
        ConfigurationError
            If the service is unknown, or the title cannot be right.
        """
        if service not in SERVICES:
            raise ConfigurationError(
                f"The importer has no service {service!r}.", f"Use {', '.join(SERVICES)}."
            )
        if not is_ae_title(ae_title):
            raise ConfigurationError(f"{ae_title!r} is no AE title.", "1 to 16 characters.")
        peer = {"ae_title": ae_title, "host": host, "port": port, "tls": tls}
        self.db.upsert("peers", "service", service=service, **peer)
        self.note(f"{service} set to {ae_title} at {host}:{port}{' by TLS' * tls}")

    def peers(self) -> Table:
        """Return whom the importer calls for what."""
        rows = self.db.rows(
            "SELECT service, ae_title, host, port, CASE tls WHEN 1 THEN 'yes' ELSE 'no' END "
            "FROM peers ORDER BY rowid"
        )
        columns = ("service", "AE title", "host", "port", "TLS")
        return Table(columns, rows, f"Peers of {self.ae_title}")

    def peer(self, service: str) -> Peer:
        """Return whom the importer calls for a service."""
        row = self.db.row("SELECT ae_title, host, port, tls FROM peers WHERE service = ?", service)
        assert row is not None
        return Peer(row["ae_title"], row["host"], row["port"], bool(row["tls"]))

    # Discs

    def insert(self, disc: Path | str, limits: Limits | None = None) -> Reading:
        """Read a disc, and put what is on it into the queue.

        Parameters
        ----------
        disc : Path or str
            A folder, or a ZIP file of one.
        limits : Limits, optional
            How much is taken at most.

        Returns
        -------
        Reading
            The studies that wait now, and what was refused and why.

        Raises
        ------
        ConfigurationError
            If it is no disc, or holds too much.
        """
        path = Path(disc)
        medium = "CD" if path.is_dir() else "file"
        with opened(path, limits) as (folder, not_unpacked):
            content = read_disc(folder, limits)
            content = replace(content, refused=[*not_unpacked, *content.refused])
            try:
                number, numbers = keep_disc(
                    self.db, self._queue, self._discs, path.name, medium, content, self.now()
                )
            except OSError as error:
                raise ConfigurationError(
                    f"{path.name} cannot be copied: {error.strerror}.",
                    "Look whether the disc can be read and the importer's own has room.",
                ) from error
        studies = [self._queue.get(study) for study in numbers]
        reading = Reading(path.name, studies, content.refused, content.mismatches)
        self.note(f"disc {number} read: {reading.table().caption}")
        for study in studies:
            self._propose(study)
        return reading

    def _propose(self, study: Import) -> None:
        """Keep who fits best at this moment, for the list of what waits."""
        try:
            owner = self._asking.owner_of(study.study_uid)
            matches = self._asking.matches(study.theirs)
        except LabError as error:
            proposal = f"not asked: {error.what}"
        else:
            if owner is not None:
                proposal = f"in the archive already, of {described(owner)}"
            elif matches:
                best = matches[0]
                reasons = "; ".join(best.reasons)
                proposal = f"{best.score}: {described(best.patient)} ({reasons})"
            else:
                proposal = "nobody here is like this patient"
        self._queue.change(study.number, proposal=proposal)

    # The clerk

    def imports(self) -> Table:
        """Return every study that came on a disc, with who fitted best when it came."""
        rows = [
            (
                study.number,
                study.disc,
                described(study.theirs),
                study.source,
                study.study_date,
                f"{study.modality} {study.description}".strip(),
                f"{study.stored} of {study.images}",
                study.state,
                self._queue.proposal(study.number),
            )
            for study in self._queue.all()
        ]
        columns = (
            "number", "disc", "patient on the disc", "from", "date", "study", "stored", "state",
            "best match",
        )  # fmt: skip
        return Table(columns, rows, "Studies from outside")

    def study(self, number: int) -> Import:
        """Return one study of the queue.

        Raises
        ------
        NotFound
            If there is none of that number.
        """
        return self._queue.get(number)

    def matches(self, number: int) -> list[Match]:
        """Ask the archive and the worklist who of our patients may be meant.

        Parameters
        ----------
        number : int
            Of the queue.

        Returns
        -------
        list of Match
            The best first.

        Raises
        ------
        NotFound
            If there is no such study.
        AssociationFailed, DimseFailed
            If archive or RIS do not answer.
        """
        return self._asking.matches(self._queue.get(number).theirs)

    def worklist(self) -> list[Dataset]:
        """Return the orders to import that are scheduled (C-FIND at the RIS, RAD-5).

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not answer.
        """
        return self._asking.worklist()

    def reconcile(
        self,
        number: int,
        patient_id: str = "",
        *,
        accession: str = "",
        although_different: bool = False,
    ) -> Import:
        """Say whose a study is, and store it in the archive under that identity (IRWF).

        The RIS is told when it begins and ends (MPPS), the images go by C-STORE.
        With an order to import, patient and accession number come from the worklist
        (scheduled import); without one the patient comes from the archive or the
        worklist, and the accession number stays empty (unscheduled import).

        Parameters
        ----------
        number : int
            Of the queue.
        patient_id : str
            A number of this hospital; not needed with an accession number.
        accession : str
            Of an order to import.
        although_different : bool
            Store it even though name, birth date or sex say that it is somebody
            else. For a clerk who has asked, after a marriage for example.

        Returns
        -------
        Import
            Now ``STORED``, or ``INCOMPLETE`` if the archive has not taken all.

        Raises
        ------
        NotFound
            If there is no such study, patient or order.
        ConfigurationError
            If it is decided already, nobody was named, or the patient is another one.
        AssociationFailed, DimseFailed
            If RIS or archive do not answer; the study waits as before.
        """
        study = self._queue.get(number)
        if study.state != "WAITING":
            raise ConfigurationError(
                f"Study {number} is {study.state} already.",
                "send(number) sends what the archive does not have.",
            )
        to = self._destination(patient_id, accession)
        self._require_same(study, to.patient, although_different)
        self._require_free(study, to.patient)
        uid = make_uid("import step", self.facility.seed, self.name, self.db.next("step"))
        medium, now = self._queue.medium(number), self.facility.clock.now()
        begun = import_begun(study, to, self.ae_title, medium, now, uid)
        self._sending.tell_ris(lambda ris: ris.send_n_create(begun, MPPS, uid), "MPPS N-CREATE")
        kept = json.dumps(asdict(to) | {"patient": to.patient.columns}, ensure_ascii=False)
        self._queue.change(number, state="INCOMPLETE", destination=kept, mpps_uid=uid)
        what = f"study {number} from {study.source} is {described(to.patient)}"
        if although_different:
            what += ", although it differs"
        self._note(number, what)
        return self.send(number)

    def send(self, number: int) -> Import:
        """Send what the archive does not have of a reconciled study (C-STORE), and end its step.

        Returns
        -------
        Import
            ``STORED`` when the archive has all of it.

        Raises
        ------
        NotFound
            If there is no such study.
        ConfigurationError
            If nobody has said whose it is.
        AssociationFailed, DimseFailed
            If the RIS does not take the end of the step.
        """
        to = self._queue.destination(number)
        if not to:
            raise ConfigurationError(
                f"Nobody has said whose study {number} is.", "Use reconcile(number, …) first."
            )
        destination = Destination(**(to | {"patient": Patient(**to["patient"])}))
        problem = self._store(number, destination)
        if problem:
            self._note(number, f"study {number} is not complete: {problem}", kind="error")
            return self._queue.get(number)
        if self._queue.get(number).state != "STORED":
            self._end_step(number)
            self._queue.change(number, state="STORED")
            self._note(number, f"study {number} stored: {self._queue.get(number).images} images")
        return self._queue.get(number)

    def reject(self, number: int, reason: str) -> Import:
        """Take a study out of the queue: it is not ours to keep.

        Parameters
        ----------
        number : int
            Of the queue.
        reason : str
            Why, for the journal.

        Raises
        ------
        NotFound
            If there is no such study.
        ConfigurationError
            If it is decided already.
        """
        study = self._queue.get(number)
        if study.state != "WAITING":
            raise ConfigurationError(f"Study {number} is {study.state} already.")
        self._queue.change(number, state="REJECTED")
        for image in self._queue.images(number, sent=False):
            (self._discs / image["file"]).unlink(missing_ok=True)
        self._note(number, f"study {number} from {study.source} rejected: {reason}")
        return self._queue.get(number)

    def findings(self, disc: int) -> Table:
        """Return what was found wrong with a disc when it was read."""
        columns = ("what", "file", "reason")
        return Table(columns, self._queue.findings(disc), f"Findings on disc {disc}")

    # How

    def _destination(self, patient_id: str, accession: str) -> Destination:
        if not accession:
            if not patient_id:
                raise ConfigurationError(
                    "Nobody was named.", "Give a patient ID of this hospital, or accession=…."
                )
            return Destination(self._asking.patient(patient_id))
        entry = self._asking.order(accession)
        patient = queue.patient_of_image(entry)
        if patient_id not in ("", patient.patient_id, f"{patient.patient_id}^^^{patient.issuer}"):
            raise ConfigurationError(
                f"Order {accession} is of {described(patient)}, not of {patient_id}."
            )
        step = entry.ScheduledProcedureStepSequence[0]
        return Destination(
            patient,
            accession,
            text_of(entry.get("RequestedProcedureID")),
            text_of(step.get("ScheduledProcedureStepID")),
            text_of(entry.get("RequestedProcedureDescription")),
        )

    def _require_same(self, study: Import, ours: Patient, although_different: bool) -> None:
        match = compare(study.theirs, ours)
        if match.same or although_different:
            return
        reasons = "; ".join(match.reasons)
        raise ConfigurationError(
            f"Study {study.number} is of {described(study.theirs)}, and {described(ours)} "
            f"is somebody else: {reasons}.",
            "If they are one person all the same, say although_different=True.",
        )

    def _require_free(self, study: Import, ours: Patient) -> None:
        owner = self._asking.owner_of(study.study_uid)
        if owner and (owner.patient_id, owner.issuer) != (ours.patient_id, ours.issuer):
            raise ConfigurationError(
                f"The archive has study {study.study_uid} already, of {described(owner)}.",
                "A study has one patient: correct it in the archive, or reject this one.",
            )

    def _store(self, number: int, to: Destination) -> str:
        source = self._queue.get(number).source
        coercion = Coercion(self.ae_title, self.facility.institution, self.facility.clock.now())
        return self._sending.store(number, lambda image: coercion.apply(image, to, source))

    def _end_step(self, number: int) -> None:
        images = self._queue.images(number, sent=True)
        changes = import_completed(images, self.facility.clock.now())
        uid = self._queue.mpps_uid(number)
        self._sending.tell_ris(lambda ris: ris.send_n_set(changes, MPPS, uid), "MPPS N-SET")

    def _note(self, number: int, what: str, kind: str = "state") -> None:
        study, to = self._queue.get(number), self._queue.destination(number)
        self.note(
            what,
            kind=kind,
            study_uid=study.study_uid,
            patient_id=to["patient"]["patient_id"] if to else "",
            accession=to["accession"] if to else "",
            mpps_uid=self._queue.mpps_uid(number),
        )

    def table(self) -> Table:
        """Return every study that came on a disc."""
        return self.imports()
