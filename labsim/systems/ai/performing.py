"""How the AI node works through a Unified Procedure Step, from its input to its results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt

from labsim.ids import is_uid, make_uid
from labsim.systems.ai.images import Images, write_durably
from labsim.systems.ai.nodules import find_nodules
from labsim.systems.ai.results import results_of
from labsim.systems.ai.source import ResultRefused, Source, references
from labsim.systems.ai.volume import INCOMPLETE, Reason, Unsuitable, volume_of
from labsim.systems.catalogue import CODING_SCHEME
from labsim.systems.facility import System, text_of
from labsim.systems.performed_step import code_item
from labsim.systems.workitems.attributes import (
    CANCELED,
    COMPLETED,
    IN_PROGRESS,
    SCHEDULED,
    progress,
)
from labsim.systems.workitems.worklist import Workitems

DETECTION = ("110004", "DCM", "Computer Aided Detection")  # PS3.16 CID 9231
_MISTAKEN: Reason = ("110514", "DCM", "Incorrect worklist entry selected")  # CID 9300
_UNSPECIFIED: Reason = ("110513", "DCM", "Discontinued for unspecified reason")
SCHEMA = """
CREATE TABLE IF NOT EXISTS looked_at (   -- series whose results are on disk
    number     INTEGER NOT NULL,         -- of the work item
    series_uid TEXT NOT NULL,
    findings   INTEGER NOT NULL,
    PRIMARY KEY (number, series_uid)
);
"""


class _Stopped(Unsuitable):
    """Somebody wishes that the step end, or what it says cannot be right."""


class Performer:
    """Performs steps; what is done of one is on disk, and not done again after a restart.

    Parameters
    ----------
    system : System
        The AI node; its database has the table of `SCHEMA`.
    ae_title : str
        Its AE title, by which a step may name its station.
    steps, images, source
        Its list of work, the images it has, and the archive.
    folder : Path
        For the results.
    """

    def __init__(
        self,
        system: System,
        ae_title: str,
        steps: Workitems,
        images: Images,
        source: Source,
        folder: Path,
    ) -> None:
        self._system = system
        self._station = code_item(ae_title, CODING_SCHEME, f"{system.name} {ae_title}")
        self._steps = steps
        self._images = images
        self._source = source
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def can_perform(self, uid: str) -> bool:
        """Tell whether a step is for this system: its kind, its station, and its input is ready."""
        step = self._steps.get(uid)
        for keyword, value in (
            ("ScheduledWorkitemCodeSequence", DETECTION[0]),
            ("ScheduledStationNameCodeSequence", self._station.CodeValue),
        ):
            codes = [item.get("CodeValue") for item in step.get(keyword) or ()]
            if codes and value not in codes:
                return False
        return bool(step.InputReadinessState == "READY")

    def perform(self, uid: str, number: int) -> None:
        """Work through a step until it has ended, or must wait for the archive.

        Raises
        ------
        LabError
            If it must wait: it stays IN PROGRESS, to be taken up again.
        """
        lock = self._steps.lock(uid) or self._claim(uid)
        try:
            self._require_wanted(uid)
            found = self._look_at_all(uid, number, lock)
            results = [dcmread(path) for path in self._files(number)]
            self._tell(uid, lock, 75, f"{found} nodules, to be stored")
            self._source.store(results)
        except (Unsuitable, ResultRefused) as error:
            self._cancel(uid, lock, error.what, getattr(error, "reason", _UNSPECIFIED))
            return
        self._finish(uid, lock, results)
        self._tell(uid, lock, 100, f"{found} nodules", stoppable=False)
        self._steps.change_state(uid, COMPLETED, lock, own=True)

    # The parts of it

    def _claim(self, uid: str) -> str:
        lock = generate_uid(prefix=None)
        self._steps.change_state(uid, IN_PROGRESS, lock, own=True)
        performed = Dataset()
        performed.PerformedProcedureStepStartDateTime = self._now()
        self._set(uid, lock, UnifiedProcedureStepPerformedProcedureSequence=[performed])
        return lock

    def _look_at_all(self, uid: str, number: int, lock: str) -> int:
        """Look at each series, and return how many nodules there are."""
        step = self._steps.get(uid)
        found, looked, problems = 0, 0, list[Unsuitable]()
        for study_uid, series_uid in self._wanted(step):
            try:
                self._bring(study_uid, series_uid)
                self._tell(uid, lock, 25, f"looking at series {series_uid}")
                found += self._look(step, number, series_uid)
                looked += 1
            except _Stopped:
                raise
            except Unsuitable as error:
                problems.append(error)
        if not looked:
            raise problems[0]
        return found

    def _wanted(self, step: Dataset) -> list[tuple[str, str]]:
        """Return study and series of what a step is about; of a study alone, all that are CT."""
        named = list(step.get("InputInformationSequence") or ()) or [step]
        wanted: list[tuple[str, str]] = []
        for item in named:
            study_uid = text_of(item.get("StudyInstanceUID"))
            series_uid = text_of(item.get("SeriesInstanceUID"))
            if not is_uid(study_uid) or (series_uid and not is_uid(series_uid)):
                raise Unsuitable("The work item does not name the study of its input.", INCOMPLETE)
            series = [series_uid] if series_uid else self._source.ct_series(study_uid)
            wanted += [(study_uid, each) for each in series]
        if not wanted:
            raise Unsuitable("The archive has no CT series of that study.", INCOMPLETE)
        return list(dict.fromkeys(wanted))

    def _bring(self, study_uid: str, series_uid: str) -> None:
        """Fetch what is not here of a series."""
        expected = self._source.count(study_uid, series_uid)
        if self._images.count(series_uid) < expected:
            self._source.fetch(study_uid, series_uid, self._take)
        came = self._images.count(series_uid)
        if not came and not expected:
            raise Unsuitable(f"The archive has no series {series_uid}.", INCOMPLETE)
        if came < expected:
            raise Unsuitable(f"{came} of {expected} images came from the archive.", INCOMPLETE)

    def _take(self, event: evt.Event) -> int:
        image = event.dataset
        if not is_uid(text_of(image.get("SOPInstanceUID"))):
            return 0xA900
        self._images.keep(event.encoded_dataset(), image, done=True)
        return 0x0000

    def _look(self, step: Dataset, number: int, series_uid: str) -> int:
        """Write the results of a series to disk, and return how many nodules it has."""
        known = self._system.db.value(
            "SELECT findings FROM looked_at WHERE number = ? AND series_uid = ?", number, series_uid
        )
        if known is not None:
            return int(known)
        volume = volume_of(self._images.of(series_uid))
        patient = text_of(volume.images[0].get("PatientID"))
        if step.get("PatientID") and step.PatientID != patient:
            raise _Stopped("The images are not of the patient whom the work item names.", _MISTAKEN)
        findings = find_nodules(volume)
        uid = partial(make_uid, "ai", self._system.facility.seed, step.SOPInstanceUID, series_uid)
        facility = self._system.facility
        made = results_of(volume, findings, uid, facility.institution, facility.clock.now())
        done = self._system.db.value("SELECT COUNT(*) FROM looked_at WHERE number = ?", number)
        for order, result in enumerate(made):
            data = BytesIO()
            dcmwrite(data, result, enforce_file_format=True)
            name = f"{number}-{done:03}-{order}-{result.Modality}.dcm"
            write_durably(self._folder / name, data.getvalue())
        self._system.db.insert(
            "looked_at", number=number, series_uid=series_uid, findings=len(findings)
        )
        return len(findings)

    def _files(self, number: int) -> list[Path]:
        return sorted(self._folder.glob(f"{number}-*.dcm"))

    def _finish(self, uid: str, lock: str, results: Sequence[Dataset]) -> None:
        """Write down what was done, and name the results (PS3.3 C.30.3)."""
        step = self._steps.get(uid)
        performed = step.UnifiedProcedureStepPerformedProcedureSequence[0]
        performed.PerformedStationNameCodeSequence = [self._station]
        performed.PerformedWorkitemCodeSequence = [code_item(*DETECTION)]
        performed.PerformedProcedureStepEndDateTime = self._now()
        performed.OutputInformationSequence = references(results, self._source.peer.ae_title)
        self._set(uid, lock, UnifiedProcedureStepPerformedProcedureSequence=[performed])

    def _cancel(self, uid: str, lock: str, what: str, reason: Reason) -> None:
        """End a step without a result, and say why."""
        told = progress(self._steps.get(uid))
        told.ReasonForCancellation = what
        asked = self._steps.cancel_request(uid) or Dataset()
        codes = asked.get("ProcedureStepDiscontinuationReasonCodeSequence")
        told.ProcedureStepDiscontinuationReasonCodeSequence = codes or [code_item(*reason)]
        self._set(uid, lock, ProcedureStepProgressInformationSequence=[told])
        self._steps.change_state(uid, CANCELED, lock, own=True)

    # Progress

    def _tell(self, uid: str, lock: str, percent: int, what: str, stoppable: bool = True) -> None:
        """Set how far a step is; one that somebody wishes to end goes no further."""
        if stoppable:
            self._require_wanted(uid)
        told = progress(self._steps.get(uid))
        told.ProcedureStepProgress = percent
        told.ProcedureStepProgressDescription = what
        self._set(uid, lock, ProcedureStepProgressInformationSequence=[told])

    def _require_wanted(self, uid: str) -> None:
        asked = self._steps.cancel_request(uid)
        if asked is not None:
            why = text_of(asked.get("ReasonForCancellation")) or "Its end was asked for."
            raise _Stopped(why, _UNSPECIFIED)

    def _set(self, uid: str, lock: str, **values: object) -> None:
        changes = Dataset()
        for keyword, value in values.items():
            setattr(changes, keyword, value)
        self._steps.update(uid, changes, lock, own=True)

    def _now(self) -> str:
        return self._system.facility.clock.now().strftime("%Y%m%d%H%M%S")


def scheduled(images: list[Dataset], archive: str, now: str) -> Dataset:
    """Return the step that looks at a series (PS3.4 table CC.2.5-3, column N-CREATE).

    Parameters
    ----------
    images : list of Dataset
        All images of the series.
    archive : str
        AE title from which they can be retrieved.
    now : str
        As VR DT.
    """
    first = images[0]
    step = Dataset()
    step.ProcedureStepState = SCHEDULED
    step.ScheduledProcedureStepPriority = "MEDIUM"
    step.ScheduledProcedureStepStartDateTime = now
    step.ProcedureStepLabel = "Nodules in the CT of the thorax"
    step.InputReadinessState = "READY"
    step.ScheduledWorkitemCodeSequence = [code_item(*DETECTION)]
    step.InputInformationSequence = references(images, archive)
    step.StudyInstanceUID = first.StudyInstanceUID
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"):
        setattr(step, keyword, first.get(keyword, ""))
    step.PatientSex = first.get("PatientSex", "")
    if first.get("AccessionNumber"):
        request = Dataset()
        request.StudyInstanceUID = first.StudyInstanceUID
        request.AccessionNumber = first.AccessionNumber
        for keyword in ("RequestedProcedureID", "RequestedProcedureDescription"):
            asked = (first.get("RequestAttributesSequence") or [Dataset()])[0]
            setattr(request, keyword, asked.get(keyword, ""))
        request.RequestedProcedureCodeSequence = []
        step.ReferencedRequestSequence = [request]
    return step
