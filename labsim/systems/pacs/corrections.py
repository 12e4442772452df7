"""Corrections of studies: another patient, another accession number, a side that was missing.

IHE profile Patient Information Reconciliation, as far as it is done at the
Image Manager by hand.
"""

from __future__ import annotations

import json
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.announced import Announced
from labsim.systems.pacs.ledger import Correction, Ledger

# Which column of which level has an attribute that the index knows, too.
INDEXED_AT: dict[str, tuple[str, str]] = {
    "AccessionNumber": ("studies", "accession"),
    "StudyID": ("studies", "study_id"),
    "StudyDate": ("studies", "study_date"),
    "StudyTime": ("studies", "study_time"),
    "StudyDescription": ("studies", "description"),
    "ReferringPhysicianName": ("studies", "referring"),
    "Modality": ("series", "modality"),
    "SeriesNumber": ("series", "number"),
    "SeriesDescription": ("series", "description"),
    "BodyPartExamined": ("series", "body_part"),
    "ProtocolName": ("series", "protocol"),
    "SeriesDate": ("series", "series_date"),
    "SeriesTime": ("series", "series_time"),
    "InstanceNumber": ("instances", "number"),
}
_LEVELS = (("studies", "study_uid"), ("series", "series_uid"), ("instances", "sop_uid"))
_NOT_TEXT = {"SQ", "UI", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "AT", "FL", "FD"}
_OF_PATIENT = {
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
}  # fmt: skip


