"""Table E.1-1 of PS3.15, and how its choices are decided by type."""

from __future__ import annotations

import pytest
from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SegmentationStorage,
)

from labsim.deid.profile import Action, Option, Profile, rule_of, table
from labsim.errors import ConfigurationError


def action(keyword: str, sop_class: str = CTImageStorage, *options: str, parent: str = "") -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return Profile(options).action(Tag(tag), sop_class, parent).value


def test_the_table_has_only_actions_that_the_standard_defines() -> None:
    basics = {rule.basic for rule in table().values()}
    assert basics == {
        *("D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"),
    }
    letters = {letter for rule in table().values() for letter in rule.options.values()}
    assert letters == {"K", "C"}
    assert len(table()) == 655 + 6  # and six of our own


def test_every_line_names_its_attribute_as_the_dictionary_does() -> None:
    wrong = [
        (tag, rule.keyword)
        for tag, rule in table().items()
        if "x" not in tag
        and dictionary_has_tag(int(tag, 16))
        and keyword_for_tag(int(tag, 16)) != rule.keyword
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("keyword", "sop_class", "wanted"),
    [
        ("SeriesDate", CTImageStorage, "X"),  # X/D, optional everywhere
        ("ContentDate", CTImageStorage, "Z"),  # Z/D, may be empty in an image
        ("ContentDate", ComprehensiveSRStorage, "D"),  # and not in a document
        ("DeviceSerialNumber", CTImageStorage, "X"),  # X/Z/D
        ("DeviceSerialNumber", SegmentationStorage, "D"),  # enhanced equipment
        ("AcquisitionContextSequence", CTImageStorage, "X"),  # X/Z
        ("AcquisitionContextSequence", DigitalXRayImageStorageForPresentation, "Z"),
        ("ReferencedPerformedProcedureStepSequence", ComprehensiveSRStorage, "Z"),  # X/Z/D
        ("ReferencedPerformedProcedureStepSequence", CTImageStorage, "X"),
        ("SourceImageSequence", CTImageStorage, "X"),  # X/Z/U*
        ("SourceImageSequence", EncapsulatedPDFStorage, "U"),  # an IOD that nobody here knows
        ("SeriesDate", EncapsulatedPDFStorage, "D"),
        ("PresentationCreationDate", CTImageStorage, "X"),
        ("PresentationCreationDate", GrayscaleSoftcopyPresentationStateStorage, "D"),
    ],
)
def test_a_choice_is_decided_by_the_type_in_the_iod(
    keyword: str, sop_class: str, wanted: str
) -> None:
    assert action(keyword, sop_class) == wanted


def test_in_an_item_the_strictest_type_is_taken() -> None:
    inside = "ContributingEquipmentSequence"
    assert action("StationName", parent=inside) == "D"
    assert action("RequestedProcedureID", parent="ReferencedRequestSequence") == "Z"
    assert action("RequestedProcedureID", parent="RequestAttributesSequence") == "X"


@pytest.mark.parametrize(
    ("option", "keyword", "wanted"),
    [
        ("retain_uids", "StudyInstanceUID", "K"),
        ("retain_device", "DeviceSerialNumber", "K"),
        ("retain_institution", "InstitutionName", "K"),
        ("retain_patient_characteristics", "PatientSex", "K"),
        ("retain_patient_characteristics", "Allergies", "C"),
        ("retain_full_dates", "StudyDate", "K"),
        ("retain_modified_dates", "StudyDate", "C"),
        ("clean_descriptors", "StudyDescription", "C"),
        ("clean_structured_content", "ContentSequence", "C"),
        ("clean_graphics", "GraphicAnnotationSequence", "C"),
    ],
)
def test_an_option_changes_its_own_column_only(option: str, keyword: str, wanted: str) -> None:
    assert action(keyword, CTImageStorage, option) == wanted
    others = {o.name.lower() for o in Option} - {option, "clean_visual_features"}
    others -= {"retain_full_dates"} if option == "retain_modified_dates" else set()
    others -= {"retain_modified_dates"}
    if keyword == "Allergies":
        others -= {"clean_descriptors"}  # cleaned by either
    if keyword == "StudyDate":
        others -= {"retain_full_dates"}
    assert action(keyword, CTImageStorage, *others) == action(keyword)


def test_what_one_option_keeps_another_does_not_clean() -> None:
    both = ("retain_device", "retain_modified_dates")
    assert action("BeamHoldTransitionDateTime", CTImageStorage, *both) == "K"


def test_a_birth_date_is_emptied_whatever_the_options() -> None:
    everything = [o for o in Option if o.name.startswith("RETAIN") and "FULL" not in o.name]
    assert action("PatientBirthDate", CTImageStorage, *(o.name for o in everything)) == "Z"


@pytest.mark.parametrize(
    ("tag", "keyword"),
    [((0x5000, 0x3000), "CurveData"), ((0x6002, 0x3000), "OverlayData"), ((0x6001, 0x3000), None)],
)
def test_repeating_groups_are_found(tag: tuple[int, int], keyword: str | None) -> None:
    rule = rule_of(Tag(tag))
    assert (rule.keyword if rule else None) == keyword


def test_what_the_table_does_not_name_is_kept() -> None:
    assert action("Rows") == Action.KEEP.value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["retain_dates"], "no option 'retain_dates'"),
        (["retain_full_dates", "retain_modified_dates"], "either kept or shifted"),
        (["clean_visual_features"], "takes a face out"),
    ],
)
def test_options_that_cannot_be_had_are_refused(options: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Profile(options)
