"""Who our patients are, asked over the wire: of the archive, and of the worklist of the RIS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.association import Association

from labsim.errors import DimseFailed, NotFound
from labsim.sop_classes import MODALITY_WORKLIST, PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from labsim.systems.importer.identity import Match, compare
from labsim.systems.importer.queue import patient_of_image
from labsim.systems.records import Patient
from labsim.systems.worklist import worklist_keys
from labsim.wire.dimse import TIMEOUT, DicomNode, Peer
from labsim.wire.status import describe_status

_WORTH_SHOWING = 40  # points of a match: a name alone, or a birth date alone


class Asking:
    """The queries of the importer.

    Parameters
    ----------
    node : DicomNode
        Its DICOM interface.
    peer : callable
        Returns whom to call for a service.
    issuer : str
        Who gives the patient IDs of this hospital.
    """

    def __init__(self, node: DicomNode, peer: Callable[[str], Peer], issuer: str) -> None:
        self._node = node
        self._peer = peer
        self._issuer = issuer

    def worklist(self, accession: str = "") -> list[Dataset]:
        """Return the orders to import (C-FIND, RAD-5)."""
        # An import order waits until the disc comes, whatever its date.
        keys = worklist_keys("", self._node.ae_title, "", accession)
        with self._associate("worklist", MODALITY_WORKLIST) as association:
            return list(_find(association, keys, MODALITY_WORKLIST))

    def order(self, accession: str) -> Dataset:
        """Return the worklist entry of an order to import.

        Raises
        ------
        NotFound
            If it is not on the worklist.
        """
        entries = self.worklist(accession)
        if not entries:
            raise NotFound(
                f"The worklist of {self._node.ae_title} has no entry {accession!r}.",
                "hospital.importer.worklist() lists them; order IMPORT at the HIS and "
                "schedule it at the RIS.",
            )
        return entries[0]

    def patient(self, patient_id: str) -> Patient:
        """Return one of our patients, from the archive or from the worklist.

        Raises
        ------
        NotFound
            If neither knows them.
        """
        number, _, issuer = patient_id.partition("^^^")
        wanted = (number, issuer or self._issuer)
        with self._associate("query", PATIENT_ROOT_FIND) as association:
            keys = _patient_keys(PatientID=number, IssuerOfPatientID=wanted[1])
            found = list(map(patient_of_image, _find(association, keys, PATIENT_ROOT_FIND)))
        found += map(patient_of_image, self.worklist())
        for patient in found:
            if (patient.patient_id, patient.issuer) == wanted:
                return patient
        raise NotFound(
            f"Neither the archive nor the worklist knows a patient {patient_id}.",
            "Register the patient at the HIS, order IMPORT and schedule it at the RIS; then "
            "reconcile with its accession number.",
        )

    def matches(self, theirs: Patient) -> list[Match]:
        """Return those of our patients who may be meant, the best first.

        A patient whose number is the same is always among them: the clerk must see
        that it is another person.
        """
        found: dict[tuple[str, str], Patient] = {}
        with self._associate("query", PATIENT_ROOT_FIND) as association:
            for keys in _search_keys(theirs):
                for answer in _find(association, keys, PATIENT_ROOT_FIND):
                    patient = patient_of_image(answer)
                    found[patient.patient_id, patient.issuer] = patient
        for patient in map(patient_of_image, self.worklist()):
            found[patient.patient_id, patient.issuer] = patient
        # Who was taken in from outside under no number of ours is no patient of ours.
        ours = [patient for patient in found.values() if patient.issuer == self._issuer]
        shown = [
            match
            for match in (compare(theirs, patient) for patient in ours)
            if match.score >= _WORTH_SHOWING or match.patient.patient_id == theirs.patient_id
        ]
        return sorted(shown, key=lambda match: (-match.score, match.patient.patient_id))

    def owner_of(self, study_uid: str) -> Patient | None:
        """Return whose study the archive has under a UID, None if it has none."""
        keys = _patient_keys(StudyInstanceUID=study_uid)
        keys.QueryRetrieveLevel = "STUDY"
        with self._associate("query", STUDY_ROOT_FIND) as association:
            found = [patient_of_image(a) for a in _find(association, keys, STUDY_ROOT_FIND)]
        return found[0] if found else None

    def _associate(self, service: str, sop_class: str) -> AbstractContextManager[Association]:
        return self._node.associate(self._peer(service), [build_context(sop_class)])


def _find(association: Association, keys: Dataset, model: str) -> Iterator[Dataset]:
    for status, answer in association.send_c_find(keys, model):
        code = status_of(status, "C-FIND")
        if code in (0xFF00, 0xFF01) and answer is not None:
            yield answer
        elif code != 0x0000:
            raise DimseFailed(f"A query failed: {describe_status(code)}.", status=code)


def _search_keys(theirs: Patient) -> Iterator[Dataset]:
    family = theirs.name.partition("^")[0]
    if family and not set(family) & set("*?\\"):
        yield _patient_keys(PatientName=f"{family}*")
    if theirs.birth_date:
        yield _patient_keys(PatientBirthDate=theirs.birth_date)
    if theirs.patient_id and not set(theirs.patient_id) & set("*?\\"):
        yield _patient_keys(PatientID=theirs.patient_id)


def _patient_keys(**wanted: str) -> Dataset:
    keys = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    keys.QueryRetrieveLevel = "PATIENT"
    for keyword in (
        "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    ):  # fmt: skip
        setattr(keys, keyword, "")
    for keyword, value in wanted.items():
        setattr(keys, keyword, value)
    return keys


def status_of(status: Dataset, request: str) -> int:
    """Return the status of an answer.

    Raises
    ------
    DimseFailed
        If there was no answer.
    """
    if "Status" not in status:
        raise DimseFailed(f"{request} was not answered within {TIMEOUT:g} s.")
    return int(status.Status)
