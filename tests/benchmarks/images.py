"""CT images to send: 512 × 512 pixels of 16 bit, noise that no code makes small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_series(folder: Path, count: int, *, size: int = 512) -> list[Path]:
    """Write the images of one series and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series = generate_uid(), generate_uid()
    pixels = np.random.default_rng(1).integers(0, 4096, (size, size), dtype=np.uint16)
    files = []
    for number in range(1, count + 1):
        image = _header(study, series, number, size)
        image.PixelData = np.roll(pixels, number, axis=0).tobytes()
        files.append(folder / f"{number:05d}.dcm")
        image.save_as(files[-1], enforce_file_format=True)
    return files


def _header(study: str, series: str, number: int, size: int) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.PatientName, image.PatientID = "Bench^Mark", "BENCH1"
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyDate, image.StudyTime, image.StudyID = "20260101", "120000", "1"
    image.AccessionNumber, image.Modality = "BENCH1", "CT"
    image.SeriesNumber, image.InstanceNumber = 1, number
    image.Rows = image.Columns = size
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.SamplesPerPixel, image.PixelRepresentation = 1, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    image.RescaleIntercept, image.RescaleSlope = -1024, 1
    return image
