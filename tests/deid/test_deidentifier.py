"""A de-identified instance: what is gone, what stands in its place, and that it is valid."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from labsim.deid.burned_in import may_be_burned_in
from labsim.deid.deidentifier import Deidentifier
from labsim.deid.private import SafePrivate
from labsim.deid.pseudonyms import Pseudonyms
from labsim.errors import ConfigurationError
from labsim.imaging import cr, ct, dx, mg, mr, us

Original = Callable[..., FileDataset]
Errors = Callable[[Dataset], list[str]]
OF_EACH = [
    (ct, "CHEST"),
    (mr, "HEAD_T1"),
    (dx, "CHEST"),
    (cr, "CHEST"),
    (us, "ABDOMEN"),
    (us, "HEART"),
    (mg, "SCREENING"),
]


def deidentify(original: Dataset, *options: str, **more: Any) -> FileDataset:
    return Deidentifier(options, pixel_cleaner=lambda image: image, **more).dataset(original)


def written(dataset: Dataset) -> FileDataset:
    """Write it and read it again, as a receiver would."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return dcmread(BytesIO(buffer.getvalue()))


# The basic profile


@pytest.mark.parametrize(("modality", "part"), OF_EACH)
def test_an_image_of_each_modality_stays_valid(
    original: Original, errors: Errors, modality: ModuleType, part: str
) -> None:
    image = original(modality, part)
    assert errors(deidentify(image)) == []
    assert errors(deidentify(image, "retain_modified_dates", "clean_descriptors")) == []


def test_nothing_of_the_patient_is_left_in_the_bytes(original: Original) -> None:
    image = original()
    buffer = BytesIO()
    deidentify(image).save_as(buffer, enforce_file_format=True)
    there = buffer.getvalue()
    for secret in ("Møller", "P000123", "A0000456", "19700102", "Riverside", "Lindqvist"):
        assert secret.encode() not in there
    for uid in (image.SOPInstanceUID, image.StudyInstanceUID, image.SeriesInstanceUID):
        assert uid.encode() not in there


def test_the_image_itself_is_untouched(original: Original) -> None:
    image = original()
    before = deepcopy(image)
    result = written(deidentify(image))
    assert image == before
    assert np.array_equal(result.pixel_array, image.pixel_array)
    for keyword in ("Modality", "SliceLocation", "PixelSpacing", "BodyPartExamined", "KVP"):
        assert result.get(keyword) == image.get(keyword)


def test_it_says_what_was_done(original: Original) -> None:
    result = written(deidentify(original(), "retain_modified_dates"))
    assert result.PatientIdentityRemoved == "YES"
    codes = [
        (item.CodeValue, item.CodingSchemeDesignator)
        for item in result.DeidentificationMethodCodeSequence
    ]
    assert codes == [("113100", "DCM"), ("113107", "DCM")]
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"


def test_what_was_done_before_is_still_said(original: Original) -> None:
    once = deidentify(original(), "retain_full_dates")
    twice = deidentify(once)
    codes = [item.CodeValue for item in twice.DeidentificationMethodCodeSequence]
    assert codes == ["113106", "113100"]


def test_file_meta_information_names_the_new_instance_and_no_sender(original: Original) -> None:
    image = original()
    image.file_meta.SourceApplicationEntityTitle = "RIVERSIDE_CT"
    image.file_meta.PrivateInformationCreatorUID = "1.2.3"
    image.file_meta.PrivateInformation = b"Moller"
    result = deidentify(image)
    meta = result.file_meta  # before writing, which sets some of it right
    assert meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID != image.SOPInstanceUID
    assert meta.ImplementationVersionName == "LABSIM"
    assert "SourceApplicationEntityTitle" not in meta
    assert "PrivateInformation" not in meta


def test_the_patient_has_one_pseudonym_over_files_and_runs(original: Original) -> None:
    names = set()
    for _ in range(2):
        project = Deidentifier(pseudonyms=Pseudonyms(secret="one"))
        for part in ("CHEST", "HEAD"):
            result = project.dataset(original(ct, part))
            names.add((str(result.PatientName), result.PatientID))
    [(name, number)] = names
    assert name == number != "P000123"


def test_references_still_find_what_they_refer_to(original: Original) -> None:
    image, other = original(), original()
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = (
        image.SOPClassUID,
        image.SOPInstanceUID,
    )
    evidence, series = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, [item]
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = image.StudyInstanceUID, [series]
    other.PertinentOtherEvidenceSequence = Sequence([evidence])
    project = Deidentifier(pseudonyms=Pseudonyms(secret="one"))
    new, pointing = project.dataset(image), project.dataset(other)
    study = pointing.PertinentOtherEvidenceSequence[0]
    assert study.StudyInstanceUID == new.StudyInstanceUID != image.StudyInstanceUID
    [series] = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == new.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == new.SOPInstanceUID


