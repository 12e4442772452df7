"""Which IHE transaction a message belongs to."""

from __future__ import annotations

import pytest

from labsim import ihe
from labsim.ihe import NAMES, transaction_of
from labsim.sop_classes import (
    COLOR_STATE,
    GRAYSCALE_STATE,
    MODALITY_WORKLIST,
    MPPS,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    VERIFICATION,
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("sop_class", "command", "transaction"),
    [
        (MODALITY_WORKLIST, "C-FIND", "RAD-5"),
        (MPPS, "N-CREATE", "RAD-6"),
        (MPPS, "N-SET", "RAD-7"),
        (CT_IMAGE, "C-STORE", "RAD-8"),
        (GRAYSCALE_STATE, "C-STORE", "RAD-19"),
        (COLOR_STATE, "C-STORE", "RAD-19"),
        (STORAGE_COMMITMENT, "N-ACTION", "RAD-10"),
        (STORAGE_COMMITMENT, "N-EVENT-REPORT", "RAD-10"),
        (STUDY_ROOT_FIND, "C-FIND", "RAD-14"),
        (STUDY_ROOT_MOVE, "C-MOVE", "RAD-16"),
        (STUDY_ROOT_GET, "C-GET", "RAD-16"),
        (VERIFICATION, "C-ECHO", ""),
    ],
)
def test_a_dimse_message_has_its_transaction(
    sop_class: str, command: str, transaction: str
) -> None:
    assert transaction_of(sop_class, command) == transaction


def test_an_image_that_was_asked_for_belongs_to_the_retrieval() -> None:
    assert transaction_of(CT_IMAGE, "C-STORE", retrieval=True) == "RAD-16"


def test_every_transaction_has_a_name() -> None:
    used = {*ihe._BY_MESSAGE.values(), *ihe._BY_COMMAND.values()}
    assert used <= set(NAMES)
