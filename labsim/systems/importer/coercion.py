"""Images of another hospital under the identity of ours; what they said before stays in them.

IHE Import Reconciliation Workflow (IRWF): the UIDs of study, series and instance
stay, and so do the pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from labsim.imaging.common import request_attributes
from labsim.systems.records import Patient

# What the identity of another hospital is in. The names of its people stay.
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "RequestAttributesSequence",
)  # fmt: skip
# PS3.16 CID 7005: what another piece of equipment than the scanner did to the images.
_IMPORTER = ("MEDIM", "DCM", "Portable Media Importer Equipment")


@dataclass(frozen=True)
class Destination:
    """Whose the images become, and for which order.

    Parameters
    ----------
    patient : Patient
        As this hospital has them.
    accession, procedure_id, step_id, description : str
        Of the order to import; empty if there is none.
    """

    patient: Patient
    accession: str = ""
    procedure_id: str = ""
    step_id: str = ""
    description: str = ""


@dataclass(frozen=True)
class Coercion:
    """Who changes the images.

    Parameters
    ----------
    system : str
        Modifying System (0400,0563).
    institution : str
        Where it stands.
    time : datetime
        When.
    """

    system: str
    institution: str
    time: datetime

    def apply(self, image: Dataset, to: Destination, source: str) -> None:
        """Give an image the identity of a patient of ours.

        The former values go to the Original Attributes Sequence (0400,0561)
        with reason ``COERCE`` (PS3.3 C.12.1.1.9), the former number to the
        Other Patient IDs Sequence (0010,1002). An accession number of another
        hospital may be one of ours for something else, so it never stays.

        Parameters
        ----------
        image : Dataset
            Changed in place.
        to : Destination
            Whose it becomes.
        source : str
            Where it came from: Source of Previous Values (0400,0564).
        """
        image.decode()  # all text, in sequences too, before its character set changes
        before = _copy(image, _IDENTITY)
        others = _other_ids(image, to.patient)
        image.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _IDENTITY:
            if keyword in image:
                delattr(image, keyword)
        image.PatientName = to.patient.name
        image.PatientID = to.patient.patient_id
        image.IssuerOfPatientID = to.patient.issuer
        image.PatientBirthDate = to.patient.birth_date
        image.PatientSex = to.patient.sex
        if others:
            image.OtherPatientIDsSequence = others
        image.AccessionNumber = to.accession
        if to.accession:
            image.RequestAttributesSequence = request_attributes(
                accession=to.accession,
                procedure_id=to.procedure_id,
                step_id=to.step_id,
                description=to.description,
            )
        self._sign(image, before, source)

    def _sign(self, image: Dataset, before: Dataset, source: str) -> None:
        moment = self.time.strftime("%Y%m%d%H%M%S")
        change = Dataset()
        change.ModifiedAttributesSequence = Sequence([before])
        change.AttributeModificationDateTime = moment
        change.ModifyingSystem = self.system
        change.SourceOfPreviousValues = source
        change.ReasonForTheAttributeModification = "COERCE"
        equipment = Dataset()
        equipment.PurposeOfReferenceCodeSequence = Sequence([code(*_IMPORTER)])
        equipment.Manufacturer = "labsim"
        equipment.InstitutionName = self.institution
        equipment.StationName = self.system
        equipment.ContributionDateTime = moment
        image.InstanceCoercionDateTime = moment
        _append(image, "OriginalAttributesSequence", change)
        _append(image, "ContributingEquipmentSequence", equipment)


def _copy(image: Dataset, keywords: Iterable[str]) -> Dataset:
    """Return former values; the issuer is there even if it was not, to say whose the number is."""
    before = Dataset()
    for keyword in keywords:
        if keyword in image:
            before[keyword] = deepcopy(image[keyword])
    if "IssuerOfPatientID" not in before:
        before.IssuerOfPatientID = ""
    return before


def _other_ids(image: Dataset, patient: Patient) -> Sequence:
    """Return every number the patient had elsewhere, the one of the disc last."""
    known = list(deepcopy(image.get("OtherPatientIDsSequence") or []))
    number, issuer = str(image.get("PatientID") or ""), str(image.get("IssuerOfPatientID") or "")
    if number and (number, issuer) != (patient.patient_id, patient.issuer):
        item = Dataset()
        item.PatientID = number
        item.IssuerOfPatientID = issuer
        item.TypeOfPatientID = "TEXT"
        known.append(item)
    return Sequence(known)


def _append(image: Dataset, keyword: str, item: Dataset) -> None:
    setattr(image, keyword, Sequence([*(image.get(keyword) or []), item]))


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a code sequence item (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item
