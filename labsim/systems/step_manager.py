"""The Performed Procedure Step Manager: what the scanners say of their work (PS3.4 F.7.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import evt

from labsim.sop_classes import MPPS
from labsim.systems.facility import System, text_of
from labsim.table import Table
from labsim.wire.dimse import instance_of
from labsim.wire.status import failure

SCHEMA = """
CREATE TABLE IF NOT EXISTS performed_steps (
    mpps_uid    TEXT PRIMARY KEY,
    study_uid   TEXT NOT NULL,
    station     TEXT NOT NULL,
    modality    TEXT NOT NULL,
    patient_id  TEXT NOT NULL,      -- as the scanner has it
    name        TEXT NOT NULL,
    codes       TEXT NOT NULL,      -- what was done, separated by commas
    description TEXT NOT NULL,
    status      TEXT NOT NULL,      -- IN PROGRESS, COMPLETED, DISCONTINUED
    reason      TEXT NOT NULL DEFAULT '',   -- why discontinued, PS3.16 CID 9301
    why         TEXT NOT NULL DEFAULT '',   -- the same in words
    started     TEXT NOT NULL,
    ended       TEXT NOT NULL DEFAULT '',
    images      INTEGER NOT NULL DEFAULT 0,
    dose        TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS scheduled_steps (  -- which each performed step says it answers
    mpps_uid  TEXT NOT NULL REFERENCES performed_steps,
    step_id   TEXT NOT NULL         -- empty if unscheduled
);
"""
_MPPS_STATES = ("IN PROGRESS", "COMPLETED", "DISCONTINUED")
_NO_LONGER_UPDATABLE = 0xA710  # Error ID of PS3.4 F.7.2.2.2

Follow = Callable[[str], None]


class StepManager:
    """Keeps the performed steps of a system, and tells it of each change.

    Parameters
    ----------
    system : System
        Its database has the tables of `SCHEMA`.
    follow : callable
        Called with the UID of a step that has begun or changed, within the
        transaction that keeps it.
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
        with self._system.db.transaction():
            self._system.db.insert(
                "performed_steps",
                mpps_uid=uid,
                status=status,
                started=_began(attributes) or self._system.now(),
                **_told(attributes),
            )
            for item in steps:
                step_id = text_of(item.get("ScheduledProcedureStepID"))
                self._system.db.insert("scheduled_steps", mpps_uid=uid, step_id=step_id)
            self._follow(uid)
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
        reasons = changes.get("PerformedProcedureStepDiscontinuationReasonCodeSequence") or []
        with self._system.db.transaction():
            self._system.db.run(
                "UPDATE performed_steps SET status = ?, images = ?, ended = ?, dose = ?, "
                "reason = ?, why = ? WHERE mpps_uid = ?",
                status,
                images or row["images"],
                "" if status == "IN PROGRESS" else self._system.now(),
                text_of(changes.get("CommentsOnRadiationDose")) or row["dose"],
                ",".join(_values(reasons, "CodeValue")),
                ", ".join(_values(reasons, "CodeMeaning")),
                uid,
            )
            self._follow(uid)
        return 0x0000, changes

    def table(self) -> Table:
        """Return every step, in the order in which they were begun."""
        rows = self._system.db.rows(
            "SELECT mpps_uid, "
            "(SELECT GROUP_CONCAT(step_id, ' ') FROM scheduled_steps s "
            "WHERE s.mpps_uid = p.mpps_uid), "
            "station, status, started, ended, images, description, why, dose "
            "FROM performed_steps p ORDER BY started, rowid"
        )
        columns = (
            "mpps_uid", "step_id", "station", "status", "started", "ended", "images",
            "performed", "reason", "dose",
        )  # fmt: skip
        return Table(columns, rows, "Performed procedure steps")


def _told(attributes: Dataset) -> dict[str, str]:
    """Return what a scanner says when it begins."""
    codes = attributes.get("ProcedureCodeSequence") or []
    [first, *_] = attributes.ScheduledStepAttributesSequence
    return {
        "study_uid": text_of(first.get("StudyInstanceUID")),
        "station": text_of(attributes.get("PerformedStationAETitle")),
        "modality": text_of(attributes.get("Modality")),
        "patient_id": text_of(attributes.get("PatientID")),
        "name": text_of(attributes.get("PatientName")),
        "codes": ",".join(_values(codes, "CodeValue")),
        "description": text_of(attributes.get("PerformedProcedureStepDescription")),
    }


def _values(items: Iterable[Any], keyword: str) -> list[str]:
    return [text_of(item.get(keyword)) for item in items if item.get(keyword)]


def _began(attributes: Dataset) -> str:
    """Return when a step began by the scanner's clock, as its images say; empty if it does not."""
    day = text_of(attributes.get("PerformedProcedureStepStartDate"))
    time = text_of(attributes.get("PerformedProcedureStepStartTime"))
    try:
        moment = datetime.strptime(day + time[:6], "%Y%m%d%H%M%S")
    except ValueError:
        return ""
    return moment.isoformat(timespec="seconds")
