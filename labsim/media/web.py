"""The pages of a disc for a browser: ``INDEX.HTM``, small pictures, and ``README.TXT``.

PDI's Web Content Option (IHE RAD TF-3 4.47): XHTML and JPEG, names of 8.3
characters, everything but the index in a folder ``IHE_PDI``. Nothing starts by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim.media.pixels import thumbnail

_FOLDER = "IHE_PDI"


@dataclass(frozen=True)
class Listed:
    """One file of the disc.

    Parameters
    ----------
    header : Dataset
        What its directory records were made of.
    path : Path
        Where it is.
    """

    header: Dataset
    path: Path


def write_pages(folder: Path, files: list[Listed], institution: str, created: datetime) -> None:
    """Write the index, one small picture of each series, and the read-me.

    Parameters
    ----------
    folder : Path
        The disc.
    files : list of Listed
        Its files, those of a patient, study and series together.
    institution : str
        Who made it.
    created : datetime
        When.
    """
    (folder / _FOLDER).mkdir()
    groups = [list(group) for _, group in groupby(files, lambda file: _key(file.header))]
    series = [
        _Series(group, _picture(folder, number, group))
        for number, group in enumerate(groups, start=1)
    ]
    made = f"Written on {created:%Y-%m-%d} by {institution}."
    page = _page(series, made)
    (folder / "INDEX.HTM").write_text(page, encoding="utf-8", newline="\r\n")
    readme = _README.format(made=made)
    (folder / "README.TXT").write_text(readme, "ascii", errors="replace", newline="\r\n")


@dataclass(frozen=True)
class _Series:
    files: list[Listed]
    picture: str  # its name below the folder; empty if there is none

    @property
    def header(self) -> Dataset:
        return self.files[0].header


def _key(header: Dataset) -> tuple[str, str, str]:
    return str(header.PatientID), str(header.StudyInstanceUID), str(header.SeriesInstanceUID)


def _picture(folder: Path, number: int, files: list[Listed]) -> str:
    """Write the picture of the middle of a series, and return its name."""
    jpeg = thumbnail(dcmread(files[len(files) // 2].path))
    if jpeg is None:
        return ""
    name = f"{_FOLDER}/SE{number:06d}.JPG"
    (folder / name).write_bytes(jpeg)
    return name


def _page(series: list[_Series], made: str) -> str:
    parts = []
    for _, of_patient in groupby(series, lambda one: _key(one.header)[0]):
        studies = [list(group) for _, group in groupby(of_patient, lambda s: _key(s.header)[:2])]
        parts.append(f"<h1>{escape(_patient(studies[0][0].header))}</h1>")
        parts += [_study(study) for study in studies]
    title = " and ".join(dict.fromkeys(_patient(one.header) for one in series))
    return _FRAME.format(title=escape(title), body="\n".join(parts), made=escape(made))


def _study(series: list[_Series]) -> str:
    header = series[0].header
    heading = f"{_words(header, 'StudyDescription') or 'Study'}, {_date(header.StudyDate)}"
    numbers = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("accession number", _words(header, "AccessionNumber")),
            ("from", _words(header, "InstitutionName")),
        )
        if value
    )
    return (
        f"<h2>{escape(heading)}</h2>\n<p>{escape(numbers)}</p>\n<div class='series'>\n"
        + "\n".join(map(_figure, series))
        + "\n</div>"
    )


def _figure(series: _Series) -> str:
    header = series.header
    modality, description = _words(header, "Modality"), _words(header, "SeriesDescription")
    what = description if description.startswith(modality) else f"{modality} {description}".strip()
    count = len(series.files)
    caption = f"Series {header.SeriesNumber}: {what}, {count} {'file' if count == 1 else 'files'}"
    part = _words(header, "BodyPartExamined").lower()
    alt = f"{what}{f' of the {part}' if part else ''}, image {count // 2 + 1} of {count}"
    shown = (
        f"<img src='{series.picture}' alt='{escape(alt, quote=True)}' />"
        if series.picture
        else "<p class='none'>Nothing to be seen: this series holds no pictures.</p>"
    )
    return f"<div class='one'>{shown}<p>{escape(caption)}</p></div>"


def _patient(header: Dataset) -> str:
    name = _words(header, "PatientName").partition("=")[0].replace("^", ", ", 1).replace("^", " ")
    born = f", born {_date(header.PatientBirthDate)}" if header.get("PatientBirthDate") else ""
    return f"{name.strip(', ') or 'No name'} ({header.PatientID}){born}"


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 else str(value)


def _words(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword) or "")


_FRAME = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<title>{title}</title>
<style type="text/css">
body {{ font-family: sans-serif; margin: 2em; color: #111; background: #fff; }}
.one {{ display: inline-block; vertical-align: top; width: 260px; margin: 0 1em 1em 0; }}
.one img {{ max-width: 256px; background: #000; }}
.none {{ color: #555; }}
</style>
</head>
<body>
{body}
<p>{made} The pictures on this page are for orientation, not for diagnosis: read the DICOM files
with a viewer, through DICOMDIR. <a href="README.TXT">README.TXT</a></p>
</body>
</html>
"""
_README = """{made}

This disc follows IHE Portable Data for Imaging (PDI).

DICOMDIR      the directory of the DICOM files, for a viewer or an importer
PT000000 ...  the DICOM files
INDEX.HTM     an overview for a browser
IHE_PDI       its pictures, which are for orientation and not for diagnosis

Written with labsim, a simulated hospital. Every patient in it is invented.
"""
