"""The importer: discs from other hospitals, and a clerk who says whose they are.

IHE actors: Portable Media Importer (PDI), Importer (Import Reconciliation
Workflow, IRWF).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from labsim.errors import ConfigurationError, DimseFailed, LabError
from labsim.ids import is_ae_title, make_uid
from labsim.media.reading import Content, Limits, opened, read_disc
from labsim.site import ImporterSite, Site
from labsim.sop_classes import MPPS, VERIFICATION
from labsim.systems.facility import Facility, System, text_of
from labsim.systems.importer import queue
from labsim.systems.importer.asking import Asking, status_of
from labsim.systems.importer.coercion import Coercion, Destination
from labsim.systems.importer.identity import Match, compare, described
from labsim.systems.importer.queue import Import, Queue, copy_name, studies_of
from labsim.systems.importer.steps import import_begun, import_completed
from labsim.systems.records import Patient
from labsim.table import Table
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.network import Address
from labsim.wire.status import describe_status

_SCHEMA = (
    queue.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS peers (
    service  TEXT PRIMARY KEY,      -- worklist, mpps, query, store
    ae_title TEXT NOT NULL,
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL
);
"""
)
SERVICES = ("worklist", "mpps", "query", "store")
_MOST_CONTEXTS = 128  # an association has no more presentation contexts (PS3.8 9.3.2.2)


