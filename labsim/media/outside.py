"""Discs from another hospital, with the snags that real ones have."""

from __future__ import annotations

import random
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset

from labsim.errors import NotFound
from labsim.ids import make_uid
from labsim.imaging.common import Acquisition, AnyAcquisition, request_attributes
from labsim.imaging.scanners import SCANNERS
from labsim.media.creator import write_disc

SNAGS = {
    "no issuer": "the files do not say who gave the Patient ID",
    "no name": "the name was left out",
    "name spelled differently": "without accents, in capitals, with a middle initial",
    "broken file": "one file is cut off in its pixels",
    "missing file": "the DICOMDIR names a file that is not there",
    "unnamed file": "one file is not in the DICOMDIR",
    "duplicate file": "one image is there twice",
    "no DICOMDIR": "there are files only",
    "stranger in the DICOMDIR": "the DICOMDIR gives another Patient ID than the files",
}


@dataclass(frozen=True)
class Outsider:
    """Who is on a disc from outside, and who made it.

    Parameters
    ----------
    name, birth_date, sex : str
        As the other hospital writes them.
    patient_id, issuer : str
        The number it gave.
    institution : str
        Its name.
    """

    name: str = "Moreau^Céline"
    birth_date: str = "19610417"
    sex: str = "F"
    patient_id: str = "4711"
    issuer: str = "LAKESIDE"
    institution: str = "Lakeside Hospital"


def outside_disc(
    path: Path | str,
    *,
    seed: int = 1,
    patient: Outsider | None = None,
    modality: str = "CT",
    protocol: str = "",
    images: int = 0,
    snags: Iterable[str] = (),
) -> Path:
    """Make the disc of an exam that another hospital made.

    Parameters
    ----------
    path : Path or str
        Folder, or ZIP file.
    seed : int
        Decides the anatomy and every UID.
    patient : Outsider, optional
        Whose it is; give the number of a patient of ours to make numbers collide.
    modality, protocol : str
        What was done: a kind of scanner and one of its protocols; the first
        that is no localizer if left out.
    images : int
        How many slices, of protocols that have slices; all if 0.
    snags : iterable of str
        What is wrong with it: some of `SNAGS`.

    Returns
    -------
    Path
        The disc.

    Raises
    ------
    NotFound
        If modality, protocol or snag are unknown.
    """
    wanted = set(snags)
    for snag in wanted - set(SNAGS):
        raise NotFound(f"There is no snag {snag!r}.", f"There are {', '.join(SNAGS)}.")
    who = patient or Outsider()
    if "name spelled differently" in wanted:
        who = replace(who, name=_misspelled(who.name))
    made = _exam(seed, who, modality, protocol, images)
    for image in made:
        if "no issuer" in wanted:
            del image.IssuerOfPatientID
        if "no name" in wanted:
            image.PatientName = ""
    folder = Path(path)
    disc = write_disc(
        folder,
        [(str(image.SOPInstanceUID), partial(_itself, image)) for image in made],
        institution=who.institution,
        uid=make_uid("outside disc", seed, who.issuer),
        created=_taken(seed),
        label=who.issuer,
    )
    if folder.suffix.lower() != ".zip":
        # Each spoils what its turn brings; the first images stay whole.
        left = [folder / name for name, _ in disc.files]
        for snag, spoil in _SPOILERS.items():
            if snag in wanted:
                spoil(folder, left.pop() if len(left) > 1 else left[0])
    elif wanted & set(_SPOILERS):
        raise NotFound("Files can only be spoiled in a folder.", "Name one without .zip.")
    return folder


def _itself(image: FileDataset) -> FileDataset:
    return image


def _taken(seed: int) -> datetime:
    rng = random.Random(f"{seed}/outside")
    return datetime(2025, rng.randint(1, 12), rng.randint(1, 28), rng.randint(8, 17), 20)


