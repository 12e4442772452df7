"""dcentvfy: what the objects of a study say of patient, study and series is the same."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from found import Found
from pydicom.uid import DeflatedExplicitVRLittleEndian

STANDS = {
    r"Error - Sequence has different number of items - Element=<DeidentificationMethodCodeSequence>"
    r".*": "It says how this object was treated: text was blanked in the pixels of some.",
}
# The RIS has not seen the images of another hospital: its report says what was ordered.
IMPORTED = {
    r"Error - .* has different value - Element=<(Study(Date|Time|ID|Description)|"
    r"ReferringPhysicianName)> IE=<Study>.*": "",
}


@pytest.fixture(scope="module")
def studies(objects: list[Found], folder: Path) -> dict[tuple[Path, str], list[Found]]:
    """Return what left the hospital at once: fetched, on a disc, or without names."""
    left, found = folder / "left the hospital", defaultdict(list)
    for one in objects:
        if one.path.is_relative_to(left) and one.syntax != DeflatedExplicitVRLittleEndian:
            place = left / one.path.relative_to(left).parts[0]
            if uid := one.header.get("StudyInstanceUID"):  # a DICOMDIR has none
                found[place, str(uid)].append(one)
    return found


def test_the_objects_of_a_study_agree(
    studies: dict[tuple[Path, str], list[Found]], peer: Callable[[str], Path]
) -> None:
    dcentvfy = peer("dcentvfy")
    assert len(studies) > 40
    wrong = []
    for found in studies.values():
        imported = any(one.header.get("OriginalAttributesSequence") for one in found)
        known = STANDS | (IMPORTED if imported else {})
        command = [dcentvfy, *(one.path for one in found)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        errors = [line for line in lines if line.startswith("Error")]
        wrong += [e for e in errors if not any(re.fullmatch(pattern, e) for pattern in known)]
    assert wrong == []
