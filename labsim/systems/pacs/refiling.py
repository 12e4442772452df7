"""Split and merge of studies: images become new instances in another study.

An instance in another study is another instance: it gets new UIDs, a file of
its own and an Original Attributes Sequence that names the old ones, and the
original is rejected as (113038, DCM, "Incorrect Modality Worklist Entry")
(IHE Imaging Object Change Management). So copies elsewhere can be told apart,
and what came from the scanner is still there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.announced import Announced
from labsim.systems.pacs.index import Index, Instance
from labsim.systems.pacs.key_objects import REJECTION_TITLES
from labsim.systems.pacs.ledger import Correction, Ledger
from labsim.systems.pacs.overlay import Amendment, amend
from labsim.systems.pacs.rejection import Rejections
from labsim.systems.pacs.sending import Sending
from labsim.systems.pacs.storing import Storing
from labsim.systems.pacs.visibility import Visibility
from labsim.systems.records import Patient

_WORKLIST = REJECTION_TITLES["worklist"]
_OF_STUDY = {
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "AccessionNumber": "accession",
    "StudyID": "study_id",
    "StudyDescription": "description",
    "ReferringPhysicianName": "referring",
}


class Refiling:
    """Moves images from one study to another.

    Parameters
    ----------
    system : System
        The PACS.
    own_title : str
        Its AE title.
    index, announced, ledger, visibility, sending, storing, rejections
        Parts of it.
    """

    def __init__(
        self,
        system: System,
        own_title: str,
        index: Index,
        announced: Announced,
        ledger: Ledger,
        visibility: Visibility,
        sending: Sending,
        storing: Storing,
        rejections: Rejections,
    ) -> None:
        self._system = system
        self._own_title = own_title
        self._index = index
        self._announced = announced
        self._ledger = ledger
        self._visibility = visibility
        self._sending = sending
        self._storing = storing
        self._rejections = rejections

    def split(
        self,
        study_uid: str,
        series: list[str],
        instances: list[str],
        accession: str,
        to_patient_id: str,
        reason: str,
        who: str,
        dry_run: bool,
    ) -> Correction:
        """Take series or images out of a study; see `Pacs.split_study`."""
        shown = self._shown(study_uid)
        wanted = [i for i in shown if i.series_uid in series or i.sop_uid in instances]
        named = {i.series_uid for i in wanted} | {i.sop_uid for i in wanted}
        missing = [uid for uid in (*series, *instances) if uid not in named]
        if missing or not wanted:
            raise NotFound(
                f"Study {study_uid} has no series or image {', '.join(missing) or '(none named)'}.",
                "hospital.tools.findscu(level='SERIES', StudyInstanceUID=…) has the UIDs.",
            )
        if len(wanted) == len(shown):
            raise ConfigurationError(
                "That is the whole study: there is nothing to split.",
                "Move it with hospital.pacs.move_study(…), or correct its accession number.",
            )
        target = self._target(wanted[0], accession, to_patient_id)
        return self._refile("split", wanted, target, reason, who, dry_run)

    def merge(
        self, study_uid: str, into_study_uid: str, reason: str, who: str, dry_run: bool
    ) -> Correction:
        """Put all images of a study into another one; see `Pacs.merge_studies`."""
        wanted, into = self._shown(study_uid), self._shown(into_study_uid)
        if study_uid == into_study_uid:
            raise ConfigurationError("A study is not merged with itself.", "Give two studies.")
        if _identity(wanted[0].patient) != _identity(into[0].patient):
            raise ConfigurationError(
                f"The studies are of two patients, {wanted[0].patient.patient_id} and "
                f"{into[0].patient.patient_id}.",
                "Move one of them to the right patient first.",
            )
        return self._refile("merge", wanted, self._of_study(into_study_uid), reason, who, dry_run)

    def undo(self, number: int, row: Mapping[str, Any], reason: str, who: str) -> None:
        """Take a split or merge back: the originals are shown again, the new images rejected."""
        undo = json.loads(row["undo"])
        self._rejections.take_back(*undo["originals"], reason=reason)
        new = [found for uid in undo["new"] if (found := self._index.find(uid))]
        self._rejections.write(_WORKLIST, new, f"correction {number} taken back: {reason}")
        self._system.db.run("UPDATE corrections SET state = 'undone' WHERE id = ?", number)
        self._ledger.note(f"correction {number} taken back by {who}: {reason}", row["study_uid"])

    def resume(self) -> None:
        """Finish what a stop has cut off: the same corrections give the same new UIDs."""
        rows = self._system.db.rows(
            "SELECT * FROM corrections WHERE state = 'begun' AND kind IN ('split', 'merge')"
        )
        for row in rows:
            begun = json.loads(row["undo"])
            found = [self._index.find(uid) for uid in begun["originals"]]
            self._carry_out(int(row["id"]), [i for i in found if i], begun["target"], row["reason"])

    # How it is done

    def _refile(
        self,
        kind: str,
        wanted: list[Instance],
        target: dict[str, str],
        reason: str,
        who: str,
        dry_run: bool,
    ) -> Correction:
        self._ledger.require(reason)
        study_uid, into_uid = wanted[0].study_uid, target["StudyInstanceUID"]
        sop_uids = [instance.sop_uid for instance in wanted]
        before = {**self._of_study(study_uid), "StudyInstanceUID": study_uid}
        changes = [
            (keyword, before.get(keyword, ""), value)
            for keyword, value in target.items()
            if before.get(keyword, "") != value
        ]
        changes += [("series", uid, "new UID") for uid in {i.series_uid: None for i in wanted}]
        changes += self._ledger.copies(sop_uids)
        correction = Correction(0, kind, study_uid, into_uid, len(wanted), changes)
        if dry_run:
            return correction
        with self._system.db.transaction():
            number = self._ledger.record(correction, who, reason)
            begun = {"originals": sop_uids, "target": target, "new": []}
            self._system.db.run(
                "UPDATE corrections SET undo = ? WHERE id = ?", json.dumps(begun), number
            )
        self._carry_out(number, wanted, target, reason)
        text = f"correction {number} by {who}: {kind} of {len(wanted)} images ({reason})"
        for uid in (study_uid, into_uid):
            self._ledger.note(text, uid)
        return Correction(number, kind, study_uid, into_uid, len(wanted), changes)

    def _carry_out(
        self, number: int, wanted: list[Instance], target: dict[str, str], reason: str
    ) -> None:
        new_uids = self._new_uids(number, wanted, target["StudyInstanceUID"])
        row = self._system.db.row("SELECT made_at FROM corrections WHERE id = ?", number)
        assert row is not None
        source = f"{self._system.facility.institution}"
        for instance in wanted:
            changes = {
                **target,
                "SeriesInstanceUID": new_uids[instance.series_uid],
                "SOPInstanceUID": new_uids[instance.sop_uid],
            }
            amendment = Amendment(changes, row["made_at"], self._own_title, source, "CORRECT")
            self._storing.take(
                _renewed(self._sending.dataset(instance), amendment, new_uids), self._own_title
            )
        rest = [i for i in wanted if not self._rejections.is_rejected(i.sop_uid)]
        if rest:
            self._rejections.write(_WORKLIST, rest, reason)
        sop_uids = [instance.sop_uid for instance in wanted]
        new = [new_uids[uid] for uid in sop_uids]
        self._ledger.finish(number, {"originals": sop_uids, "target": target, "new": new})

    def _new_uids(self, number: int, wanted: list[Instance], study_uid: str) -> dict[str, str]:
        names = ("refiled", self._system.facility.seed, self._system.name, number)
        old = {uid for i in wanted for uid in (i.series_uid, i.sop_uid)}
        return {
            wanted[0].study_uid: study_uid,
            **{uid: make_uid(*names, uid) for uid in old},
        }

    # Where to

    def _target(self, sample: Instance, accession: str, to_patient_id: str) -> dict[str, str]:
        """Return the study attributes that the split-off images get."""
        ordered = self._announced.accession(accession) if accession else None
        patient = sample.patient
        if ordered is not None:
            patient = self._announced.required(f"{ordered['patient_id']}^^^{ordered['issuer']}")
        if to_patient_id:
            wanted = self._announced.required(to_patient_id)
            if ordered is not None and _identity(wanted) != _identity(patient):
                raise ConfigurationError(
                    f"Accession number {accession} was ordered for patient {patient.patient_id}, "
                    f"not for {wanted.patient_id}.",
                    "Leave out what is wrong.",
                )
            patient = wanted
        moved = _identity(patient) != _identity(sample.patient)
        study_uid = ordered["study_uid"] if ordered is not None else ""
        if study_uid == sample.study_uid:
            raise ConfigurationError(
                f"Accession number {accession} is the one of this study.", "Give another one."
            )
        if study_uid and self._index.instances("STUDY", {"st.study_uid": [study_uid]}):
            return self._of_study(study_uid)
        next_number = self._system.db.next("split")
        names = ("split study", self._system.facility.seed, self._system.name, next_number)
        before = self._of_study(sample.study_uid)
        kept = "" if moved else before["AccessionNumber"]  # of another patient it would be wrong
        return {
            **_patient_attributes(patient),
            "StudyInstanceUID": study_uid or make_uid(*names),
            "AccessionNumber": accession or kept,
            "StudyID": "" if moved or accession else before["StudyID"],
            **({"StudyDescription": ordered["description"]} if ordered is not None else {}),
        }

    def _of_study(self, study_uid: str) -> dict[str, str]:
        """Return what the index has of a study, by keyword."""
        row = self._system.db.row(
            "SELECT st.*, p.patient_id, p.issuer, p.name, p.birth_date, p.sex FROM studies st "
            "JOIN patients p ON p.id = st.patient WHERE st.study_uid = ?",
            study_uid,
        )
        assert row is not None
        patient = Patient(*(row[k] for k in ("patient_id", "issuer", "name", "birth_date", "sex")))
        return {
            **_patient_attributes(patient),
            "StudyInstanceUID": study_uid,
            **{keyword: row[column] for keyword, column in _OF_STUDY.items()},
        }

    def _shown(self, study_uid: str) -> list[Instance]:
        found = self._visibility.index("").instances("STUDY", {"st.study_uid": [study_uid]})
        images = [i for i in found if not self._rejections.is_note(i)]
        if not images:
            raise NotFound(
                f"The PACS shows no study {study_uid!r}.", "hospital.tools.findscu() has the UIDs."
            )
        return images


def _identity(patient: Patient) -> tuple[str, str]:
    return patient.patient_id, patient.issuer


def _patient_attributes(patient: Patient) -> dict[str, str]:
    return {
        "PatientID": patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientName": patient.name,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
    }


def _renewed(dataset: Dataset, amendment: Amendment, new_uids: Mapping[str, str]) -> FileDataset:
    """Return an instance as a new one in another study, with references that still lead there."""
    assert isinstance(dataset, FileDataset)
    other_order = text_of(dataset.get("AccessionNumber")) != amendment.changes["AccessionNumber"]
    told = dataset.get("OriginalAttributesSequence")  # what it tells stays as it was
    if told is not None:
        del dataset.OriginalAttributesSequence
    for item in _items(dataset):
        for element in item:
            if element.VR == "UI" and text_of(element.value) in new_uids:
                element.value = UID(new_uids[str(element.value)])
    if told is not None:
        dataset.OriginalAttributesSequence = told
    # The worklist entry that the images were taken under is not theirs any more.
    amend(dataset, amendment, ["RequestAttributesSequence"] if other_order else [])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _items(dataset: Dataset) -> Iterator[Dataset]:
    """Return every item of every sequence, but not the data set itself."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)
