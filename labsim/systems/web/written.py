"""Structured reports as text for a browser (PS3.18 table 8.7.4-1; PS3.3 C.17.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from pydicom.dataset import Dataset

from labsim.systems.facility import text_of

HTML, PLAIN = "text/html", "text/plain"
KINDS = (HTML, PLAIN)  # the default first


@dataclass(frozen=True)
class Line:
    """One content item.

    Parameters
    ----------
    depth : int
        How deep in the tree, from 0.
    name : str
        What its concept name means.
    value : str
        Empty for a heading.
    """

    depth: int
    name: str
    value: str


def is_document(dataset: Dataset) -> bool:
    """Tell whether an instance is a structured report."""
    return "ContentSequence" in dataset and dataset.get("ValueType") == "CONTAINER"


def written(document: Dataset, kind: str) -> bytes:
    """Return a structured report as text, with whose it is and how far it may be relied on.

    Parameters
    ----------
    document : Dataset
        The report, its text in Unicode.
    kind : str
        One of `KINDS`.
    """
    title = _meaning(document, "ConceptNameCodeSequence") or "Document"
    head, body = list(_head(document)), list(_lines(document, 0))
    if kind == PLAIN:
        told = [title, *(f"{name}: {value}" for name, value in head), ""]
        told += ["  " * one.depth + ": ".join(filter(None, (one.name, one.value))) for one in body]
        return "\n".join([*told, ""]).encode()
    page = [f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{escape(title)}</title>']
    page += [f"</head><body><h1>{escape(title)}</h1>", "<dl>"]
    page += [f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in head]
    page += ["</dl>", *map(_as_html, body), "</body></html>", ""]
    return "\n".join(page).encode()


def _as_html(line: Line) -> str:
    style = f' style="margin-left: {2 * line.depth}em"'
    if not line.value:
        return f"<h2{style}>{escape(line.name)}</h2>"
    value = escape(line.value).replace("\r\n", "\n").replace("\n", "<br>")
    name = f"<b>{escape(line.name)}</b>: " if line.name else ""
    return f"<p{style}>{name}{value}</p>"


def _head(document: Dataset) -> Iterator[tuple[str, str]]:
    patient = f"{document.get('PatientName', '')} ({text_of(document.get('PatientID'))})"
    yield "Patient", patient
    yield "Accession number", text_of(document.get("AccessionNumber"))
    yield "Date", f"{text_of(document.get('ContentDate'))} {text_of(document.get('ContentTime'))}"
    flags = (document.get("CompletionFlag"), document.get("VerificationFlag"))
    yield "State", ", ".join(text_of(flag).lower() for flag in flags if flag)


def _lines(item: Dataset, depth: int) -> Iterator[Line]:
    for each in item.get("ContentSequence") or []:
        value = _value(each)
        name = _meaning(each, "ConceptNameCodeSequence")
        if name or value:
            yield Line(depth, name, value)
        yield from _lines(each, depth + 1)


def _value(item: Dataset) -> str:
    kind = item.get("ValueType")
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = (item.get("MeasuredValueSequence") or [Dataset()])[0]
        units = (measured.get("MeasurementUnitsCodeSequence") or [Dataset()])[0]
        return f"{text_of(measured.get('NumericValue'))} {text_of(units.get('CodeValue'))}".strip()
    if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        reference = (item.get("ReferencedSOPSequence") or [Dataset()])[0]
        return f"{kind.lower()} {text_of(reference.get('ReferencedSOPInstanceUID'))}"
    keyword = {
        "TEXT": "TextValue",
        "PNAME": "PersonName",
        "DATE": "Date",
        "TIME": "Time",
        "DATETIME": "DateTime",
        "UIDREF": "UID",
        "SCOORD": "GraphicType",
        "SCOORD3D": "GraphicType",
    }
    return text_of(item.get(keyword[kind])) if kind in keyword else ""


def _meaning(item: Dataset, keyword: str) -> str:
    codes = item.get(keyword) or []
    return text_of(codes[0].get("CodeMeaning")) if codes else ""
