"""Which earlier studies are worth comparing with, and never one of another patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from labsim.systems.facility import text_of
from labsim.systems.records import Patient
from labsim.systems.workstation.asking import Asking
from labsim.systems.workstation.hanging import NOT_IMAGES, Shown

_LOOKED_AT = 20  # earlier studies, the most recent first
# Both are radiographs, whatever took them.
_ALIKE = {"CR": "DX"}


@dataclass(frozen=True)
class Earlier:
    """What the archive has besides the study that was opened.

    Parameters
    ----------
    relevant : sequence of Dataset
        Earlier studies of the same patient, part of the body and kind of images,
        the most recent first, as the archive answered.
    remarks : sequence of str
        What a reader should know.
    """

    relevant: Sequence[Dataset]
    remarks: Sequence[str]


def patient_of(answer: Dataset) -> Patient:
    """Return the patient of an answer or an image."""
    return Patient(
        text_of(answer.get("PatientID")),
        text_of(answer.get("IssuerOfPatientID")),
        text_of(answer.get("PatientName")),
        text_of(answer.get("PatientBirthDate")),
        text_of(answer.get("PatientSex")),
    )


def same_person(one: Patient, other: Patient) -> bool:
    """Tell whether two are one patient: the number, and who gave it."""
    mine, theirs = (one.patient_id, one.issuer), (other.patient_id, other.issuer)
    return bool(one.patient_id) and mine == theirs


def earlier(asking: Asking, current: Shown) -> Earlier:
    """Look for priors in the archive (C-FIND), by number and issuer.

    Who has the same number from another issuer is somebody else. Who has another
    number, and the same name and birth date, may be the same person: nothing of
    theirs is shown, and it is said that they exist.

    Parameters
    ----------
    asking : Asking
        The requests.
    current : Shown
        The study that was opened.
    """
    person = current.patient
    if not person.patient_id:
        return Earlier([], ["The study has no Patient ID: no priors were looked for."])
    searches = [{"PatientID": person.patient_id}]
    if person.name and person.birth_date and not set(person.name) & set("*?"):
        searches.append({"PatientName": person.name, "PatientBirthDate": person.birth_date})
    found = [
        answer
        for answer in asking.studies(*searches)
        if str(answer.StudyInstanceUID) != current.study_uid and _has_images(answer)
    ]
    own = [answer for answer in found if same_person(person, patient_of(answer))]
    remarks = _others(person, found)
    newer = [answer for answer in own if _when(answer) > (current.date, current.time)]
    if newer:
        names = ", ".join(text_of(answer.AccessionNumber) for answer in newer)
        remarks.append(f"There are newer studies of this patient: {names}.")
    old = sorted((answer for answer in own if answer not in newer), key=_when, reverse=True)
    relevant = _relevant(asking.series, current, old[:_LOOKED_AT])
    if not relevant:
        what = f"{current.modality} {current.body_part}".strip()
        remarks.append(
            f"No prior: none of {len(old)} earlier studies is {what}."
            if old
            else "No prior: the archive has no earlier study of this patient."
        )
    return Earlier(relevant, remarks)


def _relevant(
    series_of: Callable[[list[str]], dict[str, list[Dataset]]],
    current: Shown,
    studies: Sequence[Dataset],
) -> list[Dataset]:
    if not studies or not current.body_part:
        return []
    series = series_of([str(study.StudyInstanceUID) for study in studies])
    wanted = (_kind(current.modality), current.body_part)
    return [
        study
        for study in studies
        if any(
            (_kind(text_of(each.get("Modality"))), text_of(each.get("BodyPartExamined"))) == wanted
            for each in series[str(study.StudyInstanceUID)]
        )
    ]


def _others(person: Patient, found: Sequence[Dataset]) -> list[str]:
    """Say whose studies were found and are not this patient's."""
    remarks = []
    people = dict.fromkeys(patient_of(answer) for answer in found)
    for other in people:
        if same_person(person, other):
            continue
        number = f"{other.patient_id or 'no number'} of {other.issuer or 'an unknown issuer'}"
        if other.patient_id == person.patient_id:
            remarks.append(f"{number} is another person, {other.name}: nothing of theirs is shown.")
        else:
            remarks.append(
                f"{other.name} with the same birth date has studies under {number}: not shown, "
                "until the two are merged."
            )
    return remarks


def _kind(modality: str) -> str:
    return _ALIKE.get(modality, modality)


def _has_images(answer: Dataset) -> bool:
    modalities = answer.get("ModalitiesInStudy") or []
    several = [modalities] if isinstance(modalities, str) else list(modalities)
    return not several or bool(set(several) - NOT_IMAGES)


def _when(answer: Dataset) -> tuple[str, str]:
    return text_of(answer.get("StudyDate")), text_of(answer.get("StudyTime"))