@dataclass(frozen=True)
class Reading:
    """What came of reading a disc.

    Parameters
    ----------
    disc : str
        Its name.
    imports : list of Import
        The studies that wait for a clerk now.
    refused : list of (file, reason)
        Files that were not taken.
    mismatches : list of (file, reason)
        Where DICOMDIR and files do not agree.
    """

    disc: str
    imports: list[Import]
    refused: list[tuple[str, str]]
    mismatches: list[tuple[str, str]]

    def table(self) -> Table:
        """Return what was found wrong."""
        rows = [("refused", *finding) for finding in self.refused]
        rows += [("DICOMDIR", *finding) for finding in self.mismatches]
        images = sum(study.images for study in self.imports)
        caption = (
            f"{self.disc}: {len(self.imports)} studies with {images} images wait to be reconciled, "
            f"{len(self.refused)} files refused, {len(self.mismatches)} remarks on the DICOMDIR"
        )
        return Table(("what", "file", "reason"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


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
        self._own = own
        self._discs = self.folder / "discs"
        self._discs.mkdir(exist_ok=True)
        self._queue = Queue(self.db)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        self._asking = Asking(self._dicom, self.peer, facility.issuer)
        if self.db.next("configured") == 1:
            ris = (site.ris.ae_title, site.ris.host, site.ris.dicom_port)
            pacs = (site.pacs.ae_title, site.pacs.host, site.pacs.dicom_port)
            for service, peer in zip(SERVICES, (ris, ris, pacs, pacs), strict=True):
                title, host, port = peer
                self.db.insert("peers", service=service, ae_title=title, host=host, port=port)

    def start(self) -> None:
        """Listen for C-ECHO."""
        port = self._dicom.listen(
            [build_context(VERIFICATION)],
            [(evt.EVT_C_ECHO, lambda event: 0x0000)],
            port=self.fixed_port("dicom"),
        )
        address = Address(self._own.host, self._own.dicom_port)
        self.published("dicom", address, port, self.ae_title)

    def stop(self) -> None:
        """Stop listening; what waits stays on disk."""
        self._dicom.close()
        super().stop()

    # Configuration

    def configure(self, service: str, *, ae_title: str, host: str, port: int) -> None:
        """Set whom the importer calls.

        Parameters
        ----------
        service : str
            ``"worklist"``, ``"mpps"``, ``"query"`` or ``"store"``.
        ae_title, host, port
            The peer.

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
        self.db.upsert("peers", "service", service=service, ae_title=ae_title, host=host, port=port)
        self.note(f"{service} set to {ae_title} at {host}:{port}")

    def peers(self) -> Table:
        """Return whom the importer calls for what."""
        rows = self.db.rows("SELECT service, ae_title, host, port FROM peers ORDER BY rowid")
        return Table(("service", "AE title", "host", "port"), rows, f"Peers of {self.ae_title}")

    def peer(self, service: str) -> Peer:
        """Return whom the importer calls for a service."""
        row = self.db.row("SELECT ae_title, host, port FROM peers WHERE service = ?", service)
        assert row is not None
        return Peer(row["ae_title"], row["host"], row["port"])

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
            try:
                number, numbers = self._keep(path.name, medium, content, not_unpacked)
            except OSError as error:
                raise ConfigurationError(
                    f"{path.name} cannot be copied: {error.strerror}.",
                    "Look whether the disc can be read and the importer's own has room.",
                ) from error
        refused = [*not_unpacked, *content.refused]
        studies = [self._queue.get(study) for study in numbers]
        reading = Reading(path.name, studies, refused, content.mismatches)
        self.note(f"disc {number} read: {reading.table().caption}")
        for study in studies:
            self._propose(study)
        return reading

    def _keep(
        self, name: str, medium: str, content: Content, not_unpacked: list[tuple[str, str]]
    ) -> tuple[int, list[int]]:
        """Copy the files of a disc, which is taken out again, and enter them into the queue."""
        with self.db.transaction():
            disc = self._queue.add_disc(name, medium, self.now())
            self._queue.add_findings(disc, "refused", [*not_unpacked, *content.refused])
            self._queue.add_findings(disc, "DICOMDIR", content.mismatches)
            copies = 0
            numbers = []
            for images in studies_of(content.images):
                entries = []
                for image in images:
                    copies += 1
                    target = self._discs / copy_name(disc, copies)
                    target.parent.mkdir(exist_ok=True)
                    shutil.copyfile(image.path, target)
                    entries.append((image, copy_name(disc, copies).as_posix()))
                numbers.append(self._queue.add_study(disc, entries))
        return disc, numbers

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
        self._tell_ris(lambda ris: ris.send_n_create(begun, MPPS, uid), "MPPS N-CREATE")
        kept = json.dumps(asdict(to), ensure_ascii=False)
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
        """Send what is not sent, and return why some was not; empty if the archive has all."""
        images = self._queue.images(number, sent=False)
        source = self._queue.get(number).source
        coercion = Coercion(self.ae_title, self.facility.institution, self.facility.clock.now())
        kinds = dict.fromkeys((image["sop_class"], image["syntax"]) for image in images)
        problem = ""
        for batch in _batches([build_context(*kind) for kind in kinds]):
            accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in batch}
            mine = [i for i in images if (i["sop_class"], i["syntax"]) in accepted]
            try:
                with self._dicom.associate(self.peer("store"), batch) as archive:
                    for image in mine:
                        dataset = dcmread(self._discs / image["file"])
                        coercion.apply(dataset, to, source)
                        problem = self._send_one(archive, image["id"], dataset) or problem
            except (LabError, OSError, RuntimeError) as error:
                # RuntimeError: the association has ended.
                problem = error.what if isinstance(error, LabError) else str(error)
        return problem

    def _send_one(self, archive: Association, image: int, dataset: Dataset) -> str:
        """Send one image, and return why it was not taken; empty if it was."""
        try:
            code = status_of(archive.send_c_store(dataset), "C-STORE")
        except ValueError as error:  # no accepted presentation context fits
            answer, taken = str(error), False
        else:
            answer = describe_status(code)
            taken = code == 0x0000 or 0xB000 <= code <= 0xBFFF
        self._queue.answered(image, taken, answer)
        return "" if taken else answer

    def _end_step(self, number: int) -> None:
        images = self._queue.images(number, sent=True)
        changes = import_completed(images, self.facility.clock.now())
        uid = self._queue.mpps_uid(number)
        self._tell_ris(lambda ris: ris.send_n_set(changes, MPPS, uid), "MPPS N-SET")

    def _tell_ris(
        self, request: Callable[[Association], tuple[Dataset, Dataset | None]], name: str
    ) -> None:
        with self._dicom.associate(self.peer("mpps"), [build_context(MPPS)]) as ris:
            status, _ = request(ris)
        code = status_of(status, name)
        if code != 0x0000 and not 0x0001 <= code <= 0x00FF and code not in (0x0107, 0x0116):
            comment = f" ({status.ErrorComment})" if "ErrorComment" in status else ""
            raise DimseFailed(f"{name} failed: {describe_status(code)}{comment}.", status=code)

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


def _batches(contexts: list[PresentationContext]) -> list[list[PresentationContext]]:
    return [
        contexts[first : first + _MOST_CONTEXTS]
        for first in range(0, len(contexts), _MOST_CONTEXTS)
    ]
