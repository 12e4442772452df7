"""What a scanner keeps: whom it calls, its settings, its worklist, its steps and images."""

from __future__ import annotations

import json
import sqlite3

from pydicom.dataset import Dataset
from pynetdicom import build_context

from labsim.errors import ConfigurationError, DimseFailed, NotFound
from labsim.ids import is_ae_title
from labsim.site import ModalitySite, Site
from labsim.sop_classes import VERIFICATION
from labsim.systems.catalogue import Examination, examination
from labsim.systems.facility import Facility, System
from labsim.systems.gauges import Gauge, associations, waiting
from labsim.systems.performed_step import PerformedStep
from labsim.table import Table
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.status import describe_status

_SCHEMA = """
CREATE TABLE IF NOT EXISTS peers (
    service  TEXT PRIMARY KEY,      -- worklist, mpps, store, commitment
    ae_title TEXT NOT NULL,
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL,
    tls      INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,         -- auto_send, retries, interval, quota, quick_scans
    value REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS worklist (
    step_id TEXT PRIMARY KEY,
    item    TEXT NOT NULL,          -- the entry as it was read, DICOM JSON
    read_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS steps (
    mpps_uid  TEXT PRIMARY KEY,
    study_uid TEXT NOT NULL,
    performed TEXT NOT NULL,        -- codes of the catalogue, JSON
    started   TEXT NOT NULL,
    ended     TEXT NOT NULL DEFAULT '',
    status    TEXT NOT NULL,        -- IN PROGRESS, COMPLETED, DISCONTINUED
    reason    TEXT NOT NULL DEFAULT '',
    told      TEXT NOT NULL         -- the status that the RIS has been told, empty for none
);
CREATE TABLE IF NOT EXISTS step_entries (
    mpps_uid  TEXT NOT NULL REFERENCES steps,
    accession TEXT NOT NULL,        -- empty if unscheduled
    step_id   TEXT NOT NULL,        -- Scheduled Procedure Step ID, empty if unscheduled
    item      TEXT NOT NULL         -- the worklist entry or what was typed, DICOM JSON
);
CREATE TABLE IF NOT EXISTS images (
    sop_uid        TEXT PRIMARY KEY,
    sop_class      TEXT NOT NULL,
    series_uid     TEXT NOT NULL,
    protocol       TEXT NOT NULL,   -- key of labsim.imaging.scanners
    mpps_uid       TEXT NOT NULL REFERENCES steps,
    file           TEXT NOT NULL,
    bytes          INTEGER NOT NULL,
    state          TEXT NOT NULL DEFAULT 'waiting',  -- waiting, failed, sent, withheld
    tries          INTEGER NOT NULL DEFAULT 0,
    answer         TEXT NOT NULL DEFAULT '',
    commitment     TEXT NOT NULL DEFAULT '',  -- asked, committed, or why not
    commitment_uid TEXT NOT NULL DEFAULT '',
    deleted        INTEGER NOT NULL DEFAULT 0  -- 1: no longer on the scanner's disk
);
"""
SERVICES = ("worklist", "mpps", "store", "commitment")
# An examination is named by its accession number, or by the UID of one of its performed
# steps, which an unscheduled one has too; '' names all.
OF_EXAM = "mpps_uid IN (SELECT mpps_uid FROM step_entries WHERE ? IN ('', accession, mpps_uid))"


