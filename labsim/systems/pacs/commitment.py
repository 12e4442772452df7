"""Storage Commitment at the PACS (PS3.4 annex J): promise, or say what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_context, build_role

from labsim.database import Database
from labsim.errors import DimseFailed
from labsim.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.status import describe_status

SCHEMA = """
CREATE TABLE IF NOT EXISTS commitments (
    transaction_uid TEXT PRIMARY KEY,
    requested_by    TEXT NOT NULL,      -- calling AE title
    requested       TEXT NOT NULL,      -- JSON: SOP class and instance UIDs
    state           TEXT NOT NULL,      -- waiting, reported
    committed       INTEGER NOT NULL DEFAULT 0,
    failed          INTEGER NOT NULL DEFAULT 0
);
"""
# Failure Reason (0008,1197), PS3.3 C.14.1.1
NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119

Reference = tuple[str, str]  # SOP class and instance UID


def judge(
    references: list[Reference],
    index: Index,
    files: FileStore,
    is_rejected: Callable[[str], bool] = lambda sop_uid: False,
) -> tuple[list[Reference], list[tuple[Reference, int]]]:
    """Look for each instance in index and files; what is rejected is not promised.

    Returns
    -------
    committed : list of Reference
        What is safe.
    failed : list of (Reference, int)
        What is not, with the Failure Reason.
    """
    committed: list[Reference] = []
    failed: list[tuple[Reference, int]] = []
    for sop_class, sop_uid in references:
        known = index.find(sop_uid)
        if known is None or is_rejected(sop_uid) or not files.path(known.file).is_file():
            failed.append(((sop_class, sop_uid), NO_SUCH_INSTANCE))
        elif known.sop_class != sop_class:
            failed.append(((sop_class, sop_uid), CLASS_INSTANCE_CONFLICT))
        else:
            committed.append((sop_class, sop_uid))
    return committed, failed


def event_information(
    transaction_uid: str, committed: list[Reference], failed: list[tuple[Reference, int]]
) -> Dataset:
    """Return the Event Information of the report (PS3.4 Table J.3-2)."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    if committed:
        information.ReferencedSOPSequence = Sequence([_item(*ref) for ref in committed])
    if failed:
        items = [_item(*reference) for reference, _ in failed]
        for item, (_, reason) in zip(items, failed, strict=True):
            item.FailureReason = reason
        information.FailedSOPSequence = Sequence(items)
    return information


def report(node: DicomNode, peer: Peer, information: Dataset) -> None:
    """Send the result on a new association, as its SCP (PS3.4 J.3.3).

    Raises
    ------
    AssociationFailed
        If the requester cannot be reached.
    DimseFailed
        If it does not take the report.
    """
    # The caller is the SCP of this SOP class, so the roles are negotiated the other way round.
    role = build_role(STORAGE_COMMITMENT, scp_role=True)
    event_type = 2 if "FailedSOPSequence" in information else 1
    contexts = [build_context(STORAGE_COMMITMENT)]
    with node.associate(peer, contexts, negotiation=[role]) as association:
        status, _ = association.send_n_event_report(
            information,
            event_type,
            STORAGE_COMMITMENT,
            STORAGE_COMMITMENT_INSTANCE,
        )
    code = status.get("Status")
    if code != 0x0000:
        words = "no answer" if code is None else describe_status(code)
        raise DimseFailed(
            f"{peer.ae_title} did not take the commitment report: {words}.", status=code
        )


def remember(db: Database, transaction_uid: str, requested_by: str, refs: list[Reference]) -> None:
    """Keep a request until it has been reported, over a restart too."""
    db.upsert(
        "commitments",
        "transaction_uid",
        transaction_uid=transaction_uid,
        requested_by=requested_by,
        requested=json.dumps(refs),
        state="waiting",
    )


def waiting(db: Database) -> list[tuple[str, str, list[Reference]]]:
    """Return the requests that have not been reported: transaction, requester, references."""
    rows = db.rows("SELECT * FROM commitments WHERE state = 'waiting'")
    return [
        (
            row["transaction_uid"],
            row["requested_by"],
            [tuple(r) for r in json.loads(row["requested"])],
        )
        for row in rows
    ]


def _item(sop_class: str, sop_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_uid
    return item
