"""What a day remembers: each examination, each scanner, each reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from labsim.day.plan import COMPLETED, Planned
from labsim.errors import LabError

ORDERED, REPORTED, STOPPED = "ordered", "reported", "stopped"
LATER = "on a later day"


@dataclass
class DayExam:
    """One examination of the day, and how far it came.

    Parameters
    ----------
    planned : Planned
        What was going to happen.
    patient_id, placer_order, accession, study_uid, station : str
        What HIS and RIS made of it.
    mpps_uid : str
        What the scanner made of it.
    due : datetime or None
        For when it is scheduled.
    arrived, begun, completed, preliminary, reported : datetime or None
        When; None for what did not happen.
    images : int
        How many the archive took.
    outcome : str
        ``"ordered"``, ``"no show"``, ``"cancelled"``, ``"discontinued"``,
        ``"completed"`` and not reported yet, ``"reported"``, ``"on a later day"``
        if the calendar is full, or ``"stopped"``.
    problem : str
        What went wrong first, in a sentence; empty if nothing did.
    """

    planned: Planned
    patient_id: str = ""
    placer_order: str = ""
    accession: str = ""
    study_uid: str = ""
    station: str = ""
    mpps_uid: str = ""
    due: datetime | None = None
    arrived: datetime | None = None
    begun: datetime | None = None
    completed: datetime | None = None
    preliminary: datetime | None = None
    reported: datetime | None = None
    images: int = 0
    outcome: str = ORDERED
    problem: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more is going to happen, but for an addendum."""
        return self.outcome not in (ORDERED, COMPLETED)

    @contextmanager
    def trying(self, step: str) -> Iterator[None]:
        """Note what goes wrong in a block, and go on after it, as people do."""
        try:
            yield
        except LabError as error:
            self.problem = self.problem or f"At the {step}: {error.what}"

    @property
    def wait(self) -> timedelta | None:
        """From the door to the scanner."""
        return self.begun - self.arrived if self.begun and self.arrived else None

    @property
    def turnaround(self) -> timedelta | None:
        """From the end of the scan to the final report."""
        return self.reported - self.completed if self.reported and self.completed else None


@dataclass(frozen=True)
class DayEvent:
    """Something that happened, for whom, and where.

    Parameters
    ----------
    time : datetime
        When.
    what : str
        ``"registered"``, ``"ordered"``, ``"scheduled"``, ``"arrived"`` …
    where : str
        HIS, RIS, a scanner's AE title or a reader.
    patient_id, placer_order, accession : str
        For whom.
    """

    time: datetime
    what: str
    where: str
    patient_id: str
    placer_order: str
    accession: str


@dataclass
class Worked:
    """When somebody or something was at work.

    Parameters
    ----------
    name : str
        A scanner's AE title, or a reader.
    role : str
        The kind of scanner, or the reader's role.
    open : timedelta
        How long it was open, or on duty.
    busy : list of (datetime, datetime)
        From when to when it worked.
    queue : list of (datetime, int)
        How many waited from then on; for scanners.
    """

    name: str
    role: str
    open: timedelta
    busy: list[tuple[datetime, datetime]] = field(default_factory=list)
    queue: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def worked(self) -> timedelta:
        """How long it worked."""
        return sum((end - begin for begin, end in self.busy), timedelta())
