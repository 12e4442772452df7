"""Make the learners' notebooks from their sources.

``notebooks/src/NAME.py`` holds a lesson with its solutions, in jupytext's
percent format. From it come

- ``notebooks/NAME.ipynb``, for the learner: without the cells tagged
  ``solution``;
- with ``--solved FOLDER``, the solved form: with them, and with a last cell
  that fails unless every exercise passed.

One way only: the notebooks are never read back. Run ``python
notebooks/build.py`` after a change of a source.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jupytext
import nbformat

HERE = Path(__file__).parent
LAST_CELL = "assert lab.complete, lab.progress()"


def sources() -> list[Path]:
    """Return every lesson's source."""
    return sorted((HERE / "src").glob("*.py"))


def build(source: Path, *, solved: bool = False) -> str:
    """Make one notebook.

    Parameters
    ----------
    source : Path
        The lesson.
    solved : bool
        Whether to keep the solutions.

    Returns
    -------
    str
        The notebook as JSON; the same source gives the same text.
    """
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    cells = [
        cell for cell in notebook.cells if solved or "solution" not in cell.metadata.get("tags", [])
    ]
    if solved:
        cells.append(nbformat.v4.new_code_cell(LAST_CELL))
    for number, cell in enumerate(cells):
        cell.id = f"{source.stem}-{number:03d}"
        cell.metadata.pop("lines_to_next_cell", None)
    notebook.cells = cells
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook, indent=1) + "\n"


def main() -> None:
    """Write the notebooks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--solved", type=Path, metavar="FOLDER", help="write the solved form here")
    folder = parser.parse_args().solved
    for source in sources():
        target = (folder or HERE) / f"{source.stem}.ipynb"
        text = build(source, solved=folder is not None)
        target.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
