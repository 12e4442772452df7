"""Disaster recovery: a PACS comes back from a backup, and the hospital measures what that took.

The recovery point objective says how much may be lost, the recovery time
objective how long it may take. Both are promises; here they are measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from labsim.systems.facility import System
from labsim.systems.pacs import Pacs, backup
from labsim.systems.records import Record

if TYPE_CHECKING:
    from labsim.recoverable import Recoverable


@dataclass(frozen=True)
class Recovery(Record):
    """What a disaster cost.

    Parameters
    ----------
    down_at, up_at, backup_of : str
        When the archive went away, when it was back, and of which moment the
        backup was; hospital time.
    lost_time : timedelta
        From the backup to the end of the old archive: what may be lost. To be
        held against the recovery point objective.
    away : timedelta
        How long the archive was away, hospital time. To be held against the
        recovery time objective.
    restore_seconds : float
        What the restore itself took, seconds of this machine.
    lost_images : tuple of str
        SOP Instance UIDs that the old archive had acknowledged and the new
        one has not.
    lost_studies : tuple of str
        Their studies; a scanner may still have them.
    """

    down_at: str
    up_at: str
    backup_of: str
    lost_time: timedelta
    away: timedelta
    restore_seconds: float
    lost_images: tuple[str, ...]
    lost_studies: tuple[str, ...]


@dataclass(frozen=True)
class Down:
    """A system that is down.

    Parameters
    ----------
    at : datetime
        Since when, hospital time.
    own_time : datetime
        The same by the clock of its host, which also dates its backups.
    ports : mapping of str to int
        The loopback ports it had, by ``"pacs.dicom"`` and the like.
    images : mapping of str to str
        What an archive had: SOP Instance UIDs, each with its Study Instance UID.
    """

    at: datetime
    own_time: datetime
    ports: Mapping[str, int]
    images: Mapping[str, str]

    @classmethod
    def of(cls, system: System) -> Down:
        """Note what a system is, just before it goes down."""
        ports = {f"{system.name}.{s.place}": s.port for s in system.listening()}
        facility = system.facility
        return cls(facility.journal.now(), facility.clock.now(), ports, _images(system))


def recover_pacs(
    hospital: Recoverable, down: Down, folder: Path, snapshot: int | None, host: str = ""
) -> Recovery:
    """Restore a PACS that is down and measure it; see `Hospital.recover_pacs`."""
    began = time.monotonic()
    number = backup.sound(folder, snapshot, hospital.site.issuer)
    taken_at = backup.restore(folder, number, hospital.path / "pacs", "all")
    hospital.bring_up("pacs", host=host)
    seconds = time.monotonic() - began
    there, now = _images(hospital.pacs), hospital.clock.now()
    lost = {image: study for image, study in down.images.items() if image not in there}
    recovery = Recovery(
        down_at=down.at.isoformat(timespec="seconds"),
        up_at=now.isoformat(timespec="seconds"),
        backup_of=taken_at,
        lost_time=down.own_time - datetime.fromisoformat(taken_at),
        away=now - down.at,
        restore_seconds=round(seconds, 3),
        lost_images=tuple(lost),
        lost_studies=tuple(dict.fromkeys(lost.values())),
    )
    hospital.pacs.note(
        f"recovered from the backup of {taken_at}: {len(lost)} images lost, away {recovery.away}"
    )
    return recovery


def _images(system: System) -> dict[str, str]:
    if not isinstance(system, Pacs):
        return {}
    rows = system.db.rows(
        "SELECT i.sop_uid, st.study_uid FROM instances i "
        "JOIN series se ON se.id = i.series JOIN studies st ON st.id = se.study ORDER BY i.id"
    )
    return {row["sop_uid"]: row["study_uid"] for row in rows}
