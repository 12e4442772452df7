"""PACS, the picture archiving and communication system.

IHE actors: Image Manager, Image Archive, Portable Media Creator.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, AllTransferSyntaxes, ExplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts, build_context, evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext

from labsim.errors import LabError
from labsim.media.creator import Disc
from labsim.site import (
    AiSite,
    DeskSite,
    ImporterSite,
    ModalitySite,
    PacsSite,
    RisSite,
    Site,
    WorkstationSite,
)
from labsim.sop_classes import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    VERIFICATION,
)
from labsim.systems.facility import Facility, text_of
from labsim.systems.gauges import Gauge, associations, waiting
from labsim.systems.messages import UPDATES, patient_of, prior_of
from labsim.systems.order_messages import study_of
from labsim.systems.pacs import (
    backup,
    commitment,
    documents,
    entities,
    index,
    negotiation,
    operations,
    settings,
    stewardship,
)
from labsim.systems.pacs.access import needs
from labsim.systems.pacs.entities import Entities, Entity
from labsim.systems.pacs.exporting import Exporting
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.systems.pacs.operations import Operated
from labsim.systems.pacs.overlay import Overlay
from labsim.systems.pacs.reconciling import Reconciling
from labsim.systems.pacs.retrieving import TOP_LEVEL, Retrieving
from labsim.systems.pacs.sending import Sending
from labsim.systems.pacs.settings import Settings
from labsim.systems.pacs.stewardship import Stewardship
from labsim.systems.pacs.storing import Storing
from labsim.systems.pacs.visibility import Visibility
from labsim.systems.records import Patient
from labsim.systems.secured import serve_by_tls
from labsim.systems.web import service as web
from labsim.systems.web import stow, wado
from labsim.systems.web.holdings import Holdings
from labsim.table import Table
from labsim.wire.answering import Service
from labsim.wire.dimse import Call, DicomNode, Rejection, instance_of
from labsim.wire.hl7 import Message
from labsim.wire.mllp import MllpEndpoint, Taken
from labsim.wire.network import Address
from labsim.wire.retrieve import RetrieveService
from labsim.wire.status import CALLING_TITLE_UNKNOWN, failure

_SCHEMA = (
    entities.SCHEMA
    + index.SCHEMA
    + commitment.SCHEMA
    + settings.SCHEMA
    + stewardship.SCHEMA
    + operations.SCHEMA
    + web.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS expected_studies (
    study_uid    TEXT PRIMARY KEY,
    accession    TEXT NOT NULL,     -- of a group case several, a backslash between
    patient_id   TEXT NOT NULL,
    issuer       TEXT NOT NULL,
    description  TEXT NOT NULL,
    announced_at TEXT NOT NULL
);
"""
)

DicomPart = ModalitySite | RisSite | DeskSite | ImporterSite | PacsSite | AiSite | WorkstationSite