def test_sequences_are_cleaned_to_their_depth(original: Original) -> None:
    image = original()
    leaf = Dataset()
    leaf.PatientComments, leaf.PersonName, leaf.Rows = "Møller", "Møller^Åse", 4
    middle = Dataset()
    middle.ReferencedInstanceSequence = [leaf]
    image.SourceInstanceSequence = [middle]
    result = deidentify(image).SourceInstanceSequence[0].ReferencedInstanceSequence[0]
    assert "PatientComments" not in result
    assert (result.PersonName, result.Rows) == ("REMOVED", 4)


def test_a_name_in_an_attribute_that_the_table_lacks_goes_too(original: Original) -> None:
    image = original()
    image.add_new(0x00189999, "LO", "Møller")  # in no dictionary
    image.NameOfPhysiciansReadingStudy = "Møller^Åse"
    result = deidentify(image)
    assert 0x00189999 not in result
    assert "Møller" not in [str(element.value) for element in result]


def test_curves_and_overlays_go_with_all_that_describes_them(
    original: Original, errors: Errors
) -> None:
    image = original()
    image.add_new(0x60000010, "US", 8)
    image.add_new(0x60003000, "OW", b"\1" * 8)
    image.add_new(0x50003000, "OW", b"\1" * 8)
    result = deidentify(image)
    assert [e.tag for e in result if e.tag.group >> 8 in (0x50, 0x60)] == []
    assert errors(result) == []


def test_any_transfer_syntax_stays_readable(original: Original) -> None:
    image = original()
    compressed = deepcopy(image)
    compressed.compress(RLELossless, generate_instance_uid=False)
    implicit = written(image)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit.decode()
    implicit.set_original_encoding(True, True, "utf8")
    for one in (written(compressed), written(implicit)):
        result = written(deidentify(one))
        assert result.file_meta.TransferSyntaxUID == one.file_meta.TransferSyntaxUID
        assert np.array_equal(result.pixel_array, image.pixel_array)
        assert result.PatientIdentityRemoved == "YES"


def test_names_in_another_character_set_are_found_and_replaced(original: Original) -> None:
    image = original()
    image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    image.PatientName = "Yamada^Tarou=山田^太郎"
    image.StudyDescription = "山田 CT"
    result = written(deidentify(written(image), "clean_descriptors", safe_words={"ct"}))
    assert result.StudyDescription == "CT"
    assert "山田" not in str(result.PatientName)


# Dates


def test_dates_go_or_stay_as_the_option_says(original: Original) -> None:
    image = original()
    removed = deidentify(image)
    assert (removed.StudyDate, removed.ContentDate, "SeriesDate" in removed) == ("", "", False)
    assert removed.LongitudinalTemporalInformationModified == "REMOVED"
    full = deidentify(image, "retain_full_dates")
    assert (full.StudyDate, full.SeriesTime) == (image.StudyDate, image.SeriesTime)
    assert full.LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert full.PatientBirthDate == ""


def test_all_dates_of_a_patient_are_off_by_the_same_days(original: Original) -> None:
    project = Deidentifier(["retain_modified_dates"], pseudonyms=Pseudonyms(secret="one"))
    first, second = original(), original(ct, "HEAD", StudyDate="20260315")
    first.AcquisitionDateTime = "20260301080509.5"
    item = Dataset()
    item.StudyDate = "20260301"
    first.SourceInstanceSequence = [item]
    results = [project.dataset(image) for image in (first, second)]
    days = [datetime.strptime(result.StudyDate, "%Y%m%d") for result in results]
    assert (days[1] - days[0]).days == 14
    assert results[0].StudyDate != "20260301"
    assert results[0].AcquisitionDateTime == results[0].StudyDate + "080509.5"
    assert results[0].ContentDate == results[0].StudyDate
    assert results[0].StudyTime == "080000"
    assert results[0].SourceInstanceSequence[0].StudyDate == results[0].StudyDate
    stranger = project.dataset(original(PatientID="P000999"))
    assert stranger.StudyDate != results[0].StudyDate


# Options


