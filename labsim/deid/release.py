"""A folder of de-identified images and documents, checked before anybody gets it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from labsim.deid.deidentifier import Deidentifier
from labsim.deid.leaks import Leaks, facts_of, find_leaks
from labsim.deid.profile import Option
from labsim.deid.record import Record
from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.table import Table

# What the options retain is no leak.
_RETAINED = {Option.RETAIN_UIDS: "uids", Option.RETAIN_INSTITUTION: "institutions"}


@dataclass(frozen=True)
class Release:
    """What was made of a study for others.

    Parameters
    ----------
    path : Path
        The folder.
    files : list of (file, SOP Instance UID)
        What is in it, under its new UIDs.
    left_out : list of (SOP Instance UID, reason)
        What is not, by the UID of the original.
    leaks : Leaks
        What still tells who the patient is, by a search of the whole folder.
    record : Record
        What became of each attribute.
    """

    path: Path
    files: list[tuple[str, str]]
    left_out: list[tuple[str, str]]
    leaks: Leaks
    record: Record

    def table(self) -> Table:
        """Return what was removed, replaced, cleaned and kept; and in the caption what is wrong."""
        record = self.record.table()
        return Table(record.columns, record.rows, self._caption())

    def _caption(self) -> str:
        caption = f"{self.path.name}: {len(self.files)} files written"
        if self.left_out:
            caption += f", {len(self.left_out)} left out ({self.left_out[0][1]})"
        return f"{caption}, {len(self.leaks)} leaks found" if self.leaks else caption

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def release(originals: Sequence[Dataset], into: Path | str, deidentifier: Deidentifier) -> Release:
    """Write de-identified images and documents into a new folder, and search it for leaks.

    Folders and files are named by pseudonym and number: patient, study, series, image.

    Parameters
    ----------
    originals : sequence of Dataset
        As the archive sends them; they stay as they are.
    into : Path or str
        A folder that does not exist or is empty.
    deidentifier : Deidentifier
        How.

    Returns
    -------
    Release
        What became of all of it.

    Raises
    ------
    ConfigurationError
        If the place is taken or cannot be written.
    NotFound
        If nothing could be written.
    """
    target = Path(into).absolute()
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ConfigurationError(
            f"{target} is there already and not empty.",
            "Name a new folder, so that nothing else leaves with it.",
        )
    files: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    options = deidentifier.profile.options
    retained = [kind for option, kind in _RETAINED.items() if option in options]
    facts = facts_of(originals).without(*retained)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Nobody finds half of it: it is made beside its place and moved there when it is whole.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".release-") as temporary:
            made = Path(temporary) / "release"
            name = _namer()
            for original in sorted(originals, key=_place):
                try:
                    clean = deidentifier.dataset(original)
                except LabError as error:
                    left_out.append((str(original.get("SOPInstanceUID", "")), str(error)))
                    continue
                file = name(clean)
                (made / file).parent.mkdir(parents=True, exist_ok=True)
                clean.save_as(made / file, enforce_file_format=True)
                files.append((file, str(clean.SOPInstanceUID)))
            if not files:
                reason = left_out[0][1] if left_out else "There are no images."
                raise NotFound(f"Nothing could be written into {target.name}. {reason}")
            leaks = find_leaks(made, facts)
            if target.is_dir():  # an empty one
                target.rmdir()
            made.rename(target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror}.", "Choose another place."
        ) from error
    return Release(target, files, left_out, leaks, deidentifier.record)


def _place(image: Dataset) -> tuple[str, int, str, int]:
    return (
        str(image.get("StudyInstanceUID", "")),
        int(image.get("SeriesNumber") or 0),
        str(image.get("SeriesInstanceUID", "")),
        int(image.get("InstanceNumber") or 0),
    )


def _namer() -> Callable[[FileDataset], str]:
    """Return what names files; numbers count in the order in which things come."""
    numbers: dict[tuple[str, ...], dict[str, int]] = {}

    def number(value: str, *within: str) -> int:
        known = numbers.setdefault(within, {})
        return known.setdefault(value, len(known) + 1)

    def name(image: FileDataset) -> str:
        patient, study = str(image.PatientID), str(image.StudyInstanceUID)
        series, instance = str(image.SeriesInstanceUID), str(image.SOPInstanceUID)
        return (
            f"{patient}/ST{number(study, patient):03}/SE{number(series, study):03}"
            f"/IM{number(instance, study, series):05}.dcm"
        )

    return name
