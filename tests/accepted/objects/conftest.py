"""What the validators judge: every object of a hospital in which everything has happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from found import Found, find
from hospital_of_everything import everything


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let everything happen once; return where it lies."""
    there = tmp_path_factory.mktemp("everything")
    everything(there)
    return there


@pytest.fixture(scope="session")
def objects(folder: Path) -> list[Found]:
    """Return all DICOM files in the hospital, and those that left it."""
    return find(folder)
