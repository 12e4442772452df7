"""A disc goes into the queue: its files are copied, because it is taken out again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from labsim.database import Database
from labsim.media.reading import Content
from labsim.systems.importer.queue import Import, Queue, copy_name, studies_of
from labsim.table import Table


@dataclass(frozen=True)
class Reading:
    """What came of reading a disc.

    Parameters
    ----------
    disc : str
        Its name.
    imports : list of Import
        The studies that wait for a clerk now.
    refused : list of (file, reason)
        Files that were not taken.
    mismatches : list of (file, reason)
        Where DICOMDIR and files do not agree.
    """

    disc: str
    imports: list[Import]
    refused: list[tuple[str, str]]
    mismatches: list[tuple[str, str]]

    def table(self) -> Table:
        """Return what was found wrong."""
        rows = [("refused", *finding) for finding in self.refused]
        rows += [("DICOMDIR", *finding) for finding in self.mismatches]
        images = sum(study.images for study in self.imports)
        caption = (
            f"{self.disc}: {len(self.imports)} studies with {images} images wait to be reconciled, "
            f"{len(self.refused)} files refused, {len(self.mismatches)} remarks on the DICOMDIR"
        )
        return Table(("what", "file", "reason"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def keep_disc(
    db: Database, queue: Queue, folder: Path, name: str, medium: str, content: Content, now: str
) -> tuple[int, list[int]]:
    """Copy the files of a disc and enter them into the queue.

    Parameters
    ----------
    db, queue : Database, Queue
        The importer's.
    folder : Path
        Where the copies go.
    name, medium : str
        Of the disc.
    content : Content
        What is on it.
    now : str
        When it was read.

    Returns
    -------
    disc : int
        Its number.
    studies : list of int
        Their numbers in the queue.

    Raises
    ------
    OSError
        If a file cannot be copied; nothing is in the queue then.
    """
    with db.transaction():
        disc = queue.add_disc(name, medium, now)
        queue.add_findings(disc, "refused", content.refused)
        queue.add_findings(disc, "DICOMDIR", content.mismatches)
        copies, numbers = 0, []
        for images in studies_of(content.images):
            entries = []
            for image in images:
                copies += 1
                target = folder / copy_name(disc, copies)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(image.path, target)
                entries.append((image, copy_name(disc, copies).as_posix()))
            numbers.append(queue.add_study(disc, entries))
    return disc, numbers