class Pacs(Operated, Stewardship):
    """Stores images, answers queries, sends images, promises to keep them.

    Parameters
    ----------
    site : Site
        Whom it knows at first: the scanners, the RIS and the desk.
    facility : Facility
        What it shares with the others.
    own : PacsSite, optional
        Its own entry in the site; the PACS's if left out.
    name : str
        Its name in the hospital.

    Attributes
    ----------
    schema : str
        Its tables.
    """

    schema = _SCHEMA

    def __init__(
        self, site: Site, facility: Facility, own: PacsSite | None = None, name: str = "pacs"
    ) -> None:
        super().__init__(name, facility, self.schema)
        self._site = site
        self._own = own = own or site.pacs
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        self._hl7 = MllpEndpoint(
            self.name, facility.journal, facility.clock, facility.network, facility.loop
        )
        self._files = self._store()
        self._index = Index(self.db)
        self._entities = Entities(self.db)
        if self.db.value("SELECT value FROM counters WHERE name = 'configured'") is None:
            for part in self._known_at_first(site):
                title, host, port, by_tls = site.dicom_place(part)
                self._entities.register(Entity(title, host, port, tls=by_tls))
        self._settings = Settings(self.db)
        parts = (self._index, self._files, self._entities)
        self._storing = Storing(self, *parts, self._settings)
        self.visibility = Visibility(self.db, self._index, self._entities)
        sending = Sending(self._files, Overlay(self.db, own.ae_title))
        self._retrieving = Retrieving(
            *(self, self._dicom, self.visibility, self._entities, self._settings, sending)
        )
        self._exporting = Exporting(self, self.visibility.index(""), sending.dataset)
        self._steward(own.ae_title, self._dicom, *parts, self._storing, sending)
        self._reconciling = Reconciling(self, self._corrections, self._storing)
        self.operate(site, own, *parts, self._storing, self._queue, self.visibility.index)
        seen = partial(self.visibility.database, "")
        watching = (self.auditing, self.access)
        self.web = web.DicomWeb(self, self.trail, seen, own.ae_title, *watching)
        self.tokens = self.web.tokens
        shown = self.visibility.index("")
        holdings = (self, shown, self._files, sending, self.storage.fetched, self.auditing)
        self.web.offer(wado.routes, holdings=Holdings(*holdings))
        self.web.offer(stow.routes, storing=self._storing, auditing=self.auditing)
        self._hl7.refused = self.replication.refused = self.trail.not_authenticated
        for guarded in (self.routes, self.prefetch, self.qc, self.visibility):
            guarded.access = self.access
        self._route_at_first(site, own)
        self._retrieving.fetch = self.storage.fetched
        self.prefetched.append(self.storage.bring)
        if not backup.just_restored(self.folder):  # else it is the administrator's to mend
            self._storing.repair()

    def _store(self) -> FileStore:
        """Return where its files lie."""
        return FileStore(self.folder, self.facility.room)

    def _route_at_first(self, site: Site, own: PacsSite) -> None:
        """Set up what it sends of its own accord, and be set up: one cut off here begins anew."""
        with self.db.transaction():
            new, ai = self.db.next("configured") == 1, site.ai
            if new and own is site.pacs and ai is not None and ai.route is not None:
                route = ai.route
                how: dict[str, Any] = {"quiet": route.quiet, "enabled": route.enabled}
                self.routes.add("ai", ai.ae_title, **how | route.images)

    def _known_at_first(self, site: Site) -> list[DicomPart]:
        """Return whom it lets in before anybody has configured it."""
        others = [part for part in (site.importer, site.archive, site.ai) if part is not None]
        return [*site.modalities, site.ris, site.desk, *others, *site.workstations]

    def gauges(self) -> list[Gauge]:
        """Return what it keeps, what waits to be sent, and how full it is."""
        count = "SELECT COUNT(*) FROM"
        found = [
            *super().gauges(),
            associations(self._dicom),
            Gauge("studies", "Studies in the index.", self.db.value(f"{count} studies")),
            Gauge("images", "Images in the index.", self.db.value(f"{count} instances")),
            waiting("send", self.db.value(f"{count} send_queue WHERE state = 'waiting'")),
        ]
        if quota := self._files.quotas.get("online", 0):
            share = self._files.used("online") / quota
            found.append(Gauge("disk_used_ratio", "Part of the quota that is used.", share))
        return found

    def start(self) -> None:
        """Listen for DICOM associations and for HL7 orders and updates."""
        own = self._own
        retrieve = RetrieveService(self._dicom, self._retrieving.retrieve)
        answering = (
            supported_contexts(),
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_C_STORE, self._storing.store),
                (evt.EVT_C_FIND, self._retrieving.find),
                (evt.EVT_SOP_EXTENDED, negotiation.answer),
                (evt.EVT_N_ACTION, self._commit_requested),
                *self.auditing.observers(),
            ],
        )
        services: dict[type, Service] = {C_MOVE: retrieve, C_GET: retrieve}
        answer = partial(self._dicom.listen, *answering, services=services, admit=self._admit)
        place = Address(own.host, own.dicom_port)
        self.serve("dicom", place, own.ae_title, answer, self._dicom.close)
        if self._site.security.dicom:
            serve_by_tls(
                self,
                self._site,
                Address(own.host, own.dicom_tls_port),
                answering,
                title=own.ae_title,
                refused=self.trail.not_authenticated,
                services=services,
                admit=self._admit,
            )
        takes = {
            "ORM^O01": Taken("RAD-4", self._take_order),
            "OMI^O23": Taken("RAD-4", self._take_order),
            **{kind: Taken("RAD-12", self._take_update) for kind in UPDATES},
            "ADT^A40": Taken("RAD-12", self._take_merge),
        }
        place = Address(own.host, own.hl7_port)
        listen = partial(self._hl7.listen, takes)
        protocol, close = self._hl7.protocol, self._hl7.close
        self.serve(protocol, place, own.application, listen, close, place="mllp")
        self.web.serve(Address(own.host, own.http_port))
        self.trail.application(started=True)

    def resume(self) -> None:
        """Take up what waited: corrections, sending, commitments and audit messages."""
        self.trail.resume()
        self.backups.start()
        self.replication.start()
        self._take_up()
        for transaction_uid, requested_by, references in commitment.waiting(self.db):
            self.worker.submit(self._report_commitment, transaction_uid, requested_by, references)

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait for the background work at hand, and for what is being sent."""
        return super().wait_until_idle(timeout) and self._queue.wait_until_idle(timeout)

    def stop(self) -> None:
        """Stop listening; what was acknowledged is on disk."""
        self.backups.stop()
        self.replication.stop()
        self._queue.halt()
        ran = bool(self._services)
        self._close_services()
        self._queue.close()
        self.visibility.close()
        if ran:
            self.trail.application(started=False)
        self.trail.close()
        super().stop()

    # Configuration

    @needs("configure")
    def register_ae(
        self,
        ae_title: str,
        *,
        host: str,
        port: int,
        may_store: bool = True,
        may_query: bool = True,
        transcode: bool = True,
        preferred_syntax: str = "",
        tls: bool = False,
    ) -> Entity:
        """Let an application entity in.

        Parameters
        ----------
        ae_title : str
            As it calls, letter for letter; 1 to 16 characters.
        host, port
            Where it listens.
        may_store, may_query : bool
            What it may ask for.
        transcode : bool
            Whether images may be compressed or decompressed for it.
        preferred_syntax : str
            Transfer syntax UID in which it is sent images where it takes
            that, such as ``"1.2.840.10008.1.2.4.80"`` for JPEG-LS; as they
            are stored if left out.
        tls : bool
            Whether it is called by TLS.

        Returns
        -------
        Entity
            As registered; an entry with the same title is replaced.

        Raises
        ------
        ConfigurationError
            If title, host, port or transfer syntax cannot be right.
        """
        # Spaces around a title do not count (PS3.5 6.2).
        entity = Entity(
            ae_title.strip(" "), host, port, may_store, may_query, transcode, preferred_syntax, tls
        )
        self._entities.register(entity)
        self._reconfigured(
            f"AE title {entity.ae_title} registered at {host}:{port}{' by TLS' * tls}"
        )
        return entity

    @needs("configure")
    def remove_ae(self, ae_title: str) -> Entity:
        """Let an application entity in no longer.

        Returns
        -------
        Entity
            What was registered.

        Raises
        ------
        NotFound
            If it is not registered.
        """
        entity = self._entities.remove(ae_title)
        self._reconfigured(f"AE title {ae_title} removed")
        return entity

    def known_ae(self, ae_title: str) -> Entity | None:
        """Return the registered application entity of a title, None if there is none."""
        return self._entities.get(ae_title)

    def ae_titles(self) -> Table:
        """Return the registered application entities."""
        rows = [
            (
                e.ae_title,
                e.host,
                e.port,
                "yes" if e.may_store else "no",
                "yes" if e.may_query else "no",
                UID(e.preferred_syntax).name if e.preferred_syntax else "as stored",
                "yes" if e.transcode else "no",
                "yes" if e.tls else "no",
            )
            for e in self._entities.all()
        ]
        columns = (
            "AE title",
            "host",
            "port",
            "may store",
            "may query",
            "is sent",
            "transcode",
            "TLS",
        )
        return Table(columns, rows, f"AE titles registered at {self.name}")

    @needs("configure")
    def configure_duplicates(self, policy: str) -> None:
        """Say what becomes of an instance whose SOP Instance UID is in the archive already.

        The same content again is success, and changes nothing. A UID that is
        in another series or study is always refused.

        Parameters
        ----------
        policy : str
            ``"keep"``: the first stays, and the sender hears success (at
            first; a UID names one content, and most archives do so).
            ``"replace"``: the new one takes its place. ``"reject"``: the new
            one is refused with 0x0111 Duplicate SOP Instance.

        Raises
        ------
        ConfigurationError
            If there is no such policy.
        """
        self._settings.set("duplicates", policy)
        self._reconfigured(f"duplicates: {policy}", "110131")

    @needs("configure")
    def configure_hierarchy(self, *, strict: bool) -> None:
        """Say whether queries and retrievals must be hierarchical (PS3.4 C.4.1.2.1).

        Parameters
        ----------
        strict : bool
            Whether keys of higher levels are refused with 0xA900, except the
            unique ones, unless relational queries or retrieval were
            negotiated. At first they are not, as in most archives.
        """
        self._settings.set("strict_hierarchy", "yes" if strict else "no")
        what = f"hierarchical requests {'required' if strict else 'not required'}"
        self._reconfigured(what, "110131")

    # What the archive holds

    def table(self) -> Table:
        """Return every study with its patient and counts."""
        rows = self.db.rows(
            "SELECT p.patient_id, p.name, st.study_date, st.accession, st.description, "
            "COUNT(DISTINCT se.id) AS series, COUNT(NULLIF(i.rows, '')) AS images "
            "FROM studies st JOIN patients p ON p.id = st.patient "
            "LEFT JOIN series se ON se.study = st.id LEFT JOIN instances i ON i.series = se.id "
            "GROUP BY st.id ORDER BY st.id"
        )
        columns = ("patient ID", "name", "date", "accession", "study", "series", "images")
        return Table(columns, rows, f"Studies in {self.name}")

    def count(self, study_uid: str) -> int:
        """Return how many images of a study are in the archive; a report is none."""
        return int(
            self.db.value(
                "SELECT COUNT(*) FROM instances i JOIN series se ON se.id = i.series "
                "JOIN studies st ON st.id = se.study WHERE st.study_uid = ? AND i.rows != ''",
                study_uid,
            )
        )

    def documents(self, study_uid: str) -> Table:
        """Return what a study has beside its images, such as key objects and reports.

        Returns
        -------
        Table
            Of each its kind, title, author, date, and whether it is complete
            and verified.
        """
        return documents.documents(self.db, study_uid)

    def paths(self, study_uid: str) -> list[Path]:
        """Return the files of a study, reports too, in the order of series and image numbers."""
        instances = self._index.instances("STUDY", {"st.study_uid": [study_uid]})
        return [self._files.path(instance.file) for instance in instances]

    def patient(self, patient_id: str, issuer: str | None = None) -> Patient | None:
        """Return a patient as the archive knows them, None if it does not.

        Parameters
        ----------
        patient_id : str
            The number.
        issuer : str, optional
            Who gave it; this hospital if left out.
        """
        row = self.db.row(
            "SELECT patient_id, issuer, name, birth_date, sex FROM patients "
            "WHERE patient_id = ? AND issuer = ?",
            patient_id,
            self.facility.issuer if issuer is None else issuer,
        )
        return Patient(**dict(row)) if row is not None else None

    # Discs

    @needs("export")
    def export(
        self,
        path: Path | str,
        *,
        study_uids: Sequence[str] = (),
        patient_id: str = "",
        profile: str = "STD-GEN-CD",
        web: bool = True,
        allow_many_patients: bool = False,
    ) -> Disc:
        """Write images on a disc for another hospital (IHE PDI, RAD-47).

        Parameters
        ----------
        path : Path or str
            A new folder, or a ``.zip`` file (PS3.12 annex V).
        study_uids : sequence of str
            Which studies.
        patient_id : str
            All studies of this patient instead; ``"NUMBER^^^ISSUER"`` for one
            whose number is not of this hospital.
        profile : str
            Media storage application profile (PS3.11): ``"STD-GEN-CD"`` holds
            uncompressed images only, ``"STD-GEN-USB-JPEG"`` and ``"STD-GEN-USB-J2K"``
            keep what is stored in their compression.
        web : bool
            Whether to add an index and small pictures for a browser.
        allow_many_patients : bool
            Whether images of several patients may be on one disc. One that
            gives a patient the images of another harms both.

        Returns
        -------
        Disc
            What was written, and what was left out and why.

        Raises
        ------
        NotFound
            If the archive has no such study or patient.
        ConfigurationError
            If the images are of several patients, or the place cannot be written.
        """
        disc = self._exporting.export(
            path,
            study_uids=study_uids,
            patient_id=patient_id,
            profile=profile,
            web=web,
            allow_many_patients=allow_many_patients,
        )
        self.exported([sop_uid for _, sop_uid in disc.files], disc.path)
        return disc

    def _reconfigured(self, what: str, kind: str = "110128") -> None:
        """Note a change, and report it as one of the network configuration, or of another kind."""
        self.note(what)
        self.trail.alert(kind, what, by=self.trail.person(self.session.user))

    # Associations

    def _admit(self, call: Call) -> Rejection | None:
        """Let anybody verify; for the rest, only whom the configuration names."""
        wanted = call.sop_classes - {VERIFICATION}
        if not wanted:
            return None
        entity = self._entities.get(call.calling)
        if entity is None:
            return CALLING_TITLE_UNKNOWN
        return None

    # Storage Commitment (PS3.4 annex J)

    def _commit_requested(self, event: evt.Event) -> tuple[int | Dataset, Dataset | None]:
        if instance_of(event) != STORAGE_COMMITMENT_INSTANCE:
            return failure(0x0112, "not the well-known instance"), None
        if event.action_type != 1:
            return failure(0x0123, f"no action type {event.action_type}"), None
        information = event.action_information
        transaction_uid = text_of(information.get("TransactionUID"))
        references = [
            (
                text_of(item.get("ReferencedSOPClassUID")),
                text_of(item.get("ReferencedSOPInstanceUID")),
            )
            for item in information.get("ReferencedSOPSequence") or []
        ]
        if not transaction_uid or not references or not all(map(all, references)):
            return failure(0x0115, "Transaction UID or references missing"), None
        requested_by = event.assoc.requestor.ae_title.strip()
        commitment.remember(self.db, transaction_uid, requested_by, references)
        self.worker.submit(self._report_commitment, transaction_uid, requested_by, references)
        return 0x0000, None

    def _report_commitment(
        self, transaction_uid: str, requested_by: str, references: list[commitment.Reference]
    ) -> None:
        committed, failed = commitment.judge(
            references, self._index, self._files, self._rejections.is_rejected
        )
        entity = self._entities.get(requested_by)
        keys = {"commitment_uid": transaction_uid}
        try:
            if entity is None:
                raise LabError(f"{requested_by} is not registered: nowhere to send the result.")
            information = commitment.event_information(transaction_uid, committed, failed)
            commitment.report(self._dicom, entity.peer, information)
        except LabError as error:
            self.note(f"storage commitment not reported: {error.what}", kind="error", **keys)
            return
        self.db.run(
            "UPDATE commitments SET state = 'reported', committed = ?, failed = ? "
            "WHERE transaction_uid = ?",
            len(committed),
            len(failed),
            transaction_uid,
        )
        counts = f"{len(committed)} committed, {len(failed)} failed"
        self.note(f"storage commitment reported to {requested_by}: {counts}", **keys)

    # HL7

    def _take_order(self, message: Message) -> None:
        """Take in ORM^O01 or OMI^O23: a study will come (RAD-4), otherwise or not (RAD-13)."""
        patient = patient_of(message, self.facility.issuer)
        study_uid, accession = study_of(message).study_uid, study_of(message).accession
        if message["ORC-1"] == "CA":
            self._reconciling.forget(accession)
            keys = {"accession": accession, "study_uid": study_uid}
            self.note("study announced before will not come", patient_id=patient.patient_id, **keys)
            return
        if study_uid:
            self._reconciling.announce(study_uid, accession, patient, message["OBR-4.2"])
            self.note(
                f"study announced: {message['OBR-4.2']}",
                accession=accession,
                study_uid=study_uid,
                patient_id=patient.patient_id,
            )
            self._ordered(message, patient)
            self._reconciling.reconcile(study_uid)
            self.qc.look_again(study_uid)

    def _take_merge(self, message: Message) -> None:
        """Take in ADT^A40 (RAD-12): file the studies of one patient under another."""
        kept = patient_of(message, self.facility.issuer)
        moved = self._index.merge_patients(kept, *prior_of(message, kept))
        what = f"patient {message['MRG-1.1']} merged into {kept.patient_id}: {moved} studies moved"
        self.note(what, patient_id=kept.patient_id)

    def _take_update(self, message: Message) -> None:
        """Take in ADT^A08 and its like (RAD-12): correct the patient in the index."""
        patient = patient_of(message, self.facility.issuer)
        known = self._index.update_patient(patient)
        text = "updated" if known else "has no images here yet: kept for those to come"
        self.note(f"patient {patient.patient_id} {text}", patient_id=patient.patient_id)


@cache
def supported_contexts() -> list[PresentationContext]:
    """Return every storage class in every transfer syntax, and the other services."""
    # pynetdicom takes the first of these that the caller proposes.
    syntaxes = [ExplicitVRLittleEndian, *AllTransferSyntaxes]
    storage = [
        build_context(context.abstract_syntax or "", list(dict.fromkeys(syntaxes)))
        for context in AllStoragePresentationContexts
    ]
    for context in storage:  # for C-GET the caller is SCP of what it gets
        context.scu_role = context.scp_role = True
    services = [VERIFICATION, STORAGE_COMMITMENT, *TOP_LEVEL]
    return [*storage, *(build_context(uid) for uid in services)]
