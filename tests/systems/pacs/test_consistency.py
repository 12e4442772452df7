"""Index and files are compared: each way in which they can disagree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labsim import Hospital


@pytest.fixture
def stored(small_scans: None) -> Iterator[tuple[Hospital, list[Path]]]:
    """A clinic with one study, and the files of its images."""
    with Hospital(seed=7) as running:
        exam = running.exam()
        assert exam.procedure is not None
        yield running, running.pacs.paths(exam.procedure.study_uid)


def test_nothing_disagrees_after_an_exam(stored: tuple[Hospital, list[Path]]) -> None:
    hospital, files = stored
    assert list(hospital.pacs.consistency()) == []
    caption = hospital.pacs.consistency().caption
    assert caption == f"{len(files)} entries, {len(files)} files, 0 problems"


def test_each_disagreement_is_told_with_its_image(stored: tuple[Hospital, list[Path]]) -> None:
    hospital, (gone, cut, *_) = stored
    gone.unlink()
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[: size // 2])
    (cut.parent / "stray.dcm").write_bytes(b"?")
    told = {row[2] or row[3].rpartition("/")[2]: row[0] for row in hospital.pacs.consistency()}
    assert told == {
        gone.stem: "file missing",
        cut.stem: f"file has {size // 2} bytes instead of {size}",
        "stray.dcm": "no entry",
    }


def test_a_learner_finds_the_same_by_sql(stored: tuple[Hospital, list[Path]]) -> None:
    hospital, files = stored
    rows = hospital.pacs.sql(
        "SELECT st.accession, COUNT(*) FROM instances i JOIN series se ON se.id = i.series "
        "JOIN studies st ON st.id = se.study GROUP BY st.id"
    )
    assert [tuple(row) for row in rows] == [("A0000001", len(files))]