class ModalityTables(System):
    """The tables of a scanner with its DICOM interface, which every part of it works on.

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
        self._site = site
        self._own = own
        self._images = self.folder / "images"
        self._images.mkdir(exist_ok=True)
        self._dicom = DicomNode(self.name, own.ae_title, facility.journal, facility.network)
        with self.db.transaction():  # who is cut off here begins anew
            if self.db.next("configured") == 1:
                ris, pacs = Peer(*site.dicom_place(site.ris)), Peer(*site.dicom_place(site.pacs))
                for service, peer in zip(SERVICES, (ris, ris, pacs, pacs), strict=True):
                    self.db.insert("peers", service=service, **vars(peer))

    def gauges(self) -> list[Gauge]:
        """Return what waits to be stored in the archive, and how many images it has."""
        images = "SELECT COUNT(*) FROM images WHERE deleted = 0"
        return [
            *super().gauges(),
            associations(self._dicom),
            Gauge("images", "Images on the scanner's disk.", self.db.value(images)),
            waiting("store", self.db.value(f"{images} AND state IN ('waiting', 'failed')")),
        ]

    def configure(
        self, service: str, *, ae_title: str, host: str, port: int, tls: bool = False
    ) -> None:
        """Set whom the scanner calls.

        Parameters
        ----------
        service : str
            ``"worklist"``, ``"mpps"``, ``"store"`` or ``"commitment"``.
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
                f"The scanner has no service {service!r}.", f"Use {', '.join(SERVICES)}."
            )
        if not is_ae_title(ae_title):
            raise ConfigurationError(f"{ae_title!r} is no AE title.", "1 to 16 characters.")
        peer = {"ae_title": ae_title, "host": host, "port": port, "tls": tls}
        self.db.upsert("peers", "service", service=service, **peer)
        self.note(f"{service} set to {ae_title} at {host}:{port}{' by TLS' * tls}")

    def peers(self) -> Table:
        """Return whom the scanner calls for what."""
        rows = self.db.rows(
            "SELECT service, ae_title, host, port, CASE tls WHEN 1 THEN 'yes' ELSE 'no' END "
            "FROM peers ORDER BY rowid"
        )
        columns = ("service", "AE title", "host", "port", "TLS")
        return Table(columns, rows, f"Peers of {self.ae_title}")

    def peer(self, service: str) -> Peer:
        """Return whom the scanner calls for a service."""
        row = self.db.row("SELECT ae_title, host, port, tls FROM peers WHERE service = ?", service)
        assert row is not None
        return Peer(row["ae_title"], row["host"], row["port"], bool(row["tls"]))

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
            return describe_status(status_of(association.send_c_echo(), "C-ECHO"))

    # For the other parts

    def _setting(self, name: str, default: float) -> float:
        value = self.db.value("SELECT value FROM settings WHERE name = ?", name)
        return default if value is None else float(value)

    def _step_row(self, mpps_uid: str) -> sqlite3.Row:
        row = self.db.row("SELECT * FROM steps WHERE mpps_uid = ?", mpps_uid)
        if row is None:
            raise NotFound(
                f"{self.ae_title} has begun no step {mpps_uid!r}.",
                f'hospital.modality("{self.name}").steps() lists them.',
            )
        return row

    def _step(self, mpps_uid: str) -> PerformedStep:
        row = self._step_row(mpps_uid)
        return PerformedStep(
            mpps_uid=mpps_uid,
            study_uid=row["study_uid"],
            entries=self._entries(mpps_uid),
            performed=_examinations(row["performed"]),
            started=row["started"],
            first=self._first_step(row["study_uid"], mpps_uid),
        )

    def _first_step(self, study_uid: str, mpps_uid: str = "") -> PerformedStep | None:
        """Return the step that began a study; none if there is none, or that is the one."""
        row = self.db.row(
            "SELECT mpps_uid FROM steps WHERE study_uid = ? ORDER BY rowid LIMIT 1", study_uid
        )
        return self._step(row["mpps_uid"]) if row and row["mpps_uid"] != mpps_uid else None

    def _entries(self, mpps_uid: str) -> tuple[Dataset, ...]:
        rows = self.db.rows(
            "SELECT item FROM step_entries WHERE mpps_uid = ? ORDER BY rowid", mpps_uid
        )
        return tuple(Dataset.from_json(row["item"]) for row in rows)

    def _keys_of(self, exam: str) -> dict[str, str]:
        """Return what the journal knows an examination by."""
        known = "SELECT COUNT(*) FROM step_entries WHERE accession = ?"
        if not exam:
            return {}
        return {"accession" if self.db.value(known, exam) else "mpps_uid": exam}

    def _note_step(self, step: PerformedStep, what: str) -> None:
        """Write a change of a step into the journal, once for each examination it belongs to."""
        for entry in step.entries:
            self.note(
                what,
                accession=str(entry.get("AccessionNumber") or ""),
                study_uid=step.study_uid,
                mpps_uid=step.mpps_uid,
            )


def _examinations(codes: str) -> tuple[Examination, ...]:
    return tuple(examination(code) for code in json.loads(codes))


def status_of(status: Dataset, request: str) -> int:
    """Return the status of an answer.

    Raises
    ------
    DimseFailed
        If there was no answer.
    """
    if "Status" not in status:
        raise DimseFailed(f"{request} was not answered within {TIMEOUT:g} s.")
    return int(status.Status)


def require_success(status: Dataset, request: str) -> None:
    """Raise `DimseFailed` unless an answer says success or warning."""
    code = status_of(status, request)
    if code != 0x0000 and not 0x0001 <= code <= 0x00FF and code not in (0x0107, 0x0116):
        comment = f" ({status.ErrorComment})" if "ErrorComment" in status else ""
        raise DimseFailed(f"{request} failed: {describe_status(code)}{comment}.", status=code)
