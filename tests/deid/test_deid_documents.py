"""Documents, segmentations and presentation states: what they still say, and that it is valid."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes

from labsim.deid.deidentifier import Deidentifier
from labsim.ids import make_uid
from labsim.systems.pacs.key_objects import KEY_IMAGE_TITLES, NoteNumbers, read_note, write_note

Original = Callable[..., FileDataset]
Errors = Callable[[Dataset], list[str]]
NAMES = ("Møller", "Lindqvist", "glindqvist", "P000123", "A0000456", "Riverside", "19700102")
WAYS = (
    (),
    ("clean_structured_content", "clean_graphics", "retain_modified_dates"),
    ("clean_structured_content", "clean_descriptors", "retain_full_dates", "clean_graphics"),
)


def deidentify(document: Dataset, *options: str) -> FileDataset:
    return Deidentifier(options, safe_words={"lung", "nodule", "in"}).dataset(document)


@pytest.fixture(scope="module")
def image(original: Original) -> FileDataset:
    return original()


@pytest.fixture(scope="module")
def numbers() -> tuple[Any, ...]:
    return make_uid("secret document series"), 901, make_uid("secret document"), 1


@pytest.fixture(scope="module")
def report(image: FileDataset, numbers: tuple[Any, ...]) -> Dataset:
    """A report with names wherever there may be some."""
    inside = hd.sr.RelationshipTypeValues.CONTAINS
    context = hd.sr.RelationshipTypeValues.HAS_OBS_CONTEXT
    found = hd.sr.ContainerContentItem(codes.DCM.Findings, relationship_type=inside)
    found.ContentSequence = hd.sr.ContentSequence(
        [
            hd.sr.TextContentItem(codes.DCM.Finding, "Nodule in lung of Ms Møller", inside),
            hd.sr.NumContentItem(codes.SCT.Length, 7.5, codes.UCUM.Millimeter, None, inside),
            hd.sr.CodeContentItem(
                codes.DCM.Finding, hd.sr.CodedConcept("M1", "99RIVER", "Møller's nodule"), inside
            ),
            hd.sr.ImageContentItem(
                codes.DCM.SourceImageForSegmentation,
                image.SOPClassUID,
                image.SOPInstanceUID,
                relationship_type=inside,
            ),
        ]
    )
    root = hd.sr.ContainerContentItem(codes.DCM.ImagingMeasurementReport)
    root.ContentSequence = hd.sr.ContentSequence(
        [
            hd.sr.PnameContentItem(codes.DCM.PersonObserverName, "Lindqvist^Greta", context),
            hd.sr.TextContentItem(codes.DCM.PersonObserverLoginName, "glindqvist", context),
            hd.sr.TextContentItem(codes.DCM.SubjectID, "P000123", context),
            hd.sr.DateContentItem(codes.DCM.SubjectBirthDate, "19700102", context),
            hd.sr.CodeContentItem(
                codes.DCM.SubjectSex, hd.sr.CodedConcept("F", "DCM", "Female"), context
            ),
            found,
        ]
    )
    return hd.sr.ComprehensiveSR(
        [image],
        root,
        *numbers,
        manufacturer="labsim",
        institution_name="Riverside Clinic",
        is_complete=True,
        is_verified=True,
        verifying_observer_name="Lindqvist^Greta",
        verifying_organization="Riverside Clinic",
    )


@pytest.fixture(scope="module")
def note(image: FileDataset) -> Dataset:
    own = NoteNumbers(make_uid("secret note series"), make_uid("secret note"), 902)
    return write_note(
        KEY_IMAGE_TITLES["teaching"],
        [deepcopy(image)],
        own,
        datetime(2026, 3, 1, 9),
        institution="Riverside Clinic",
        text="Møller, nodule",
    )


@pytest.fixture(scope="module")
def segmentation(image: FileDataset, numbers: tuple[Any, ...]) -> Dataset:
    segment = hd.seg.SegmentDescription(
        1, "Møller 1", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Nodule, "MANUAL"
    )
    mask = np.ones((1, image.Rows, image.Columns), np.uint8)
    return hd.seg.Segmentation(
        [image], mask, "BINARY", [segment], *numbers, "labsim", "labsim", "1", "SN4711",
        content_creator_name="Lindqvist^Greta",
    )  # fmt: skip


@pytest.fixture(scope="module")
def presentation(image: FileDataset, numbers: tuple[Any, ...]) -> Dataset:
    layer = hd.pr.GraphicLayer("MARKS", 1, "Drawn by Lindqvist")
    text = hd.pr.TextObject("Møller", "PIXEL", anchor_point=(3.0, 3.0))
    line = hd.pr.GraphicObject("POLYLINE", np.array([[1.0, 1.0], [5.0, 5.0]]), "PIXEL")
    marks = hd.pr.GraphicAnnotation([image], layer, graphic_objects=[line], text_objects=[text])
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        [image], *numbers, "labsim", "labsim", "1", "SN4711", "LINDQVIST",
        graphic_annotations=[marks], graphic_layers=[layer],
        content_creator_name="Lindqvist^Greta",
    )  # fmt: skip
    state.Laterality = ""  # type 2C, which the library leaves out
    return state


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("kind", ["report", "note", "segmentation", "presentation"])
def test_it_stays_valid_and_names_nobody(
    kind: str, options: tuple[str, ...], request: pytest.FixtureRequest, errors: Errors
) -> None:
    document = request.getfixturevalue(kind)
    assert errors(document) == []  # or this test says nothing
    result = deidentify(document, *options)
    assert errors(result) == []
    said = " ".join(str(e.value) for e in result.iterall() if e.VR != "SQ").lower()
    assert [name for name in NAMES if name.lower() in said] == []


def texts(items: Any) -> list[str]:
    own = [str(item.TextValue) for item in items if "TextValue" in item]
    return own + [text for item in items for text in texts(item.get("ContentSequence") or [])]


def test_of_a_report_the_basic_profile_leaves_the_images_it_is_about(
    report: Dataset, image: FileDataset
) -> None:
    result = deidentify(report)
    [item] = result.ContentSequence
    assert item.ValueType == "IMAGE"
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID != image.SOPInstanceUID
    assert "ContentTemplateSequence" not in result
    [observer] = result.VerifyingObserverSequence
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("REMOVED",) * 2


def test_a_report_without_images_says_that_its_content_was_removed(report: Dataset) -> None:
    bare = deepcopy(report)
    bare.ContentSequence = [item for item in bare.ContentSequence if item.ValueType == "TEXT"]
    assert texts(deidentify(bare).ContentSequence) == ["REMOVED"]


def test_cleaned_content_keeps_findings_and_measurements(report: Dataset) -> None:
    result = deidentify(report, "clean_structured_content")
    [finding] = [item for item in result.ContentSequence if item.ValueType == "CONTAINER"]
    text, number, code, reference = finding.ContentSequence
    assert text.TextValue == "Nodule in lung"
    assert number.MeasuredValueSequence[0].NumericValue == 7.5
    assert number.ConceptNameCodeSequence[0].CodeMeaning == "Length"
    assert code.ConceptCodeSequence[0].CodeMeaning == "nodule"  # of a scheme of the site's own
    assert reference.ValueType == "IMAGE"


def test_cleaned_content_tells_nothing_of_observer_and_subject(report: Dataset) -> None:
    def told(*options: str) -> dict[str, str]:
        items = deidentify(report, "clean_structured_content", *options).ContentSequence
        return {
            str(item.ConceptNameCodeSequence[0].CodeMeaning): str(
                item.get("PersonName") or item.get("TextValue") or item.get("Date") or "a code"
            )
            for item in items
            if item.ValueType != "CONTAINER"
        }

    assert told() == {
        "Person Observer Name": "REMOVED",
        "Person Observer's Login Name": "REMOVED",
        "Subject ID": "REMOVED",
    }
    retained = told("retain_patient_characteristics", "retain_full_dates")
    assert "Subject Sex" in retained
    assert "Subject Birth Date" not in retained


def test_a_key_object_note_still_points_at_its_images(note: Dataset, image: FileDataset) -> None:
    project = Deidentifier()
    new = project.dataset(image)
    title, description, uids = read_note(project.dataset(note))
    assert (title, description, uids) == ("113004", "", [new.SOPInstanceUID])


def test_a_segmentation_keeps_its_frames_and_their_sources(
    segmentation: Dataset, image: FileDataset
) -> None:
    project = Deidentifier()
    new, result = project.dataset(image), project.dataset(segmentation)
    assert np.array_equal(result.pixel_array, segmentation.pixel_array)
    [frame] = result.PerFrameFunctionalGroupsSequence
    [source] = frame.DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == new.SOPInstanceUID
    assert result.FrameOfReferenceUID == new.FrameOfReferenceUID


def test_pixels_that_were_never_written_can_be_written(
    segmentation: Dataset, errors: Errors
) -> None:
    made = deepcopy(segmentation)
    made["PixelData"].VR = "OB or OW"  # as a program has it that made it
    assert errors(deidentify(made)) == []


def test_drawings_go_or_lose_their_words(presentation: Dataset) -> None:
    [bare] = deidentify(presentation).GraphicAnnotationSequence
    assert "GraphicObjectSequence" not in bare
    assert bare.TextObjectSequence[0].UnformattedTextValue == "REMOVED"
    [cleaned] = deidentify(presentation, "clean_graphics").GraphicAnnotationSequence
    assert list(cleaned.GraphicObjectSequence[0].GraphicData) == [1.0, 1.0, 5.0, 5.0]
    assert cleaned.TextObjectSequence[0].UnformattedTextValue == "REMOVED"
