"""What came of a day, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from labsim.day.records import DayEvent, DayExam, Worked
from labsim.errors import NotFound
from labsim.table import Table
from labsim.transcript import Transcript
from labsim.wire.matching import values_of

if TYPE_CHECKING:
    from labsim.hospital import Hospital

_MOMENTS = ("arrived", "begun", "completed", "reported")
# Procedures of these states have images, or had better have them.
_EXAMINED = ("COMPLETED", "REPORTED")


@dataclass(frozen=True, repr=False)
class Day:
    """A day of the department.

    Parameters
    ----------
    hospital : Hospital
        Where it took place.
    start, end : datetime
        From when to when, hospital time.
    exams : list of DayExam
        Each with its times and its outcome, in the order of the orders.
    scanners, readers : list of Worked
        When each worked, and how many waited.
    events : list of DayEvent
        What happened, in order.
    seconds : float
        How long it took to run.
    """

    hospital: Hospital
    start: datetime
    end: datetime
    exams: Sequence[DayExam]
    scanners: Sequence[Worked]
    readers: Sequence[Worked]
    events: Sequence[DayEvent]
    seconds: float

    def table(self) -> Table:
        """Return every exam with its times, one a line."""
        columns = (
            "accession",
            "patient ID",
            "examination",
            "kind",
            "priority",
            "scanner",
            "due",
            *_MOMENTS,
            "outcome",
            "problem",
        )
        rows = [
            (
                exam.accession,
                exam.patient_id,
                exam.planned.wanted.description,
                exam.planned.kind,
                exam.planned.priority,
                exam.station,
                _clock(exam.due),
                *(_clock(getattr(exam, moment)) for moment in _MOMENTS),
                exam.outcome,
                exam.problem,
            )
            for exam in self.exams
        ]
        return Table(columns, rows, f"Exams of {self.start:%A, %d %B %Y}")

    def by_hour(self) -> Table:
        """Return how many arrived, were begun, completed and reported in each hour."""
        first = self.start.replace(minute=0, second=0, microsecond=0)
        hours = int((self.end - first) / timedelta(hours=1)) + 1
        rows = []
        for hour in (first + timedelta(hours=n) for n in range(hours)):
            end = hour + timedelta(hours=1)
            counts = [
                sum(1 for time in self._times(moment) if hour <= time < end) for moment in _MOMENTS
            ]
            rows.append((f"{hour:%H:%M}", *counts))
        if not any(rows[-1][1:]):  # midnight itself
            rows.pop()
        return Table(("hour", *_MOMENTS), rows, "The day by the hour")

    def outcomes(self) -> Table:
        """Return how many exams came how far."""
        found = [exam.outcome for exam in self.exams]
        rows = [(outcome, found.count(outcome)) for outcome in dict.fromkeys(found)]
        rows.sort(key=lambda row: -row[1])
        return Table(("outcome", "exams"), rows, f"{len(found)} exams")

    def waiting(self, by: str = "modality") -> Table:
        """Return how long people waited, and how long their reports took.

        Parameters
        ----------
        by : str
            ``"modality"``, ``"priority"`` or ``"kind"``.

        Returns
        -------
        Table
            Minutes from the door to the scanner and from the scan to the
            final report: half of the exams took no longer than the median,
            nine of ten no longer than the 90th percentile.

        Raises
        ------
        NotFound
            If exams are not told apart by that.
        """
        groups: dict[str, list[DayExam]] = {}
        for exam in self.exams:
            groups.setdefault(_group(by)(exam), []).append(exam)
        rows = [
            (
                name,
                len(members),
                *_spread(exam.wait for exam in members),
                *_spread(exam.turnaround for exam in members),
            )
            for name, members in sorted(groups.items())
        ]
        columns = (
            by,
            "exams",
            "door to scan, median",
            "90th percentile",
            "scan to report, median",
            "90th percentile",
        )
        return Table(columns, rows, "Minutes of waiting")

    def utilisation(self) -> Table:
        """Return how much of their time scanners and readers worked, and the longest queues."""
        rows = []
        for who in (*self.scanners, *self.readers):
            part = who.worked / who.open if who.open else 0.0
            longest = max((length for _, length in who.queue), default="")
            rows.append((who.name, who.role, len(who.busy), f"{part:.0%}", longest))
        columns = ("who", "what", "exams", "at work", "longest queue")
        return Table(columns, rows, "Scanners and readers")

    def queue(self, scanner: str) -> Sequence[tuple[datetime, int]]:
        """Return how many waited for a scanner, from which time on.

        Parameters
        ----------
        scanner : str
            Its AE title.

        Raises
        ------
        NotFound
            If there was none of that title.
        """
        for who in self.scanners:
            if who.name == scanner:
                return who.queue
        raise NotFound(
            f"There was no scanner {scanner!r}.",
            f"There were {', '.join(who.name for who in self.scanners)}.",
        )

    def log(self) -> Table:
        """Return what happened, in order."""
        rows = [
            (f"{e.time:%H:%M:%S}", e.what, e.where, e.accession, e.placer_order, e.patient_id)
            for e in self.events
        ]
        columns = ("time", "what", "where", "accession", "order", "patient ID")
        return Table(columns, rows, f"{len(rows)} events of the day")

    def pick(self, accession: str) -> Transcript:
        """Return everything the journal has of one exam, across all systems.

        Raises
        ------
        NotFound
            If no exam has this accession number.
        """
        return self.hospital.journal.exam(accession)

    def unmatched(self) -> Table:
        """Return what archive and RIS do not agree on, asked of both now.

        Returns
        -------
        Table
            Studies of the archive (C-FIND) that are no procedure of the RIS,
            or have another accession number or patient there, and completed
            procedures without images in the archive; none if all is well.
        """
        found = self.hospital.tools.findscu(
            "pacs",
            level="STUDY",
            StudyInstanceUID="",
            AccessionNumber="",
            PatientID="",
            ModalitiesInStudy="",
        )
        pictured = {
            str(entry.StudyInstanceUID)
            for entry in found
            if set(values_of(entry["ModalitiesInStudy"])) - {"SR"}
        }
        studies = {
            str(entry.StudyInstanceUID): (str(entry.AccessionNumber), str(entry.PatientID))
            for entry in found
        }
        known = {procedure.study_uid: procedure for procedure in self.hospital.ris.procedures()}
        rows = []
        for uid, (accession, patient_id) in studies.items():
            procedure = known.get(uid)
            if procedure is None:
                rows.append(("no procedure at the RIS", uid, accession, patient_id))
            elif (accession, patient_id) != (procedure.accession, procedure.patient_id):
                told = f"the RIS has {procedure.accession} of {procedure.patient_id}"
                rows.append((told, uid, accession, patient_id))
        for uid, procedure in known.items():
            if procedure.status in _EXAMINED and uid not in pictured:
                rows.append(("no images", uid, procedure.accession, procedure.patient_id))
        columns = ("problem", "Study Instance UID", "accession", "patient ID")
        return Table(columns, rows, f"{len(studies)} studies, {len(rows)} unmatched")

    @property
    def exams_per_second(self) -> float:
        """How fast it ran."""
        return len(self.exams) / self.seconds

    def __str__(self) -> str:
        return f"{self._heading()}\n{self.outcomes()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{self._heading()}</p>{self.outcomes()._repr_html_()}"

    def _heading(self) -> str:
        images = sum(exam.images for exam in self.exams)
        return (
            f"{self.start:%A, %d %B %Y}: {len(self.exams)} exams ordered, {images} images stored; "
            f"run in {self.seconds:.1f} s."
        )

    def _times(self, moment: str) -> list[datetime]:
        found = (getattr(exam, moment) for exam in self.exams)
        return [time for time in found if time is not None]


def _group(by: str) -> Callable[[DayExam], str]:
    ways: dict[str, Callable[[DayExam], str]] = {
        "modality": lambda exam: exam.planned.wanted.modality,
        "priority": lambda exam: exam.planned.priority,
        "kind": lambda exam: exam.planned.kind,
    }
    if by not in ways:
        raise NotFound(f"Exams are not told apart by {by!r}.", f"Use {', '.join(ways)}.")
    return ways[by]


def _spread(lengths: Iterable[timedelta | None]) -> tuple[str, str]:
    """Return median and 90th percentile in minutes, empty where there is nothing."""
    minutes = sorted(length.total_seconds() / 60 for length in lengths if length is not None)
    if not minutes:
        return "", ""
    ninetieth = minutes[min(len(minutes) - 1, int(0.9 * len(minutes)))]
    return f"{statistics.median(minutes):.0f}", f"{ninetieth:.0f}"


def _clock(time: datetime | None) -> str:
    return f"{time:%H:%M}" if time is not None else ""
