"""Which hanging protocol fits a study, and which image each box gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Patient
from labsim.systems.workstation import Workstation
from labsim.systems.workstation.hanging import Hanging, Shown, hang
from labsim.systems.workstation.protocols import (
    STANDARD,
    DisplaySet,
    HangingProtocol,
    ImageSet,
    grid,
)

PATIENT = Patient("P1", "RIVERSIDE", "Vega^Ana", "19800101", "F")


def study(name: str, modality: str, part: str, *views: str) -> Shown:
    """Make a study of one image for each view, such as ``"CC R"``."""
    headers = []
    for number, view in enumerate(views or ("",)):
        header = Dataset()
        header.SOPInstanceUID = f"1.2.{number}"
        header.Modality, header.BodyPartExamined = modality, part
        position, _, side = view.partition(" ")
        if position:
            header.ViewPosition = position
        if side:
            header.ImageLaterality = side
        headers.append(header)
    return Shown(f"1.{name}", name, "20260302", "1030", "", PATIENT, headers)


def shown(hanging: Hanging) -> dict[str, list[str]]:
    """Return what hangs, by the label of its box."""
    return {
        box.image_set.label: [
            f"{image.get('ViewPosition', '')} {image.get('ImageLaterality', '')}".strip()
            for image in box.headers
        ]
        for box in hanging.boxes
    }


@pytest.mark.parametrize(
    ("current", "priors", "name"),
    [
        (("CT", "CHEST"), 0, "Volume"),
        (("CT", "CHEST"), 1, "Volume with prior"),
        (("MR", "KNEE"), 2, "Volume with prior"),
        (("DX", "HAND", "PA L"), 0, "Radiographs"),
        (("DX", "HAND", "PA L"), 1, "Radiographs with prior"),
        (("DX", "CHEST", "PA", "LL"), 0, "Chest, two views"),
        (("CR", "CHEST", "AP", "LL"), 0, "Chest, two views"),
        (("DX", "CHEST", "PA", "LL"), 1, "Chest, two views with prior"),
        (("DX", "CHEST", "PA"), 0, "Radiographs"),
        (("MG", "BREAST", "CC R", "CC L", "MLO R", "MLO L"), 0, "Mammography"),
        (("MG", "BREAST", "CC R", "CC L", "MLO R", "MLO L"), 1, "Mammography with prior"),
        (("MG", "BREAST", "CC R"), 0, "Mammography"),
        (("MG", "BREAST", "XCCL R"), 0, "default"),
        (("US", "ABDOMEN"), 0, "Ultrasound"),
        (("NM", "HEART"), 3, "default"),
    ],
)
def test_the_protocol_that_fits(current: tuple[str, ...], priors: int, name: str) -> None:
    earlier = [study(f"B{number}", *current) for number in range(priors)]
    assert hang(STANDARD, study("A", *current), earlier).protocol.name == name


def test_each_view_hangs_in_its_box() -> None:
    hanging = hang(STANDARD, study("A", "MG", "BREAST", "MLO L", "CC L", "MLO R", "CC R"), [])
    assert shown(hanging) == {
        "R CC": ["CC R"],
        "L CC": ["CC L"],
        "R MLO": ["MLO R"],
        "L MLO": ["MLO L"],
    }
    assert [box.display_set.position for box in hanging.boxes] == [
        (0, 1, 0.5, 0.5),
        (0.5, 1, 1, 0.5),
        (0, 0.5, 0.5, 0),
        (0.5, 0.5, 1, 0),
    ]
    sides = [box.display_set.justification for box in hanging.boxes]
    assert sides == ["RIGHT", "LEFT", "RIGHT", "LEFT"]  # chest wall against chest wall


def test_a_view_that_is_missing_leaves_its_box_empty() -> None:
    hanging = hang(STANDARD, study("A", "MG", "BREAST", "CC R", "CC L", "MLO R"), [])
    assert shown(hanging)["L MLO"] == []
    assert [row[5] for row in hanging.table()] == [1, 1, 1, 0]


def test_the_most_recent_prior_hangs_on_the_left() -> None:
    priors = [study("B", "CT", "CHEST"), study("C", "CT", "CHEST")]
    hanging = hang(STANDARD, study("A", "CT", "CHEST"), priors)
    assert [(row[1], row[2]) for row in hanging.table()] == [("prior", "B"), ("current", "A")]
    left, right = (box.display_set.position for box in hanging.boxes)
    assert left[2] <= right[0]


def test_the_prior_of_another_view_does_not_hang_beside_it() -> None:
    current, prior = study("A", "DX", "CHEST", "PA", "LL"), study("B", "DX", "CHEST", "LL")
    assert shown(hang(STANDARD, current, [prior])) == {
        "frontal prior": [],
        "frontal": ["PA"],
        "lateral": ["LL"],
    }


def test_one_nearer_to_the_reader_comes_first() -> None:
    own = HangingProtocol("mine", "", ("CT",), (ImageSet(1, "x"),), grid(1, 1, 1))
    current, prior = study("A", "CT", "CHEST"), study("B", "CT", "CHEST")
    for level in ("SITE", "USER_GROUP", "SINGLE_USER"):
        chosen = hang([*STANDARD, replace(own, level=level)], current, [prior])
        assert chosen.protocol.name == "mine"
    assert hang([*STANDARD, replace(own, level="MANUFACTURER")], current, [prior]).protocol.priors


def test_a_protocol_for_one_side() -> None:
    left = HangingProtocol(
        "left hand", "", ("DX",), (ImageSet(1, "x"),), grid(1, 1, 1), laterality="L"
    )
    for side, name in (("L", "left hand"), ("R", "Radiographs")):
        current = study("A", "DX", "HAND", f"PA {side}")
        assert hang([*STANDARD, left], current, []).protocol.name == name
    both = study("A", "DX", "HAND", "PA L", "PA R")
    assert (both.laterality, hang([*STANDARD, left], both, []).protocol.name) == ("", "Radiographs")


# The table


@pytest.fixture(scope="module")
def ws() -> Iterator[Workstation]:
    """A workstation to share."""
    with Hospital(seed=7) as hospital:
        yield hospital.workstation


def test_what_is_on_disk_is_what_was_put_there(ws: Workstation) -> None:
    assert tuple(ws.protocols.enabled()) == STANDARD
    rows = ws.sql("SELECT label, selectors FROM image_sets WHERE protocol = 'Mammography'")
    assert tuple(rows[0]) == ("R CC", '{"ViewPosition": ["CC"], "ImageLaterality": ["R"]}')


def test_protocols_are_added_disabled_and_removed(ws: Workstation) -> None:
    first, second = ImageSet(1, "axial", 0, {"ImageType": ("AXIAL",)}), ImageSet(2, "b", 2)
    own = HangingProtocol("own", "mine", ("CT", "PT"), (first, second), grid(2, 1, 1, 2))
    ws.protocols.add(own)
    assert ws.protocols.get("own") == own
    assert own.priors == 2
    assert [first.category, second.category] == ["RELATIVE_TIME", "ABSTRACT_PRIOR"]
    ws.protocols.add(replace(own, description="changed"))
    ws.protocols.enable("own", enabled=False)
    assert own.name not in [each.name for each in ws.protocols.enabled()]
    row = ws.protocols.table()[-1]
    assert tuple(row) == ("own", "SITE", "CT\\PT", "", "", 2, 1, "axial, b", "no")
    ws.protocols.enable("own")
    ws.protocols.remove("own")
    with pytest.raises(NotFound, match="no hanging protocol 'own'"):
        ws.protocols.enable("own")
    assert len(ws.protocols.table()) == len(STANDARD)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"modalities": ()}, "no modality"),
        ({"level": "NATION"}, "level"),
        ({"partial_data": "SHRUG"}, "partial_data"),
        ({"image_sets": (ImageSet(1, "a"), ImageSet(1, "b"))}, "one number"),
        ({"image_sets": (ImageSet(1, "a", 1),)}, "current study"),
        ({"display_sets": grid(1, 1, 2)}, "display set"),
        ({"display_sets": grid(1, 1, 1, layout="HEAP")}, "layout"),
        ({"display_sets": grid(1, 1, 1, justification=["UP"])}, "justification"),
        ({"image_sets": (ImageSet(1, "a", 0, {"Colour": ("red",)}),)}, "no keyword"),
        ({"display_sets": (DisplaySet(1, 1, (0, 0, 1, 1)),)}, "not within"),
    ],
)
def test_a_protocol_that_cannot_be_followed(
    ws: Workstation, wrong: dict[str, object], why: str
) -> None:
    sound = HangingProtocol("own", "", ("CT",), (ImageSet(1, "a"),), grid(1, 1, 1))
    with pytest.raises(ConfigurationError, match=why):
        ws.protocols.add(replace(sound, **wrong))  # type: ignore[arg-type]
    assert len(ws.protocols.table()) == len(STANDARD)