def test_options_retain_what_they_name(original: Original) -> None:
    image = original(PatientAge="056Y")
    basic = deidentify(image)
    assert "InstitutionName" not in basic
    assert "DeviceSerialNumber" not in basic
    assert (basic.PatientSex, "PatientAge" in basic) == ("", False)
    assert deidentify(image, "retain_institution").InstitutionName == "Riverside Clinic"
    assert deidentify(image, "retain_device").DeviceSerialNumber == image.DeviceSerialNumber
    kept = deidentify(image, "retain_patient_characteristics")
    assert (kept.PatientSex, kept.PatientAge, kept.PatientBirthDate) == ("F", "056Y", "")
    uids = deidentify(image, "retain_uids")
    assert uids.SOPInstanceUID == uids.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
    assert uids.PatientID != image.PatientID


def test_descriptions_keep_only_words_known_to_be_safe(original: Original) -> None:
    image = original()
    cleaned = deidentify(image, "clean_descriptors", safe_words={"ct", "thorax", "of"})
    assert cleaned.StudyDescription == "CT thorax of"
    [request] = cleaned.RequestAttributesSequence
    assert request.RequestedProcedureDescription == "CT thorax"
    assert request.get("AccessionNumber", "") == ""
    assert "RequestedProcedureID" not in request
    assert "StudyDescription" not in deidentify(image, "clean_descriptors")  # not one is known
    assert "StudyDescription" not in deidentify(image, safe_words={"ct"})  # without the option


def test_private_attributes_stay_only_if_known_to_be_safe(original: Original) -> None:
    image = original()
    block = image.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x08, "CS", "MOLLER")
    mine = image.private_block(0x0029, "RIVERSIDE", create=True)
    mine.add_new(0x01, "LO", "Møller")
    deep = Dataset()
    deep.private_block(0x0029, "RIVERSIDE", create=True).add_new(0x01, "LO", "Møller")
    image.SourceInstanceSequence = [deep]

    basic = deidentify(image)
    assert [e.tag for e in basic.iterall() if e.tag.is_private] == []
    safe = written(deidentify(image, "retain_safe_private"))
    assert [str(e.value) for e in safe.iterall() if e.tag.is_private] == [
        "SIEMENS MR HEADER",
        "1000",
    ]
    own = deidentify(
        image, "retain_safe_private", safe_private={SafePrivate("RIVERSIDE", 0x0029, 0x01)}
    )
    assert [str(e.value) for e in own if e.tag.is_private] == ["RIVERSIDE", "Møller"]


# Pixels


@pytest.mark.parametrize(
    ("modality", "part", "said", "suspicious"),
    [
        (ct, "CHEST", "NO", False),
        (ct, "CHEST", "", False),
        (ct, "CHEST", "YES", True),
        (us, "ABDOMEN", "YES", True),
        (us, "ABDOMEN", "", True),
        (us, "ABDOMEN", "NO", False),
    ],
)
def test_text_in_pixels_is_feared_where_it_is_usual(
    original: Original, modality: ModuleType, part: str, said: str, suspicious: bool
) -> None:
    image = original(modality, part, BurnedInAnnotation=said)
    assert may_be_burned_in(image) is suspicious
    if not suspicious:
        assert Deidentifier().dataset(image).get("BurnedInAnnotation", "") == said
        return
    with pytest.raises(ConfigurationError, match=f"{image.Modality} image .* may have"):
        Deidentifier().dataset(image)


def test_a_cleaner_gets_a_copy_and_the_result_says_so(original: Original) -> None:
    image = original(us, "ABDOMEN", BurnedInAnnotation="YES")

    def blank(one: Dataset) -> Dataset:
        one.PixelData = b"\0" * len(one.PixelData)
        return one

    result = Deidentifier(pixel_cleaner=blank).dataset(image)
    assert not any(result.PixelData)
    assert any(image.PixelData)
    assert result.BurnedInAnnotation == "NO"
    assert "113101" in [item.CodeValue for item in result.DeidentificationMethodCodeSequence]


def test_clean_pixel_data_needs_a_cleaner_and_then_cleans_every_image(original: Original) -> None:
    with pytest.raises(ConfigurationError, match="needs what cleans pixels"):
        Deidentifier(["clean_pixel_data"])
    seen: list[Dataset] = []
    cleaner = Deidentifier(["clean_pixel_data"], pixel_cleaner=lambda one: seen.append(one) or one)
    cleaner.dataset(original())
    assert len(seen) == 1


# The record


def test_the_record_says_what_became_of_each_attribute(original: Original) -> None:
    project = Deidentifier()
    for _ in range(2):
        project.dataset(original())
    rows = [tuple(row) for row in project.record.table()]
    assert ("PatientName", "pseudonym", 2) in rows
    assert ("StudyInstanceUID", "new UID", 2) in rows
    assert ("StudyDescription", "removed", 2) in rows
    assert ("AccessionNumber", "emptied", 2) in rows
