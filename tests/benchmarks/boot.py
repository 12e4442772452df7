"""From nothing to a department that answers, against Orthanc alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import orthanc
from row import Row

from labsim import Hospital

RUNS = 5


def run(folder: Path) -> list[Row]:
    """Return the best of five starts: within a running Python, and of a whole process."""
    theirs = min(_orthanc(folder / f"orthanc{n}") for n in range(RUNS))
    within = min(_within(folder / f"within{n}") for n in range(RUNS))
    whole = min(_process(folder / f"process{n}") for n in range(RUNS))
    return [
        Row("boot of a clinic in a kernel", within, "s", theirs, "Orthanc", aim="≥ 0.33"),
        Row("boot of a clinic as a program", whole, "s", theirs, "Orthanc", aim="≥ 0.33"),
    ]


def _orthanc(folder: Path) -> float:
    begun = time.perf_counter()
    with orthanc.running(folder, {}):
        return time.perf_counter() - begun


def _within(folder: Path) -> float:
    begun = time.perf_counter()
    with Hospital(path=folder):
        return time.perf_counter() - begun


def _process(folder: Path) -> float:
    command = [sys.executable, "-m", "labsim", "up", "--json", "--path", str(folder)]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as up:
        assert up.stdout is not None
        up.stdout.readline()  # it is printed when everything listens
        taken = time.perf_counter() - begun
        up.terminate()
    return taken
