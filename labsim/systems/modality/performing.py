"""Performing: a step is begun and ends, and the RIS is told (RAD-6, RAD-7)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydicom.dataset import Dataset

from labsim.errors import AssociationFailed, ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.catalogue import Examination, examination, examinations
from labsim.systems.modality.acquiring import Acquiring
from labsim.systems.modality.sending import SendingImages
from labsim.systems.modality.tables import OF_EXAM
from labsim.systems.modality.telling import Telling
from labsim.systems.performed_step import (
    WRONG_ENTRY,
    PerformedStep,
    check_reason,
    typed_entry,
)


class Performing(Acquiring, SendingImages, Telling):
    """Begins steps and ends them."""

    # Begin

    def start_step(
        self, entry: Dataset | Sequence[Dataset], *, perform: str = "", offline: bool = False
    ) -> str:
        """Begin what the worklist asks for (MPPS N-CREATE, RAD-6).

        Several entries of one patient are done in one go, the group case of IHE
        Scheduled Workflow: one performed step and one study for all of them.
        The study gets a UID of its own, and no Accession Number if there are
        several (PS3.17 J.4.1).

        Parameters
        ----------
        entry : Dataset or sequence of Dataset
            From `query_worklist` or `worklist`.
        perform : str
            Code of the examination that is done instead of the one asked for.
        offline : bool
            Begin although the RIS may not answer; `tell_ris` tells it later.

        Returns
        -------
        str
            The UID of the performed procedure step.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        ConfigurationError
            If the entries are of several patients, or the scanner does not do that.
        """
        entries = (entry,) if isinstance(entry, Dataset) else tuple(entry)
        if len({_patient(one) for one in entries}) != 1:
            raise ConfigurationError(
                f"A step is of one patient; these are {len(entries)} entries of "
                f"{len({_patient(one) for one in entries})}.",
                "Choose one entry, or several of one patient.",
            )
        wanted = [self._able(perform)] if perform else [self._wanted(one) for one in entries]
        studies = {str(one.StudyInstanceUID) for one in entries}
        study_uid = studies.pop() if len(studies) == 1 else self._new_uid("study")
        return self._begin(study_uid, entries, wanted, offline)

    def start_unscheduled(
        self,
        name: str,
        *,
        patient_id: str = "",
        birth_date: str = "",
        sex: str = "",
        perform: str = "",
        offline: bool = False,
    ) -> str:
        """Begin without a worklist entry: an emergency, or a RIS that is down (RAD-6).

        The scanner makes the Study Instance UID; order numbers are empty in the
        performed step and in the images (IHE Scheduled Workflow, unscheduled
        case). The RIS keeps the step until `Ris.match` says whose it is.

        Parameters
        ----------
        name : str
            What is known, ``"Family^Given"``.
        patient_id : str
            As typed, so without an issuer; the scanner makes one up if it is
            left out, because two unknown patients are not one.
        birth_date, sex : str
            As far as they are known: ``"19700131"``, ``"F"``.
        perform : str
            Code of the examination; the first that the scanner does if left out.
        offline : bool
            As of `start_step`.

        Returns
        -------
        str
            The UID of the performed procedure step.
        """
        if not name.strip("^ "):
            raise ConfigurationError("A patient needs a name.", 'Write "Unknown^Male" if need be.')
        wanted = self._able(perform) if perform else self._known()[0]
        study_uid = self._new_uid("study")
        number = patient_id or f"{self.ae_title}-{self.db.next('unknown patient'):04d}"
        entry = typed_entry(study_uid, name.strip(), number, birth_date, sex)
        return self._begin(study_uid, (entry,), [wanted], offline)

    def append(self, exam: str, *, perform: str = "", offline: bool = False) -> str:
        """Begin a second step of an examination that this scanner has ended (append case).

        Same study, same scheduled step, more series.

        Parameters
        ----------
        exam : str
            Its accession number, or the UID of one of its steps.
        perform : str
            Code of what is done; the same again if left out.
        offline : bool
            As of `start_step`.

        Returns
        -------
        str
            The UID of the new performed procedure step.

        Raises
        ------
        NotFound
            If this scanner has not begun it.
        ConfigurationError
            If a step of it is still in progress.
        """
        rows = self.db.rows(f"SELECT * FROM steps WHERE {OF_EXAM} ORDER BY rowid", exam)
        if not exam or not rows:
            raise NotFound(
                f"{self.ae_title} has no examination {exam!r} to append to.",
                f'hospital.modality("{self.name}").steps() lists what it has done.',
            )
        if rows[-1]["status"] == "IN PROGRESS":
            raise ConfigurationError(
                f"A step of {exam} is still in progress.", "Acquire into it, or complete it."
            )
        last = self._step(rows[-1]["mpps_uid"])
        wanted = [self._able(perform)] if perform else last.performed
        return self._begin(last.study_uid, last.entries, wanted, offline)

    def _begin(
        self,
        study_uid: str,
        entries: tuple[Dataset, ...],
        wanted: Sequence[Examination],
        offline: bool,
    ) -> str:
        step = PerformedStep(
            mpps_uid=self._new_uid("mpps", "step"),
            study_uid=study_uid,
            entries=entries,
            performed=tuple(dict.fromkeys(wanted)),
            started=self.now(),
            first=self._first_step(study_uid),
        )
        told = "IN PROGRESS"
        try:
            self._send_create(step)
        except AssociationFailed:
            if not offline:
                raise
            told = ""
        with self.db.transaction():
            self.db.insert(
                "steps",
                mpps_uid=step.mpps_uid,
                study_uid=study_uid,
                performed=json.dumps([one.code for one in step.performed]),
                started=step.started,
                status="IN PROGRESS",
                told=told,
            )
            for entry in entries:
                self.db.insert(
                    "step_entries",
                    mpps_uid=step.mpps_uid,
                    accession=str(entry.get("AccessionNumber") or ""),
                    step_id=str(
                        entry.ScheduledProcedureStepSequence[0].get("ScheduledProcedureStepID")
                        or ""
                    ),
                    item=entry.to_json(),
                )
        self._note_step(step, "step begun" if told else "step begun; the RIS is not told yet")
        return step.mpps_uid

    # End

    def update_step(self, mpps_uid: str) -> None:
        """Tell the RIS what a step in progress has made so far (MPPS N-SET).

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        self._send_set(self._step(mpps_uid), "IN PROGRESS")

    def complete_step(self, mpps_uid: str) -> None:
        """Tell the RIS that a step is done (MPPS N-SET, RAD-7).

        Images are sent now if the scanner is so configured (`configure_sending`).

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        """
        self._end(mpps_uid, "COMPLETED")

    def discontinue_step(self, mpps_uid: str, reason: str = "110513") -> None:
        """Tell the RIS that a step was given up (MPPS N-SET, RAD-7).

        Images that were taken are kept and sent as any others, but not those of
        a step for which the wrong worklist entry was chosen (``110514``): they
        would be filed under another patient.

        Parameters
        ----------
        mpps_uid : str
            Which step.
        reason : str
            Code of PS3.16 CID 9301, one of `DISCONTINUATION_REASONS`.

        Raises
        ------
        AssociationFailed, DimseFailed
            If the RIS does not take it.
        ConfigurationError
            If the reason is none.
        """
        self._end(mpps_uid, "DISCONTINUED", check_reason(reason))

    def _end(self, mpps_uid: str, status: str, reason: str = "") -> None:
        step, row = self._step(mpps_uid), self._step_row(mpps_uid)
        told = row["told"]
        if told:
            self._send_set(step, status, reason)
            told = status
        elif row["status"] != "IN PROGRESS":
            raise ConfigurationError(f"The step is {row['status']} already.")
        with self.db.transaction():
            self.db.run(
                "UPDATE steps SET status = ?, reason = ?, ended = ?, told = ? WHERE mpps_uid = ?",
                *(status, reason, self.now(), told, mpps_uid),
            )
            if reason == WRONG_ENTRY:
                self.db.run(
                    "UPDATE images SET state = 'withheld' WHERE mpps_uid = ? AND state <> 'sent'",
                    mpps_uid,
                )
        self._note_step(step, f"step {status}" + ("" if told else "; the RIS is not told yet"))
        if self._setting("auto_send", 0):
            self._send_in_background()

    # What the scanner can do

    def _known(self) -> list[Examination]:
        return [known for known in examinations() if known.modality == self.modality]

    def _able(self, code: str) -> Examination:
        known = examination(code)
        if known.modality != self.modality:
            able = ", ".join(one.code for one in self._known())
            raise ConfigurationError(
                f"{self.ae_title} does no {known.description}.", f"It does {able}."
            )
        return known

    def _wanted(self, entry: Dataset) -> Examination:
        """Return what an entry asks for by its code, else the first that the scanner can do."""
        codes = entry.get("RequestedProcedureCodeSequence") or []
        code = str(codes[0].get("CodeValue") or "") if codes else ""
        able = self._known()
        return next((known for known in able if known.code == code), able[0])

    def _new_uid(self, kind: str, counter: str = "") -> str:
        number = self.db.next(counter or f"own {kind}")
        return make_uid(kind, self.facility.seed, self.name, number)


def _patient(entry: Dataset) -> tuple[str, str]:
    return str(entry.get("PatientID") or ""), str(entry.get("IssuerOfPatientID") or "")