class Corrections:
    """Moves a study to another patient, and corrects its attributes.

    Parameters
    ----------
    system : System
        The PACS.
    announced : Announced
        What orders have said.
    ledger : Ledger
        Where each correction is entered.
    """

    def __init__(self, system: System, announced: Announced, ledger: Ledger) -> None:
        self._system = system
        self._announced = announced
        self._ledger = ledger

    def move(
        self,
        study_uid: str,
        to_patient_id: str,
        *,
        reason: str,
        who: str = "administrator",
        coded_reason: str = "CORRECT",
        dry_run: bool = False,
    ) -> Correction:
        """File a study under another patient, and send it under their data from now on.

        The UIDs stay: it is the same study (PS3.4 B.4.1 lets an archive coerce
        the Patient ID). More images that come for it under the old identity
        are filed in the same way. Copies elsewhere stay wrong; the plan names
        who has been sent any.

        Raises
        ------
        NotFound
            If the archive knows neither the study nor the patient.
        ConfigurationError
            If there is no reason, or the study is the patient's already.
        """
        return self.correct(
            study_uid,
            patient_id=to_patient_id,
            reason=reason,
            who=who,
            coded_reason=coded_reason,
            dry_run=dry_run,
        )

    def correct(
        self,
        uid: str,
        *,
        reason: str,
        who: str = "administrator",
        coded_reason: str = "CORRECT",
        dry_run: bool = False,
        patient_id: str = "",
        accession: str | None = None,
        **attributes: str,
    ) -> Correction:
        """Correct a study, a series or an image; its files stay as they came.

        Parameters
        ----------
        uid : str
            Study, Series or SOP Instance UID.
        reason, who : str
            Why, and who says so.
        coded_reason : str
            Reason for the Attribute Modification (0400,0565): ``"CORRECT"``
            for what was wrong, ``"COERCE"`` for what was right elsewhere.
        dry_run : bool
            Only say what it would do.
        patient_id : str
            Whose the study is: ``"NUMBER"``, or ``"NUMBER^^^ISSUER"``.
        accession : str, optional
            Accession Number (0008,0050).
        **attributes : str
            Others by keyword, such as ``Laterality="L"``.

        Raises
        ------
        NotFound
            If the archive knows neither what has the UID, nor the patient.
        ConfigurationError
            If there is no reason, nothing changes, or something cannot be changed here.
        """
        table, row = self._find(uid)
        if accession is not None:
            attributes["AccessionNumber"] = accession
        study = self._study_of(table, int(row["id"]))
        changes = self._patient_changes(table, study, patient_id) if patient_id else {}
        for keyword, value in attributes.items():
            _check_keyword(keyword, table)
            changes[keyword] = (self._before(keyword, row), value)
        self._ledger.require(reason, coded_reason)
        changed = {key: pair for key, pair in changes.items() if pair[0] != pair[1]}
        if not changed:
            raise ConfigurationError("That is what the archive has already.", "Nothing to correct.")
        kind = "move" if patient_id else "correct"
        images = self._images(table, int(row["id"]))
        shown = [(key, *pair) for key, pair in changed.items()] + self._ledger.copies(images)
        correction = Correction(0, kind, study["study_uid"], "", len(images), shown)
        if dry_run:
            return correction
        with self._system.db.transaction():
            number = self._ledger.record(correction, who, reason, coded_reason)
            undo: list[tuple[str, int, str, object]] = []
            if patient_id:
                undo.append(self._refile_patient(study, patient_id, number))
            for keyword, (_, after) in changed.items():
                self._system.db.insert(
                    "overlays", correction=number, uid=uid, keyword=keyword, value=after
                )
                if keyword in INDEXED_AT:
                    undo.append(self._change_index(keyword, row, after))
            self._ledger.finish(number, undo)
        return self._noted(correction, number, who, reason)

    def undo(self, number: int, *, reason: str, who: str = "administrator") -> None:
        """Take back a move or a correction.

        Raises
        ------
        NotFound
            If there is no such correction.
        ConfigurationError
            If it is taken back already, or a later one has to be taken back first.
        """
        row = self._ledger.get(number)
        self._ledger.require(reason)
        undo = json.loads(row["undo"])
        patients = [old for _, _, column, old in undo if column == "patient"]
        if any(not self._system.db.row("SELECT 1 FROM patients WHERE id = ?", p) for p in patients):
            raise ConfigurationError(
                "The patient who had the study was merged into another in the meantime.",
                "Move it with hospital.pacs.move_study(…).",
            )
        with self._system.db.transaction():
            for table, row_id, column, old in undo:
                self._system.db.run(f"UPDATE {table} SET {column} = ? WHERE id = ?", old, row_id)
            self._system.db.run("DELETE FROM study_identities WHERE correction = ?", number)
            self._system.db.run("UPDATE corrections SET state = 'undone' WHERE id = ?", number)
        self._ledger.note(f"correction {number} taken back by {who}: {reason}", row["study_uid"])

    # Rows

    def _find(self, uid: str) -> tuple[str, dict[str, Any]]:
        for table, column in _LEVELS:
            row = self._system.db.row(f"SELECT * FROM {table} WHERE {column} = ?", uid)
            if row is not None:
                return table, dict(row)
        raise NotFound(
            f"The PACS has no study, series or instance {uid!r}.",
            "hospital.tools.findscu() has the UIDs.",
        )

    def _study_of(self, table: str, row_id: int) -> dict[str, str]:
        of_level = {"studies": "st.id", "series": "se.id", "instances": "i.id"}[table]
        row = self._system.db.row(
            "SELECT st.id, st.study_uid, p.patient_id, p.issuer, p.name, p.birth_date, p.sex "
            "FROM studies st JOIN patients p ON p.id = st.patient "
            "LEFT JOIN series se ON se.study = st.id LEFT JOIN instances i ON i.series = se.id "
            f"WHERE {of_level} = ?",
            row_id,
        )
        assert row is not None
        return dict(row)

    def _images(self, table: str, row_id: int) -> list[str]:
        of_level = {"studies": "se.study", "series": "se.id", "instances": "i.id"}[table]
        rows = self._system.db.rows(
            "SELECT i.sop_uid FROM instances i JOIN series se ON se.id = i.series "
            f"WHERE {of_level} = ?",
            row_id,
        )
        return [row["sop_uid"] for row in rows]

    def _patient_changes(
        self, table: str, study: dict[str, str], patient_id: str
    ) -> dict[str, tuple[str, str]]:
        if table != "studies":
            raise ConfigurationError(
                "Only a whole study can move to another patient.",
                "Split off what is of somebody else with hospital.pacs.split_study(…).",
            )
        target = self._announced.required(patient_id)
        if (target.patient_id, target.issuer) == (study["patient_id"], study["issuer"]):
            raise ConfigurationError(
                f"The study is of patient {target.patient_id} already.", "Nothing to move."
            )
        return {
            "PatientID": (study["patient_id"], target.patient_id),
            "IssuerOfPatientID": (study["issuer"], target.issuer),
            "PatientName": (study["name"], target.name),
            "PatientBirthDate": (study["birth_date"], target.birth_date),
            "PatientSex": (study["sex"], target.sex),
        }

    def _before(self, keyword: str, row: dict[str, Any]) -> str:
        if keyword in INDEXED_AT:
            return str(row[INDEXED_AT[keyword][1]])
        return "as it came"  # each file has its own value

    def _change_index(
        self, keyword: str, row: dict[str, Any], value: str
    ) -> tuple[str, int, str, object]:
        table, column = INDEXED_AT[keyword]
        self._system.db.run(f"UPDATE {table} SET {column} = ? WHERE id = ?", value, row["id"])
        return table, int(row["id"]), column, row[column]

    def _refile_patient(
        self, study: dict[str, str], patient_id: str, number: int
    ) -> tuple[str, int, str, object]:
        before = self._system.db.value("SELECT patient FROM studies WHERE id = ?", study["id"])
        target = self._announced.required(patient_id)
        self._system.db.run(
            "UPDATE studies SET patient = ? WHERE id = ?",
            self._announced.row_of(target),
            study["id"],
        )
        self._system.db.run(
            "INSERT OR REPLACE INTO study_identities VALUES (?, ?, ?, ?)",
            *(study["study_uid"], study["patient_id"], study["issuer"], number),
        )
        return "studies", int(study["id"]), "patient", before

    def _noted(self, correction: Correction, number: int, who: str, reason: str) -> Correction:
        shown = "; ".join(f"{what}: {b} → {a}" for what, b, a in correction.changes)
        text = f"correction {number} by {who}: {shown} ({reason})"
        self._ledger.note(text, correction.study_uid)
        return Correction(number, *list(vars(correction).values())[1:])


def _check_keyword(keyword: str, table: str) -> None:
    if tag_for_keyword(keyword) is None:
        raise ConfigurationError(
            f"{keyword!r} is no keyword of the DICOM dictionary.", 'For example "Laterality".'
        )
    if keyword in _OF_PATIENT:
        raise ConfigurationError(
            f"{keyword} is of the patient, not of one study.",
            "The HIS corrects a patient; patient_id=… moves the study to another one.",
        )
    if dictionary_VR(keyword) in _NOT_TEXT:
        raise ConfigurationError(f"{keyword} is no text that can be corrected here.")
    level = INDEXED_AT.get(keyword, (table, ""))[0]
    if level != table:
        raise ConfigurationError(
            f"{keyword} belongs to {level}, and the UID is one of {table}.",
            "Give the UID of that level.",
        )
