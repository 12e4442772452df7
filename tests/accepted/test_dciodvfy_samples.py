"""The sample files that a learner finds in datasets/, judged by dciodvfy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

DATASETS = Path(__file__).parents[2] / "datasets"


@pytest.mark.parametrize("file", sorted(DATASETS.glob("*.dcm")), ids=lambda file: file.name)
def test_a_sample_is_valid(peer: Callable[[str], Path], file: Path) -> None:
    command = [str(peer("dciodvfy")), str(file)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")  # names of many character sets
    assert said.startswith("CTImage")
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
