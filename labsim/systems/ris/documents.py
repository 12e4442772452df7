"""Reports on their way to the archive: kept until it has taken them, sent in order.

IHE actor: Report Manager, which issues reports to the Report Repository (RAD-25).
"""

from __future__ import annotations

from concurrent.futures import Future
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pynetdicom import build_context

from labsim.errors import AssociationFailed, DimseFailed
from labsim.sop_classes import BASIC_TEXT_SR
from labsim.systems.facility import System
from labsim.table import Table
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.status import describe_status

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    sop_uid   TEXT PRIMARY KEY,
    accession TEXT NOT NULL,
    status    TEXT NOT NULL,        -- as in reports: P, F, C
    signed_by TEXT NOT NULL,
    signed_at TEXT NOT NULL,
    document  BLOB NOT NULL,        -- a DICOM file
    state     TEXT NOT NULL,        -- waiting, stored
    answer    TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS documents_by_accession ON documents (accession);
"""


class Documents:
    """The structured reports of a RIS, each with its way to the archive.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    node : DicomNode
        What it calls with.
    archive : Peer
        Whom it calls.
    """

    def __init__(self, system: System, node: DicomNode, archive: Peer) -> None:
        self._system = system
        self._node = node
        self._archive = archive

    def post(self, document: FileDataset, accession: str, status: str, by: str) -> Future[None]:
        """Keep a document and send it in the background (C-STORE, RAD-25).

        Parameters
        ----------
        document : FileDataset
            The report.
        accession, status, by : str
            Which examination, which state of its report, who signed.

        Returns
        -------
        Future
            Fails with what kept the archive from taking it; the document waits then.
        """
        data = BytesIO()
        document.save_as(data, enforce_file_format=True)
        self._system.db.insert(
            "documents",
            sop_uid=str(document.SOPInstanceUID),
            accession=accession,
            status=status,
            signed_by=by,
            signed_at=self._system.now(),
            document=data.getvalue(),
            state="waiting",
        )
        return self._system.worker.submit(self._send, str(document.SOPInstanceUID))

    def resend(self) -> int:
        """Send what waits, and return how many documents went.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the archive does not take them all.
        """
        waiting = self._waiting()
        self._system.worker.submit(self._send).result()
        return waiting - self._waiting()

    def resume(self) -> None:
        """Try again, in the background, to send what waited at the last stop."""
        if self._waiting():
            self._system.worker.submit(self._send)

    def latest(self, accession: str) -> FileDataset | None:
        """Return the newest document of an examination, None if it has none."""
        found = self._system.db.value(
            "SELECT document FROM documents WHERE accession = ? ORDER BY rowid DESC LIMIT 1",
            accession,
        )
        return None if found is None else dcmread(BytesIO(found))

    def count(self, accession: str) -> int:
        """Return how many documents an examination has."""
        return int(
            self._system.db.value("SELECT COUNT(*) FROM documents WHERE accession = ?", accession)
        )

    def table(self) -> Table:
        """Return every document with its state, oldest first."""
        columns = ("accession", "status", "signed_by", "signed_at", "state", "answer", "sop_uid")
        rows = self._system.db.rows(f"SELECT {', '.join(columns)} FROM documents ORDER BY rowid")
        return Table(columns, rows, f"Structured reports of {self._system.name}")

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _waiting(self) -> int:
        return int(self._system.db.value("SELECT COUNT(*) FROM documents WHERE state = 'waiting'"))

    def _send(self, wanted: str = "") -> None:
        """Send what waits, oldest first; what the archive does not take goes on waiting.

        Fails if the document `wanted` waits afterwards, or any if none is named.
        """
        rows = self._system.db.rows(
            "SELECT sop_uid, document FROM documents WHERE state = 'waiting' ORDER BY rowid"
        )
        if not rows:
            return
        problem: DimseFailed | None = None
        try:
            with self._node.associate(self._archive, [build_context(BASIC_TEXT_SR)]) as association:
                for row in rows:
                    answer = association.send_c_store(dcmread(BytesIO(row["document"])))
                    refusal = self._settle(row["sop_uid"], answer.get("Status"))
                    if wanted in ("", row["sop_uid"]):
                        problem = refusal or problem
        except (AssociationFailed, RuntimeError) as error:
            # pynetdicom raises RuntimeError when the association has ended.
            what = error.what if isinstance(error, AssociationFailed) else str(error)
            self._system.db.run("UPDATE documents SET answer = ? WHERE state = 'waiting'", what)
            raise AssociationFailed(
                f"The report is signed, but the archive does not have it: {what}",
                "Repair the cause; hospital.ris.documents.resend() sends what still waits.",
            ) from error
        if problem is not None:
            raise problem

    def _settle(self, sop_uid: str, status: int | None) -> DimseFailed | None:
        taken = status is not None and (status == 0x0000 or 0xB000 <= status <= 0xBFFF)
        words = f"no answer within {TIMEOUT:g} s" if status is None else describe_status(status)
        state = "stored" if taken else "waiting"
        self._system.db.run(
            "UPDATE documents SET state = ?, answer = ? WHERE sop_uid = ?", state, words, sop_uid
        )
        if taken:
            return None
        return DimseFailed(
            f"The report is signed, but the archive did not take it: {words}.",
            "Repair the cause; hospital.ris.documents.resend() sends what still waits.",
            status=status,
        )
