from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from labsim.systems.importer.coercion import Coercion, Destination
from labsim.systems.records import Patient

Image = Callable[..., FileDataset]

CELINE = Patient("P000001", "HILLSIDE", "Zielińska^Céline", "19610417", "F")
ORDER = Destination(CELINE, "A0000007", "RP000007", "SPS000007", "Import of outside images")
COERCION = Coercion("IMPORT", "Hillside", datetime(2026, 3, 2, 10, 30))


def coerced(image: FileDataset, to: Destination = ORDER) -> FileDataset:
    """Return the image as it is after it went over the wire."""
    COERCION.apply(image, to, "Lakeside")
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def before(image: Dataset) -> Dataset:
    return image.OriginalAttributesSequence[-1].ModifiedAttributesSequence[0]


def test_the_patient_is_ours(image: Image) -> None:
    made = coerced(image(PatientID="4711", IssuerOfPatientID="LAKESIDE"))
    assert made.PatientName == "Zielińska^Céline"
    assert (made.PatientID, made.IssuerOfPatientID) == ("P000001", "HILLSIDE")
    assert (made.PatientBirthDate, made.PatientSex) == ("19610417", "F")


def test_what_it_said_before_stays_in_it(image: Image) -> None:
    made = coerced(image(PatientID="4711", IssuerOfPatientID="LAKESIDE", AccessionNumber="LK1"))
    (change,) = made.OriginalAttributesSequence
    assert change.ReasonForTheAttributeModification == "COERCE"
    assert change.SourceOfPreviousValues == "Lakeside"
    assert change.ModifyingSystem == "IMPORT"
    assert change.AttributeModificationDateTime == "20260302103000"
    old = before(made)
    assert (old.PatientID, old.IssuerOfPatientID) == ("4711", "LAKESIDE")
    assert (old.PatientName, old.PatientBirthDate, old.PatientSex) == (
        "Silva^Ines",
        "19800229",
        "F",
    )
    assert old.AccessionNumber == "LK1"


def test_the_former_number_is_one_of_the_other_ids(image: Image) -> None:
    known = Dataset()
    known.PatientID, known.IssuerOfPatientID, known.TypeOfPatientID = "77", "BAYVIEW", "TEXT"
    made = coerced(
        image(
            PatientID="4711",
            IssuerOfPatientID="LAKESIDE",
            OtherPatientIDsSequence=Sequence([known]),
        )
    )
    numbers = [(i.PatientID, i.IssuerOfPatientID) for i in made.OtherPatientIDsSequence]
    assert numbers == [("77", "BAYVIEW"), ("4711", "LAKESIDE")]
    assert [item.TypeOfPatientID for item in made.OtherPatientIDsSequence] == ["TEXT", "TEXT"]


def test_an_absent_issuer_is_recorded_as_empty(image: Image) -> None:
    made = coerced(image(PatientID="4711"))
    assert before(made).IssuerOfPatientID in ("", None)
    assert made.OtherPatientIDsSequence[0].IssuerOfPatientID in ("", None)


def test_the_order_is_named_in_the_images(image: Image) -> None:
    made = coerced(image(AccessionNumber="LK1"))
    assert made.AccessionNumber == "A0000007"
    (request,) = made.RequestAttributesSequence
    assert request.RequestedProcedureID == "RP000007"
    assert request.ScheduledProcedureStepID == "SPS000007"


def test_without_an_order_the_accession_number_of_others_does_not_stay(image: Image) -> None:
    request = Dataset()
    request.AccessionNumber = "LK1"
    made = coerced(
        image(AccessionNumber="LK1", RequestAttributesSequence=Sequence([request])),
        Destination(CELINE),
    )
    assert not made.AccessionNumber
    assert "RequestAttributesSequence" not in made
    assert before(made).RequestAttributesSequence[0].AccessionNumber == "LK1"


def test_uids_dates_and_pixels_stay(image: Image) -> None:
    there = image()
    kept = {
        keyword: there[keyword].value
        for keyword in (
            "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate",
            "StudyDescription", "PixelData",
        )
    }  # fmt: skip
    made = coerced(there)
    assert {keyword: made[keyword].value for keyword in kept} == kept


def test_text_in_another_character_set_is_still_readable(image: Image) -> None:
    there = image(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jürgen")
    there.StudyDescription = "Schädel"
    region = Dataset()
    region.CodeMeaning = "Schädel"
    there.AnatomicRegionSequence = Sequence([region])
    buffer = BytesIO()
    there.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    made = coerced(dcmread(buffer))
    assert made.SpecificCharacterSet == "ISO_IR 192"
    assert made.StudyDescription == "Schädel"
    assert made.AnatomicRegionSequence[0].CodeMeaning == "Schädel"
    assert before(made).PatientName == "Müller^Jürgen"


def test_an_earlier_change_stays_recorded(image: Image) -> None:
    there = image(PatientID="4711")
    COERCION.apply(there, Destination(Patient("9", "BAYVIEW", "A^B", "", "")), "Bayview")
    made = coerced(there)
    assert [item.SourceOfPreviousValues for item in made.OriginalAttributesSequence] == [
        "Bayview",
        "Lakeside",
    ]
    assert before(made).PatientID == "9"


def test_the_importer_is_named_as_contributing_equipment(image: Image) -> None:
    (equipment,) = coerced(image()).ContributingEquipmentSequence
    (purpose,) = equipment.PurposeOfReferenceCodeSequence
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("MEDIM", "DCM")
    assert equipment.StationName == "IMPORT"
