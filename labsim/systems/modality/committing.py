"""Storage commitment: before it deletes an image the scanner asks who keeps it (RAD-10)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.errors import NotFound
from labsim.ids import make_uid
from labsim.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from labsim.systems.facility import text_of
from labsim.systems.modality.tables import OF_EXAM, ModalityTables, require_success
from labsim.systems.performed_step import reference
from labsim.table import Table
from labsim.wire.dimse import TIMEOUT
from labsim.wire.status import describe_status


class Committing(ModalityTables):
    """Asks the archive to keep images, and takes in what it answers."""

    def request_commitment(self, exam: str) -> str:
        """Ask the archive to promise that it keeps an examination's images (RAD-10).

        What is committed already is not asked for again.

        Parameters
        ----------
        exam : str
            Its accession number, or the UID of one of its steps.

        Returns
        -------
        str
            Transaction UID; the result comes later, on an association of its own.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the archive does not take the request.
        NotFound
            If nothing was sent, or all of it is committed.
        """
        rows = self.db.rows(
            "SELECT sop_class, sop_uid, commitment FROM images "
            f"WHERE {OF_EXAM} AND state = 'sent' ORDER BY file",
            exam,
        )
        if not rows:
            raise NotFound(
                f"{self.ae_title} has sent no image of {exam!r}.", "Send the images first."
            )
        rows = [row for row in rows if row["commitment"] != "committed"]
        if not rows:
            raise NotFound(f"All images of {exam} are committed: there is nothing to ask for.")
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
            **self._keys_of(exam),
            commitment_uid=uid,
        )
        contexts = [build_context(STORAGE_COMMITMENT)]
        with self._dicom.associate(self.peer("commitment"), contexts) as association:
            status, _ = association.send_n_action(
                request, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
            )
        require_success(status, "Storage Commitment N-ACTION")
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

    def uncommitted(self) -> Table:
        """Return the images that nobody has promised to keep: not sent, not asked, or refused."""
        rows = self.db.rows(
            "SELECT (SELECT GROUP_CONCAT(accession, ' ') FROM step_entries e "
            "WHERE e.mpps_uid = images.mpps_uid), file, state, commitment, sop_uid "
            "FROM images WHERE commitment <> 'committed' AND deleted = 0 ORDER BY file"
        )
        columns = ("accession", "image", "state", "commitment", "SOP Instance UID")
        return Table(columns, rows, f"Images of {self.ae_title} that are not committed")

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


def commitment_user() -> PresentationContext:
    """Return the context in which the archive, as requestor and SCP, reports a commitment."""
    context = build_context(STORAGE_COMMITMENT)
    context.scu_role, context.scp_role = False, True
    return context
