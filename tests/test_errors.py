"""Errors that a user of the lab reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from labsim import LabError, errors


def test_an_error_says_what_happened_and_what_to_do() -> None:
    error = LabError("The disk is full.", "Delete something.")
    assert str(error) == "The disk is full. Delete something."


def test_an_error_without_advice_has_no_space_at_the_end() -> None:
    assert str(LabError("The disk is full.")) == "The disk is full."


def test_a_notebook_shows_the_message_and_no_traceback() -> None:
    error = errors.NotFound("There is no order 7.", "Look at the list.")
    assert error._render_traceback_() == [
        "NotFound: There is no order 7.",
        "Next: Look at the list.",
    ]


def test_ipython_prints_what_the_error_offers(tmp_path: Path) -> None:
    code = "from labsim import LabError\nraise LabError('It broke.', 'Repair it.')"
    shown = subprocess.run(
        [sys.executable, "-m", "IPython", "-c", code],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    text = shown.stdout + shown.stderr
    assert "LabError: It broke.\nNext: Repair it.\n" in text
    assert "Traceback" not in text


def test_every_error_of_the_lab_can_be_caught_as_one() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 5
    assert all(issubclass(kind, LabError) for kind in kinds)


def test_errors_carry_what_programs_compare() -> None:
    assert errors.AssociationFailed("x", reason="rejected 1/1/3").reason == "rejected 1/1/3"
    assert errors.DimseFailed("x", status=0xA700).status == 0xA700
    assert errors.Hl7Error("x").code == "AE"
    assert errors.Hl7Error("x", code="AR").code == "AR"