def _exam(seed: int, who: Outsider, modality: str, key: str, images: int) -> list[FileDataset]:
    if modality not in SCANNERS:
        raise NotFound(f"No scanner makes {modality!r}.", f"Use {', '.join(SCANNERS)}.")
    scanner = SCANNERS[modality]
    if key and key not in scanner.protocols:
        raise NotFound(
            f"{modality} has no protocol {key!r}.", f"Use {', '.join(scanner.protocols)}."
        )
    first = next(k for k, p in scanner.protocols.items() if not getattr(p, "localizer", False))
    protocol: Any = scanner.protocols[key or first]
    if images and hasattr(protocol, "slices"):
        protocol = replace(protocol, slices=images)
    own = ("outside", who.issuer, who.patient_id, seed)
    acquisition: AnyAcquisition = Acquisition(
        study=_study(seed, who, f"{modality} {protocol.name}"),
        protocol=protocol,
        series_uid=make_uid("series", *own),
        frame_of_reference_uid=make_uid("frame of reference", *own),
        series_number=1,
        station=f"{modality}9",
        institution=who.institution,
        started=_taken(seed),
        seed=seed,
    )
    uids = [make_uid("image", *own, index) for index in range(protocol.images)]
    return list(scanner.acquire(acquisition, uids))


def _study(seed: int, who: Outsider, description: str) -> Dataset:
    taken = _taken(seed)
    number = f"{seed % 100000:05d}"
    study = Dataset()
    study.SpecificCharacterSet = "ISO_IR 100" if _is_latin1(who.name) else "ISO_IR 192"
    study.PatientName = who.name
    study.PatientID = who.patient_id
    study.IssuerOfPatientID = who.issuer
    study.PatientBirthDate = who.birth_date
    study.PatientSex = who.sex
    study.AccessionNumber = f"LK{number}"
    study.ReferringPhysicianName = "Okafor^Ngozi"
    study.StudyInstanceUID = make_uid("study", "outside", who.issuer, who.patient_id, seed)
    study.StudyID = number
    study.StudyDescription = description
    study.StudyDate, study.StudyTime = taken.strftime("%Y%m%d"), taken.strftime("%H%M%S")
    study.PerformedProcedureStepID = number
    study.RequestAttributesSequence = request_attributes(
        accession=str(study.AccessionNumber),
        procedure_id=number,
        step_id=number,
        description=description,
    )
    return study


def _is_latin1(name: str) -> bool:
    return all(ord(letter) < 256 for letter in name)


def _misspelled(name: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))
    return f"{plain.upper()}^M"


def _cut_off(folder: Path, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 5])


def _take_away(folder: Path, file: Path) -> None:
    file.unlink()


def _add_unnamed(folder: Path, file: Path) -> None:
    image = dcmread(file)
    image.SOPInstanceUID = make_uid("unnamed", image.SOPInstanceUID)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.InstanceNumber = int(image.InstanceNumber) + 1000
    image.save_as(file.with_name("EXTRA"), enforce_file_format=True)


def _copy(folder: Path, file: Path) -> None:
    shutil.copyfile(file, file.with_name("COPY"))


def _remove_dicomdir(folder: Path, file: Path) -> None:
    (folder / "DICOMDIR").unlink()


def _rename_in_dicomdir(folder: Path, file: Path) -> None:
    """Change the Patient ID of the DICOMDIR; its length stays, as the offsets of records must."""
    dicomdir = dcmread(folder / "DICOMDIR")
    for record in dicomdir.DirectoryRecordSequence:
        if record.DirectoryRecordType == "PATIENT":
            record.PatientID = record.PatientID.translate(_NEXT_DIGIT)
    dicomdir.save_as(folder / "DICOMDIR", enforce_file_format=True)


_NEXT_DIGIT = str.maketrans("0123456789", "1234567890")
_SPOILERS: Mapping[str, Callable[[Path, Path], None]] = {
    "broken file": _cut_off,
    "duplicate file": _copy,
    "missing file": _take_away,
    "stranger in the DICOMDIR": _rename_in_dicomdir,
    "unnamed file": _add_unnamed,
    "no DICOMDIR": _remove_dicomdir,
}
