"""What changes on the way into the archive, and what tells of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, NotFound

Image = Callable[..., FileDataset]
Put = Callable[..., list[int]]


def kept(hospital: Hospital, image: FileDataset) -> FileDataset:
    (path,) = hospital.archive.paths(str(image.StudyInstanceUID))
    return dcmread(path)


def test_a_rule_sets_copies_removes_translates_and_prefixes(
    town: Hospital, image: Image, put: Put
) -> None:
    town.archive.morphing.add(
        "house style",
        when={"calling": "PACS", "Modality": "CT"},
        values={"InstitutionName": "Høyland"},
        copy={"SeriesDescription": "StudyDescription"},
        remove=["PatientComments"],
        translate={"BodyPartExamined": {"THORAX": "CHEST"}},
        prefix={"AccessionNumber": "N-"},
    )
    one = image(BodyPartExamined="THORAX", PatientComments="none", InstitutionName="Old")
    assert put(town, one) == [0x0000]
    found = kept(town, one)
    assert (found.InstitutionName, found.SeriesDescription) == ("Høyland", "CT thorax")
    assert (found.BodyPartExamined, found.AccessionNumber) == ("CHEST", f"N-{one.AccessionNumber}")
    assert "PatientComments" not in found
    assert (found.SOPInstanceUID, found.PixelData) == (one.SOPInstanceUID, one.PixelData)
    (item,) = found.OriginalAttributesSequence
    (before,) = item.ModifiedAttributesSequence
    assert (before.InstitutionName, before.PatientComments) == ("Old", "none")
    assert (before.AccessionNumber, before.BodyPartExamined) == (one.AccessionNumber, "THORAX")
    assert "SeriesDescription" in before
    assert (item.ModifyingSystem, item.SourceOfPreviousValues) == ("ARCHIVE", "PACS")
    assert item.ReasonForTheAttributeModification == "COERCE"
    assert item.AttributeModificationDateTime == "20260302103000"
    assert [row[3] for row in town.archive.table()] == [f"N-{one.AccessionNumber}"]  # the index


def test_a_rule_leaves_alone_what_it_is_not_for(town: Hospital, image: Image, put: Put) -> None:
    town.archive.morphing.add("desk", when={"calling": "TOOLS"}, values={"InstitutionName": "X"})
    town.archive.morphing.add("mr", when={"Modality": "MR"}, values={"InstitutionName": "Y"})
    one = image()
    put(town, one)
    assert "InstitutionName" not in kept(town, one)
    assert "OriginalAttributesSequence" not in kept(town, one)


def test_a_later_rule_sees_what_an_earlier_one_made_and_both_are_told(
    town: Hospital, image: Image, put: Put
) -> None:
    town.archive.morphing.add("first", values={"StationName": "A"})
    town.archive.morphing.add("second", translate={"StationName": {"A": "B"}})
    one = image(StationName="Z")
    put(town, one)
    told = kept(town, one).OriginalAttributesSequence
    assert kept(town, one).StationName == "B"
    assert [i.ModifiedAttributesSequence[0].StationName for i in told] == ["Z", "A"]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_pixels_and_transfer_syntax_stay(
    town: Hospital, image: Image, put: Put, syntax: UID
) -> None:
    town.archive.morphing.add("style", values={"InstitutionName": "X"})
    one = image(syntax)
    assert put(town, one) == [0x0000]
    found = kept(town, one)
    assert found.InstitutionName == "X"
    assert (found.PixelData, found.Rows) == (one.PixelData, 2)


def test_the_same_image_sent_again_later_is_the_same(
    town: Hospital, image: Image, put: Put, clock: ManualClock
) -> None:
    town.archive.morphing.add("style", values={"InstitutionName": "X"})
    one = image()
    assert put(town, one) == [0x0000]
    before = kept(town, one)
    clock.advance(timedelta(minutes=5))
    assert put(town, one) == [0x0000]
    assert kept(town, one) == before


def test_a_mapped_patient_keeps_the_old_number(town: Hospital, image: Image, put: Put) -> None:
    town.archive.issuers.map("OLD", to="HILLSIDE", prefix="OLD-")
    one = image(PatientID="4711", IssuerOfPatientID="OLD")
    other = image(PatientID="4711", IssuerOfPatientID="HILLSIDE")
    assert put(town, one, other) == [0x0000, 0x0000]
    found = kept(town, one)
    assert (found.PatientID, found.IssuerOfPatientID) == ("OLD-4711", "HILLSIDE")
    (old,) = found.OtherPatientIDsSequence
    assert (old.PatientID, old.IssuerOfPatientID, old.TypeOfPatientID) == ("4711", "OLD", "TEXT")
    (told,) = found.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert (told.PatientID, told.IssuerOfPatientID) == ("4711", "OLD")
    assert kept(town, other).PatientID == "4711"
    (answer,) = town.tools.findscu("archive", PatientID="4711", StudyInstanceUID="")
    assert answer.StudyInstanceUID == other.StudyInstanceUID  # and not the other patient's


def test_two_issuers_cannot_share_numbers(town: Hospital) -> None:
    town.archive.issuers.map("OLD", to="HILLSIDE", prefix="O-")
    with pytest.raises(ConfigurationError, match="that of OLD"):
        town.archive.issuers.map("EAST", to="HILLSIDE", prefix="O-")
    with pytest.raises(ConfigurationError, match="somebody else"):
        town.archive.issuers.map("EAST", to="HILLSIDE", prefix="")
    town.archive.issuers.map("OLD", to="HILLSIDE", prefix="P-")
    assert [tuple(row) for row in town.archive.issuers.table()] == [("OLD", "HILLSIDE", "P-")]


def test_a_number_that_gets_too_long_is_refused_and_noted(
    town: Hospital, image: Image, put: Put
) -> None:
    town.archive.issuers.map("OLD", to="HILLSIDE", prefix="OLD-")
    one = image(PatientID="9" * 62, IssuerOfPatientID="OLD")
    assert put(town, one) == [0x0110]
    assert town.archive.count(str(one.StudyInstanceUID)) == 0


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "PixelData", "Rows", "NoSuchThing"])
def test_what_names_or_makes_an_image_cannot_be_changed(town: Hospital, keyword: str) -> None:
    with pytest.raises(ConfigurationError, match=keyword):
        town.archive.morphing.add("wrong", values={keyword: "1"})
    with pytest.raises(ConfigurationError, match="does nothing"):
        town.archive.morphing.add("idle")


def test_only_an_administrator_changes_rules(town: Hospital) -> None:
    town.archive.act_as("viewer")
    with pytest.raises(AccessDenied):
        town.archive.morphing.add("style", values={"InstitutionName": "X"})
    with pytest.raises(AccessDenied):
        town.archive.issuers.map("OLD", to="HILLSIDE", prefix="O-")


def test_rules_are_listed_kept_and_removed(tmp_path: Path) -> None:
    with Hospital(site="community", path=tmp_path) as first:
        first.archive.morphing.add(
            "style", when={"Modality": "CT"}, values={"InstitutionName": "X"}
        )
    with Hospital(site="community", path=tmp_path) as again:
        rows = [tuple(row) for row in again.archive.morphing.table()]
        assert rows == [("style", "Modality CT", "InstitutionName = X")]
        again.archive.morphing.remove("style")
        assert len(again.archive.morphing.table()) == 0
        with pytest.raises(NotFound, match="'style'"):
            again.archive.morphing.remove("style")
