"""A scanner with its console.

IHE actor: Acquisition Modality.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.errors import ConfigurationError, DimseFailed, LabError, NotFound
from labsim.ids import is_ae_title, make_uid
from labsim.imaging.common import Acquisition, AnyAcquisition
from labsim.imaging.scanners import SCANNERS
from labsim.site import ModalitySite, Site
from labsim.sop_classes import (
    MODALITY_WORKLIST,
    MPPS,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    VERIFICATION,
)
from labsim.systems.catalogue import Examination, examinations
from labsim.systems.facility import Facility, System, text_of
from labsim.systems.performed_step import (
    PerformedSeries,
    mpps_create,
    mpps_set,
    reference,
    study_attributes,
)
from labsim.systems.worklist import worklist_keys
from labsim.table import Table
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.network import Address
from labsim.wire.status import describe_status

_SCHEMA = """
CREATE TABLE IF NOT EXISTS peers (
    service  TEXT PRIMARY KEY,      -- worklist, mpps, store, commitment
    ae_title TEXT NOT NULL,
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS steps (
    mpps_uid  TEXT PRIMARY KEY,
    accession TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    item      TEXT NOT NULL,        -- the worklist entry, DICOM JSON
    started   TEXT NOT NULL,
    status    TEXT NOT NULL         -- IN PROGRESS, COMPLETED, DISCONTINUED
);
CREATE TABLE IF NOT EXISTS images (
    sop_uid        TEXT PRIMARY KEY,
    sop_class      TEXT NOT NULL,
    series_uid     TEXT NOT NULL,
    protocol       TEXT NOT NULL,   -- key of labsim.imaging.scanners
    mpps_uid       TEXT NOT NULL REFERENCES steps,
    file           TEXT NOT NULL,
    sent           INTEGER NOT NULL DEFAULT 0,
    answer         TEXT NOT NULL DEFAULT '',
    commitment     TEXT NOT NULL DEFAULT '',  -- asked, committed, or why not
    commitment_uid TEXT NOT NULL DEFAULT ''
);
"""
SERVICES = ("worklist", "mpps", "store", "commitment")


@dataclass(frozen=True)
class Sending:
    """What came of an attempt to send images.

    Parameters
    ----------
    sent, waiting : int
        Images that the archive has now, and images that are still here only.
    problem : str
        Why some wait; empty if none do.
    """

    sent: int
    waiting: int
    problem: str = ""

    def __str__(self) -> str:
        if not (self.sent or self.waiting):
            return "Nothing waited to be sent."
        if not self.waiting:
            return f"{self.sent} images sent, none waiting."
        return f"{self.sent} images sent, {self.waiting} waiting: {self.problem}"

    __repr__ = __str__


class Modality(System):
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

    def __init__(self, site: Site, own: ModalitySite, facility: Facility) -> None:
        super().__init__(own.name, facility, _SCHEMA)
        self.ae_title = own.ae_title
        self.modality = own.kind
        self._own = own
        self._images = self.folder / "images"
        self._images.mkdir(exist_ok=True)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        if self.db.next("configured") == 1:
            ris = (site.ris.ae_title, site.ris.host, site.ris.dicom_port)
            pacs = (site.pacs.ae_title, site.pacs.host, site.pacs.dicom_port)
            for service, peer in zip(SERVICES, (ris, ris, pacs, pacs), strict=True):
                title, host, port = peer
                self.db.insert("peers", service=service, ae_title=title, host=host, port=port)

    def start(self) -> None:
        """Listen for C-ECHO and for the results of storage commitment."""
        port = self._dicom.listen(
            [build_context(VERIFICATION), _commitment_user()],
            [
                (evt.EVT_C_ECHO, lambda event: 0x0000),
                (evt.EVT_N_EVENT_REPORT, self._commitment_reported),
            ],
            port=self.fixed_port("dicom"),
        )
        address = Address(self._own.host, self._own.dicom_port)
        self.published("dicom", address, port, self.ae_title)

    def stop(self) -> None:
        """Stop listening; images that were not sent stay on the scanner's disk."""
        self._dicom.close()
        super().stop()

    # Configuration

    def configure(self, service: str, *, ae_title: str, host: str, port: int) -> None:
        """Set whom the scanner calls.

        Parameters
        ----------
        service : str
            ``"worklist"``, ``"mpps"``, ``"store"`` or ``"commitment"``.
        ae_title, host, port
            The peer.

        Raises
        ------
        ConfigurationError
            If the service is unknown, or the title cannot be right.
        """
        if service not in SERVICES:
            raise ConfigurationError(
                f"The scanner has no service {service!r}.", f"Use {', '.join(SERVICES)}."
            )
        if not is_ae_title(ae_title):
            raise ConfigurationError(f"{ae_title!r} is no AE title.", "1 to 16 characters.")
        self.db.upsert("peers", "service", service=service, ae_title=ae_title, host=host, port=port)
        self.note(f"{service} set to {ae_title} at {host}:{port}")

    def peers(self) -> Table:
        """Return whom the scanner calls for what."""
        rows = self.db.rows("SELECT service, ae_title, host, port FROM peers ORDER BY rowid")
        return Table(("service", "AE title", "host", "port"), rows, f"Peers of {self.ae_title}")

    def peer(self, service: str) -> Peer:
        """Return whom the scanner calls for a service."""
        row = self.db.row("SELECT ae_title, host, port FROM peers WHERE service = ?", service)
        assert row is not None
        return Peer(row["ae_title"], row["host"], row["port"])

    # The console

    def echo(self, service: str = "store") -> str:
        """Send a C-ECHO to one of the peers and return what it answered.

        Raises
        ------
        AssociationFailed
            If there is no association.
        """
        with self._dicom.associate(
            self.peer(service), [build_context(VERIFICATION)]
        ) as association:
            return describe_status(_status(association.send_c_echo(), "C-ECHO"))

    def query_worklist(self, *, date: str = "", accession: str = "") -> list[Dataset]:
        """Ask the RIS what this scanner is to do (C-FIND, RAD-5).

        Parameters
        ----------
        date : str
            ``"YYYYMMDD"`` or a range of two; today if left out.
        accession : str
            Only this examination.

        Returns
        -------
        list of Dataset
            Worklist entries.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not answer, or answers with a failure.
        """
        today = self.facility.clock.now().strftime("%Y%m%d")
        identifier = worklist_keys(self.modality, self.ae_title, date or today, accession)
        contexts = [build_context(MODALITY_WORKLIST)]
        entries: list[Dataset] = []
        with self._dicom.associate(self.peer("worklist"), contexts) as association:
            answers = association.send_c_find(identifier, MODALITY_WORKLIST)
            for status, entry in answers:
                code = _status(status, "C-FIND")
                if code in (0xFF00, 0xFF01) and entry is not None:
                    entries.append(entry)
                elif code != 0x0000:
                    words = describe_status(code)
                    raise DimseFailed(f"The worklist query failed: {words}.", status=code)
        return entries

    def start_step(self, entry: Dataset) -> str:
        """Begin what a worklist entry asks for (MPPS N-CREATE, RAD-6).

        Parameters
        ----------
        entry : Dataset
            From `query_worklist`.

        Returns
        -------
        str
            The UID of the performed procedure step.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        now = self.facility.clock.now()
        uid = make_uid("mpps", self.facility.seed, self.name, self.db.next("step"))
        request = mpps_create(entry, self.ae_title, self.modality, now, uid)
        with self._dicom.associate(self.peer("mpps"), [build_context(MPPS)]) as association:
            status, _ = association.send_n_create(request, MPPS, uid)
        _require_success(status, "MPPS N-CREATE")
        accession, study_uid = str(entry.AccessionNumber), str(entry.StudyInstanceUID)
        self.db.insert(
            "steps",
            mpps_uid=uid,
            accession=accession,
            study_uid=study_uid,
            item=entry.to_json(),
            started=now.isoformat(timespec="seconds"),
            status="IN PROGRESS",
        )
        self.note("step begun", accession=accession, study_uid=study_uid, mpps_uid=uid)
        return uid

    def acquire(self, mpps_uid: str, artefact: str = "") -> list[Path]:
        """Take the images of a step, series by series, and keep them on the scanner's disk.

        Parameters
        ----------
        mpps_uid : str
            From `start_step`.
        artefact : str
            What goes wrong with the images: one of those of
            `labsim.imaging.scanners` for this kind of scanner.

        Returns
        -------
        list of Path
            The new files.
        """
        step = self._step(mpps_uid)
        entry = Dataset.from_json(step["item"])
        scanner, wanted = SCANNERS[self.modality], _examination(entry, self.modality)
        first = self.db.next("series")
        shared = (self.facility.seed, self.name, first)
        files: list[Path] = []
        for offset, key in enumerate(wanted.series):
            number = self.db.next("series") if offset else first
            acquisition: AnyAcquisition = Acquisition(
                study=study_attributes(entry, step["started"]),
                protocol=scanner.protocols[key],
                series_uid=make_uid("series", self.facility.seed, self.name, number),
                frame_of_reference_uid=make_uid("frame of reference", *shared),
                series_number=self._count_series(mpps_uid) + 1,
                station=self.ae_title,
                institution=self.facility.institution,
                started=self.facility.clock.now(),
                seed=_body(self.facility.seed, entry),
                artefact=artefact,
            )
            files += self._take(mpps_uid, key, number, acquisition)
        self.note(
            f"{len(files)} images acquired: {wanted.description}",
            accession=step["accession"],
            mpps_uid=mpps_uid,
        )
        return files

    def _take(
        self, mpps_uid: str, key: str, number: int, acquisition: AnyAcquisition
    ) -> list[Path]:
        """Take one series, and keep its images."""
        base = ("image", self.facility.seed, self.name, number)
        uids = [make_uid(*base, index) for index in range(acquisition.protocol.images)]
        rows, files = [], []
        for image in SCANNERS[self.modality].acquire(acquisition, uids):
            path = self._images / f"{number:05d}-{int(image.InstanceNumber):04d}.dcm"
            image.save_as(path, enforce_file_format=True)
            files.append(path)
            uid, sop_class = str(image.SOPInstanceUID), str(image.SOPClassUID)
            rows.append((uid, sop_class, acquisition.series_uid, key, mpps_uid, path.name))
        self.db.run_many(
            "INSERT INTO images (sop_uid, sop_class, series_uid, protocol, mpps_uid, file) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        return files

    def send(self, accession: str = "") -> Sending:
        """Send the images that the archive does not have yet (C-STORE, RAD-8).

        Parameters
        ----------
        accession : str
            Only those of this examination.

        Returns
        -------
        Sending
            How many went; what did not go stays in the queue.
        """
        files = self._queue(accession)
        if not files:
            return Sending(0, 0)
        sent, problem = 0, ""
        classes = sorted({sop_class for _, sop_class, _ in files})
        try:
            with self._dicom.associate(
                self.peer("store"), [build_context(sop_class) for sop_class in classes]
            ) as association:
                for sop_uid, _, name in files:
                    status = association.send_c_store(dcmread(self._images / name))
                    code = _status(status, "C-STORE")
                    taken = code == 0x0000 or 0xB000 <= code <= 0xBFFF
                    self._mark_sent(sop_uid, taken, describe_status(code))
                    sent += taken
                    problem = problem if taken else describe_status(code)
        except (LabError, ValueError, RuntimeError) as error:
            # pynetdicom raises ValueError when no accepted context fits the image,
            # and RuntimeError when the association has ended.
            problem = error.what if isinstance(error, LabError) else str(error)
            self.db.run_many(
                "UPDATE images SET answer = ? WHERE sop_uid = ? AND sent = 0",
                [(problem, sop_uid) for sop_uid, _, _ in files],
            )
        waiting = len(self._queue(accession))
        self.note(str(Sending(sent, waiting, problem)), accession=accession)
        return Sending(sent, waiting, problem)

    def waiting(self) -> int:
        """Return how many images the archive does not have yet."""
        return len(self._queue(""))

    def complete_step(self, mpps_uid: str) -> None:
        """Tell the RIS that a step is done (MPPS N-SET, RAD-7).

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        self._set_step(mpps_uid, "COMPLETED")

    def discontinue_step(self, mpps_uid: str) -> None:
        """Tell the RIS that a step was given up (MPPS N-SET, RAD-7).

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        self._set_step(mpps_uid, "DISCONTINUED")

    def request_commitment(self, accession: str) -> str:
        """Ask the archive to promise that it keeps an examination's images (RAD-10).

        Parameters
        ----------
        accession : str
            Which examination.

        Returns
        -------
        str
            Transaction UID; the result comes later, on an association of its own.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the archive does not take the request.
        NotFound
            If nothing was sent.
        """
        rows = self.db.rows(
            "SELECT i.sop_class, i.sop_uid FROM images i JOIN steps s USING (mpps_uid) "
            "WHERE s.accession = ? AND i.sent = 1 ORDER BY i.file",
            accession,
        )
        if not rows:
            raise NotFound(f"{self.ae_title} has sent no image of {accession!r}.")
        uid = make_uid("commitment", self.facility.seed, self.name, self.db.next("commitment"))
        request = Dataset()
        request.TransactionUID = uid
        request.ReferencedSOPSequence = Sequence(
            reference(row["sop_class"], row["sop_uid"]) for row in rows
        )
        self.db.run_many(
            "UPDATE images SET commitment = 'asked', commitment_uid = ? WHERE sop_uid = ?",
            [(uid, row["sop_uid"]) for row in rows],
        )
        self.note(
            f"storage commitment asked for {len(rows)} images",
            accession=accession,
            commitment_uid=uid,
        )
        contexts = [build_context(STORAGE_COMMITMENT)]
        with self._dicom.associate(self.peer("commitment"), contexts) as association:
            status, _ = association.send_n_action(
                request, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
            )
        _require_success(status, "Storage Commitment N-ACTION")
        return uid

    def wait_for_commitment(self, commitment_uid: str, timeout: float = 2 * TIMEOUT) -> bool:
        """Wait until the archive has reported on a commitment; False if it did not in time."""
        return (
            self.facility.journal.wait_for(
                lambda event: (
                    event.source == self.name
                    and event.kind == "state"
                    and event.keys.get("commitment_uid") == commitment_uid
                    and "reported" in event.detail
                ),
                timeout,
            )
            is not None
        )

    def table(self) -> Table:
        """Return every step with its images: how many were taken, sent, committed."""
        rows = self.db.rows(
            "SELECT s.accession, s.status, COUNT(i.sop_uid), COALESCE(SUM(i.sent), 0), "
            "SUM(i.commitment = 'committed'), COALESCE(MAX(i.answer), '') "
            "FROM steps s LEFT JOIN images i USING (mpps_uid) GROUP BY s.mpps_uid "
            "ORDER BY s.started"
        )
        columns = ("accession", "step", "images", "sent", "committed", "answer")
        shown = [[*row[:4], row[4] or 0, row[5]] for row in rows]
        return Table(columns, shown, f"Console of {self.ae_title}")

    # Messages

    def _set_step(self, mpps_uid: str, status: str) -> None:
        step = self._step(mpps_uid)
        changes = mpps_set(status, self.facility.clock.now(), self._performed(mpps_uid))
        with self._dicom.associate(self.peer("mpps"), [build_context(MPPS)]) as association:
            answer, _ = association.send_n_set(changes, MPPS, mpps_uid)
        _require_success(answer, "MPPS N-SET")
        self.db.run("UPDATE steps SET status = ? WHERE mpps_uid = ?", status, mpps_uid)
        self.note(f"step {status}", accession=step["accession"], mpps_uid=mpps_uid)

    def _commitment_reported(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """Take in the result of a storage commitment (N-EVENT-REPORT, PS3.4 J.3.3)."""
        information = event.event_information
        uid = text_of(information.get("TransactionUID"))
        committed = list(information.get("ReferencedSOPSequence") or [])
        failed = list(information.get("FailedSOPSequence") or [])
        rows = [("committed", str(item.ReferencedSOPInstanceUID), uid) for item in committed] + [
            (describe_status(int(item.FailureReason)), str(item.ReferencedSOPInstanceUID), uid)
            for item in failed
        ]
        self.db.run_many(
            "UPDATE images SET commitment = ? WHERE sop_uid = ? AND commitment_uid = ?", rows
        )
        self.facility.journal.record(
            self.name,
            "state",
            f"storage commitment: {len(committed)} committed, {len(failed)} failed",
            keys={"commitment_uid": uid},
            detail={"reported": len(committed) + len(failed)},
        )
        return 0x0000, None

    # Rows

    def _step(self, mpps_uid: str) -> dict[str, str]:
        row = self.db.row("SELECT * FROM steps WHERE mpps_uid = ?", mpps_uid)
        if row is None:
            raise NotFound(f"{self.ae_title} has begun no step {mpps_uid!r}.")
        return dict(row)

    def _performed(self, mpps_uid: str) -> list[PerformedSeries]:
        rows = self.db.rows("SELECT * FROM images WHERE mpps_uid = ? ORDER BY file", mpps_uid)
        series = []
        for series_uid, group in itertools.groupby(rows, lambda row: str(row["series_uid"])):
            images = list(group)
            protocol = SCANNERS[self.modality].protocols[images[0]["protocol"]]
            names = (protocol.name, protocol.series_description)
            uids = tuple((row["sop_class"], row["sop_uid"]) for row in images)
            series.append(PerformedSeries(series_uid, *names, uids))
        return series

    def _count_series(self, mpps_uid: str) -> int:
        return int(
            self.db.value(
                "SELECT COUNT(DISTINCT i.series_uid) FROM images i JOIN steps s USING (mpps_uid) "
                "WHERE s.study_uid = (SELECT study_uid FROM steps WHERE mpps_uid = ?)",
                mpps_uid,
            )
        )

    def _queue(self, accession: str) -> list[tuple[str, str, str]]:
        rows = self.db.rows(
            "SELECT i.sop_uid, i.sop_class, i.file FROM images i JOIN steps s USING (mpps_uid) "
            "WHERE i.sent = 0 AND ? IN ('', s.accession) ORDER BY i.file",
            accession,
        )
        return [(row["sop_uid"], row["sop_class"], row["file"]) for row in rows]

    def _mark_sent(self, sop_uid: str, taken: bool, answer: str) -> None:
        self.db.run(
            "UPDATE images SET sent = ?, answer = ? WHERE sop_uid = ?", int(taken), answer, sop_uid
        )


def _body(seed: int, entry: Dataset) -> int:
    """Return what decides the anatomy: a patient has the same body in every exam."""
    return zlib.crc32(f"{seed}/{entry.PatientID}".encode())


def _examination(entry: Dataset, modality: str) -> Examination:
    """Return what an entry asks for by its code, else the first that the scanner can do."""
    codes = entry.get("RequestedProcedureCodeSequence") or []
    code = str(codes[0].get("CodeValue") or "") if codes else ""
    able = [known for known in examinations() if known.modality == modality]
    return next((known for known in able if known.code == code), able[0])


def _status(status: Dataset, request: str) -> int:
    """Return the status of an answer.

    Raises
    ------
    DimseFailed
        If there was no answer.
    """
    if "Status" not in status:
        raise DimseFailed(f"{request} was not answered within {TIMEOUT:g} s.")
    return int(status.Status)


def _require_success(status: Dataset, request: str) -> None:
    code = _status(status, request)
    if code != 0x0000 and not 0x0001 <= code <= 0x00FF and code not in (0x0107, 0x0116):
        comment = f" ({status.ErrorComment})" if "ErrorComment" in status else ""
        raise DimseFailed(f"{request} failed: {describe_status(code)}{comment}.", status=code)


def _commitment_user() -> PresentationContext:
    """Return the context in which the archive, as requestor and SCP, reports a commitment."""
    context = build_context(STORAGE_COMMITMENT)
    context.scu_role, context.scp_role = False, True
    return context
