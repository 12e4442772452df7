"""The notebooks: made from their sources, sound in form, and run to their end."""

from __future__ import annotations

import itertools
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BUILD = runpy.run_path(str(NOTEBOOKS / "build.py"))
SOURCES: list[Path] = BUILD["sources"]()
names = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def learners(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{source.stem}.ipynb", as_version=4)


@names
def test_notebook_is_what_its_source_makes(source: Path) -> None:
    made = (NOTEBOOKS / f"{source.stem}.ipynb").read_text(encoding="utf-8")
    assert made == BUILD["build"](source), "run: python notebooks/build.py"


def test_every_notebook_has_a_source() -> None:
    made = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    assert made == {source.stem for source in SOURCES} != set()


@names
def test_learner_gets_no_solution_and_no_output(source: Path) -> None:
    for cell in learners(source).cells:
        assert "solution" not in cell.metadata.get("tags", [])
        assert not cell.get("outputs")


@names
def test_one_title_and_no_heading_level_skipped(source: Path) -> None:
    text = "\n".join(c.source for c in learners(source).cells if c.cell_type == "markdown")
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@names
def test_kernel_is_the_one_every_jupyter_has(source: Path) -> None:
    assert learners(source).metadata.kernelspec.name == "python3"


@names
def test_solved_form_ends_with_a_cell_that_demands_every_exercise(source: Path) -> None:
    solved = nbformat.reads(BUILD["build"](source, solved=True), as_version=4)
    assert solved.cells[-1].source == BUILD["LAST_CELL"]
    assert len(solved.cells) > len(learners(source).cells) + 1


@pytest.mark.parametrize("solved", [True, False], ids=["solved", "as the learner gets it"])
def test_run_all_ends_without_an_error(tmp_path: Path, solved: bool) -> None:
    for source in SOURCES:
        text = BUILD["build"](source, solved=solved)
        (tmp_path / f"{source.stem}.ipynb").write_text(text, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # not this project's options
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "--nbval-lax", "--nbval-current-env", "."],
        cwd=tmp_path,
        # nbval kills its kernels, and a killed one cannot clean up after itself.
        env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-3000:]
