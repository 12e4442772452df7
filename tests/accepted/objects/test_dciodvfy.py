"""dciodvfy finds no error in any object that any system makes, and warns of nothing unknown."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from found import Found
from kinds import made_by_labsim
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from labsim.imaging.scanners import SCANNERS
from labsim.systems.catalogue import examinations

Peer = Callable[[str], Path]

# What dciodvfy warns of, and why it is right as it is.
STANDS = {
    r"Unrecognized defined term <99LABSIM> for value 1 of attribute <Coding Scheme Designator>": (
        "Designators that begin with 99 are private (PS3.3 8.2); dciodvfy knows the public ones."
    ),
    r"Unrecognized defined term <(CC|MLO)> for value 1 of attribute <View Position>": (
        "Defined terms may be added to, and every mammograph writes its two views like this."
    ),
    r"Unrecognized defined term <US> for value 1 of attribute <Rescale Type>": (
        "The values of a localizer have no unit; US is a term of PS3.3 C.11.1.1.2."
    ),
    r"Value is zero for value 1 of attribute <Deviation Index>": (
        "The exposure was exactly what it was meant to be (PS3.3 C.8.11.3)."
    ),
    r"Value dubious for this VR - .* PN \[1\] = <[^<>^=]+> - Retired Person Name form": (
        "A pseudonym has one component; empty ones after it may be left out (PS3.5 6.2.1)."
    ),
    r"Missing attribute or value that would be needed to build DICOMDIR - Study (Date|Time|ID)": (
        "Empty is allowed (type 2, PS3.3 C.7.2.1): taken out by de-identification, or never given"
        " to a study that nobody ordered. A DICOMDIR of ours fills it in."
    ),
}


@pytest.fixture(scope="module")
def verdicts(
    objects: list[Found], peer: Peer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Path]]:
    """Return each line that dciodvfy says, with the files that it says it of."""
    dciodvfy, inflate = peer("dciodvfy"), peer("dcmconv")
    inflated = tmp_path_factory.mktemp("inflated")

    def judged(found: Found) -> list[str]:
        path = found.path
        if found.syntax == DeflatedExplicitVRLittleEndian:  # which dciodvfy does not read
            path = inflated / f"{found.header.SOPInstanceUID}.dcm"
            subprocess.run([inflate, "+te", found.path, path], timeout=60, check=True)
        command = [dciodvfy, path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return (done.stdout + done.stderr).splitlines()

    said: dict[str, list[Path]] = defaultdict(list)
    with ThreadPoolExecutor(2) as judges:
        for found, lines in zip(objects, judges.map(judged, objects), strict=True):
            for line in lines:
                said[line].append(found.path)
    return said


def test_there_is_an_object_of_every_kind(objects: list[Found]) -> None:
    assert {found.sop_class for found in objects} == made_by_labsim()


def test_every_examination_and_protocol_was_tried(objects: list[Found]) -> None:
    headers = [found.header for found in objects]
    tried = {(str(h.get("Modality")), str(h.get("ProtocolName"))) for h in headers}
    for one in examinations():
        for key in one.series:
            name = SCANNERS[one.modality].protocols[key].name
            assert (one.modality, name) in tried, one.code


def test_there_is_one_in_each_transfer_syntax(objects: list[Found]) -> None:
    assert {found.syntax for found in objects} >= {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        JPEGLSLossless,
        JPEG2000Lossless,
        RLELossless,
    }


def test_dciodvfy_knows_what_each_object_is(
    objects: list[Found], verdicts: dict[str, list[Path]]
) -> None:
    named = [
        path for line, paths in verdicts.items() if re.fullmatch(r"\w+", line) for path in paths
    ]
    assert sorted(named) == sorted(found.path for found in objects)


def test_dciodvfy_finds_no_error(verdicts: dict[str, list[Path]]) -> None:
    assert {line: paths[0] for line, paths in verdicts.items() if "Error" in line} == {}


def test_dciodvfy_warns_of_nothing_but_what_stands(verdicts: dict[str, list[Path]]) -> None:
    warnings = {
        line.removeprefix("Warning - "): paths
        for line, paths in verdicts.items()
        if "Warning" in line
    }
    unknown = {
        line: paths[0]
        for line, paths in warnings.items()
        if not any(re.fullmatch(pattern, line) for pattern in STANDS)
    }
    assert unknown == {}
    idle = [p for p in STANDS if not any(re.fullmatch(p, line) for line in warnings)]
    assert idle == [], "dciodvfy does not say this any more"
