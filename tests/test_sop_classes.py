"""UIDs against the dictionary of PS3.6."""

from __future__ import annotations

import pytest

from labsim import sop_classes


@pytest.mark.parametrize(
    ("constant", "name"),
    [
        ("VERIFICATION", "Verification SOP Class"),
        ("MODALITY_WORKLIST", "Modality Worklist Information Model - FIND"),
        ("MPPS", "Modality Performed Procedure Step SOP Class"),
        ("STORAGE_COMMITMENT", "Storage Commitment Push Model SOP Class"),
        ("STORAGE_COMMITMENT_INSTANCE", "Storage Commitment Push Model SOP Instance"),
        ("PATIENT_ROOT_FIND", "Patient Root Query/Retrieve Information Model - FIND"),
        ("PATIENT_ROOT_MOVE", "Patient Root Query/Retrieve Information Model - MOVE"),
        ("PATIENT_ROOT_GET", "Patient Root Query/Retrieve Information Model - GET"),
        ("STUDY_ROOT_FIND", "Study Root Query/Retrieve Information Model - FIND"),
        ("STUDY_ROOT_MOVE", "Study Root Query/Retrieve Information Model - MOVE"),
        ("STUDY_ROOT_GET", "Study Root Query/Retrieve Information Model - GET"),
        ("BASIC_TEXT_SR", "Basic Text SR Storage"),
        ("UPS_PUSH", "Unified Procedure Step - Push SOP Class"),
        ("UPS_WATCH", "Unified Procedure Step - Watch SOP Class"),
        ("UPS_PULL", "Unified Procedure Step - Pull SOP Class"),
        ("UPS_QUERY", "Unified Procedure Step - Query SOP Class"),
        ("GRAYSCALE_STATE", "Grayscale Softcopy Presentation State Storage"),
        ("COLOR_STATE", "Color Softcopy Presentation State Storage"),
    ],
)
def test_a_uid_is_what_its_constant_says(constant: str, name: str) -> None:
    assert getattr(sop_classes, constant).name == name


def test_no_constant_is_left_out() -> None:
    constants = [name for name in vars(sop_classes) if name.isupper() and name != "UID"]
    assert len(constants) == 18
