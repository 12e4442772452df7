"""The Performed Procedure Step Manager: what the scanners say of their work (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pynetdicom import evt

from labsim.sop_classes import MPPS
from labsim.systems.facility import System
from labsim.table import Table
from labsim.wire.dimse import instance_of
from labsim.wire.status import failure

SCHEMA = """
CREATE TABLE IF NOT EXISTS performed_steps (
    mpps_uid  TEXT PRIMARY KEY,
    step_id   TEXT NOT NULL,
    station   TEXT NOT NULL,
    status    TEXT NOT NULL,        -- IN PROGRESS, COMPLETED, DISCONTINUED
    started   TEXT NOT NULL,
    ended     TEXT NOT NULL DEFAULT '',
    images    INTEGER NOT NULL DEFAULT 0
);
"""
_MPPS_STATES = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")
_NO_LONGER_UPDATABLE = 0xA710  # Error ID of PS3.4 F.7.2.2.2

Follow = Callable[[str, str, str], None]


class StepManager:
    """Keeps the performed steps of a system, and tells it of each change.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    follow : callable
        Called with the UID of a step, the ID of the scheduled step and the
        new status, within the transaction that keeps it.
    """

    def __init__(self, system: System, follow: Follow) -> None:
        self._system = system
        self._follow = follow

    def created(self, event: evt.Event) -> tuple[int | Dataset, Dataset | None]:
        """Take in an MPPS N-CREATE (RAD-6, PS3.4 F.7.2.1)."""
        attributes = event.attribute_list
        steps = attributes.get("ScheduledStepAttributesSequence")
        status = str(attributes.get("PerformedProcedureStepStatus") or "")
        if not steps or not status:
            return failure(0x0120, "scheduled step attributes or status missing"), None
        if status != "IN PROGRESS":
            return failure(0x0106, f"a step begins IN PROGRESS, not {status}"), None
        uid = instance_of(event)
        if not uid:
            return failure(0x0120, "Affected SOP Instance UID missing"), None
        if self._system.db.row("SELECT 1 FROM performed_steps WHERE mpps_uid = ?", uid):
            return failure(0x0111, "this step exists already"), None
        step_id = str(steps[0].get("ScheduledProcedureStepID") or "")
        with self._system.db.transaction():
            self._system.db.insert(
                "performed_steps",
                mpps_uid=uid,
                step_id=step_id,
                station=str(attributes.get("PerformedStationAETitle") or ""),
                status=status,
                started=self._system.now(),
            )
            self._follow(uid, step_id, status)
        attributes.SOPInstanceUID = uid
        attributes.SOPClassUID = MPPS
        return 0x0000, attributes

    def changed(self, event: evt.Event) -> tuple[int | Dataset, Dataset | None]:
        """Take in an MPPS N-SET (RAD-7, PS3.4 F.7.2.2)."""
        uid = instance_of(event)
        row = self._system.db.row("SELECT * FROM performed_steps WHERE mpps_uid = ?", uid)
        if row is None:
            return failure(0x0112, "no such performed procedure step"), None
        if row["status"] != "IN PROGRESS":
            answer = failure(0x0110, f"the step is {row['status']} and may not be updated")
            answer.ErrorID = _NO_LONGER_UPDATABLE
            return answer, None
        changes = event.modification_list
        status = str(changes.get("PerformedProcedureStepStatus") or row["status"])
        if status not in _MPPS_STATES:
            return failure(0x0106, f"{status} is no status of a performed step"), None
        series = list(changes.get("PerformedSeriesSequence") or [])
        if status == "COMPLETED" and not series:
            return failure(0x0120, "a completed step needs a performed series"), None
        images = sum(len(item.get("ReferencedImageSequence") or []) for item in series)
        with self._system.db.transaction():
            self._system.db.run(
                "UPDATE performed_steps SET status = ?, images = ?, ended = ? WHERE mpps_uid = ?",
                status,
                images or row["images"],
                "" if status == "IN PROGRESS" else self._system.now(),
                uid,
            )
            self._follow(uid, row["step_id"], status)
        return 0x0000, changes

    def table(self) -> Table:
        """Return every step, in the order in which they were begun."""
        columns = ("mpps_uid", "step_id", "station", "status", "started", "ended", "images")
        names = ", ".join(columns)
        rows = self._system.db.rows(f"SELECT {names} FROM performed_steps ORDER BY started, rowid")
        return Table(columns, rows, "Performed procedure steps")
