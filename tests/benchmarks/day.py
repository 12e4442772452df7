"""A day of a community hospital with 500 exams, every transaction on the wire."""

from __future__ import annotations

import time
from pathlib import Path

from row import Row

from labsim import Hospital

EXAMS = 500


def run(folder: Path) -> list[Row]:
    """Return how long the day takes."""
    with Hospital(site="community", seed=7, path=folder) as hospital:
        begun = time.perf_counter()
        day = hospital.day(exams=EXAMS, progress=False)
        taken = time.perf_counter() - begun
        assert sum(exam.reported is not None for exam in day.exams) >= EXAMS * 0.9
    return [Row(f"a day of {EXAMS} exams", taken, "s", aim="≤ 60 s")]
