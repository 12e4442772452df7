"""The systems of a hospital as a map, with what passed between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from labsim.hospital import Hospital
from labsim.transcript import Step, Transcript
from labsim.widgets.picture import BLUE, GREEN, VERMILION, Picture
from labsim.wire.network import Address

Place = tuple[float, float]

_NAMES = {
    "his": ("HIS", "registers patients,\nplaces orders, keeps the chart"),
    "ris": ("RIS", "schedules, serves the\nworklist, reports"),
    "pacs": ("PACS", "keeps the images\nand gives them out"),
    "desk": ("Desk", "you, with your tools"),
    "engine": ("Engine", "passes messages on,\nby its channels"),
    "archive": ("Archive", "keeps studies for good"),
    "importer": ("Importer", "reads discs from\nother hospitals"),
    "ai": ("AI", "looks at images\nby itself"),
    "standby": ("Standby", "keeps a replica of the PACS,\nto take its place"),
    "audit": ("Audit", "is told by all systems\nwho did what"),
}
_WORKSTATIONS = "workstations"
# What stands around, at a site that has it: on the right, and in a row below, from left to right.
_RIGHT: Mapping[str, Place] = {"standby": (12.9, 0), "audit": (12.9, 3.1)}
_BELOW = ("importer", "archive", "ai", _WORKSTATIONS)
_ROW = {0: (), 1: (8.6,), 2: (4.3, 8.6), 3: (0, 4.3, 8.6), 4: (0, 4.3, 8.6, 12.9)}
_PLACES: Mapping[str, Place] = {
    "his": (0, 3.1),
    "ris": (4.3, 3.1),
    "pacs": (4.3, 0),
    "desk": (8.6, 0),
}
# With an engine, it stands where the messages meet.
_PLACES_WITH_ENGINE = {**_PLACES, "engine": (4.3, 3.1), "ris": (8.6, 3.1)}
_SCANNERS = "scanners"
_STYLE: Mapping[str, tuple[str, Literal["-", "--", ":"]]] = {
    "HL7": (BLUE, "-"),
    "DICOM": (VERMILION, "--"),
    "HTTP": (GREEN, ":"),
}
_WIDTH, _HEIGHT = 2.5, 0.78


def hospital_map(hospital: Hospital, transcript: Transcript | None = None) -> Picture:
    """Draw the systems, and the transactions of an exam between them.

    Parameters
    ----------
    hospital : Hospital
        A running one.
    transcript : Transcript, optional
        From ``hospital.journal.exam(…)``; without it the configured ways are drawn.
    """
    steps = transcript.steps() if transcript is not None else configured_steps(hospital)
    scanners = [modality.name for modality in hospital.modalities()]
    took_part = [name for name in scanners if any(name in (s.sender, s.receiver) for s in steps)]
    shown = took_part or scanners
    # One scanner is drawn as itself, several as one box: their ways are the same.
    box = {name: shown[0] if len(shown) == 1 else _SCANNERS for name in scanners}
    around = _PLACES_WITH_ENGINE if hospital.site.engine else _PLACES
    box |= dict.fromkeys((part.name for part in hospital.site.workstations), _WORKSTATIONS)
    places = {
        **around,
        box[shown[0]]: (0.0, 0.0),
        **_more(hospital, steps, box, transcript is None),
    }
    right, bottom = max(x for x, _ in places.values()), min(y for _, y in places.values())
    top = 4.6 if hospital.site.engine else 3.9
    # As large on the page as it needs to be for the same size of words.
    scale = 10.5 / (8.6 + 3.1)
    size = ((right + 3.1) * scale, (top - bottom + 0.75) * 5.6 / 5.35)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    used: set[str] = set()
    for (sender, receiver, protocol), labels in _ways(steps, box).items():
        known = sender in places and receiver in places
        if known and not _is_blocked(sender, receiver, places):  # else the words alone have it
            _arrow(axes, places[sender], places[receiver], protocol, labels)
            used.add(protocol)
    for name, place in places.items():
        _box(axes, *_words(hospital, name), place)
    handles = [
        Line2D([], [], color=colour, linestyle=line, label=protocol)
        for protocol, (colour, line) in _STYLE.items()
        if protocol in used
    ]
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=11)
    axes.set_xlim(-1.5, right + 1.6)
    axes.set_ylim(bottom - 0.75, top)
    said = "; ".join(f"{' to '.join(_stations(s))} {s.transaction} by {s.protocol}" for s in steps)
    title = "What passed between the systems" if transcript is not None else "Who calls whom"
    alt = f"Map of {hospital.site.institution}. {title}: {said}."
    return Picture.of(figure, alt, title, round(760 * size[0] / 10.5))


def configured_steps(hospital: Hospital) -> list[Step]:
    """Return the ways that the site describes, as steps without messages."""
    site = hospital.site
    ways: list[tuple[str, str, str, str]] = [
        ("his", site.his.orders_to, "HL7", "orders"),
        ("ris", site.ris.orders_to, "HL7", "orders"),
        ("ris", site.ris.results_to, "HL7", "results"),
    ]
    if site.engine is not None:
        for channel in hospital.engine.channels():
            for entry in channel.spec.destinations:
                receiver = hospital.network.system_at(Address(entry.host, entry.port))
                ways.append(("engine", receiver, "HL7", channel.name))
    for modality in site.modalities:
        ways.append((modality.name, modality.worklist, "DICOM", "worklist, MPPS"))
        ways.append((modality.name, modality.archive, "DICOM", "images"))
    for workstation in site.workstations:
        ways.append((workstation.name, workstation.archive, "DICOM", "query, retrieve"))
    if site.importer is not None:
        ways.append(("importer", site.importer.worklist, "DICOM", "worklist, MPPS"))
        ways.append(("importer", site.importer.archive, "DICOM", "images"))
    if site.ai is not None:
        ways.append(("ai", site.ai.archive, "DICOM", "results"))
    if site.archive is not None:
        ways.append(("archive", "pacs", "DICOM", "migration"))
    if site.standby is not None:
        ways.append(("pacs", "standby", "HTTP", "replicas"))
    ways.append(("ris", "pacs", "DICOM", "reports"))
    ways.append(("desk", "pacs", "DICOM", "query, retrieve"))
    return [Step(label, label, s, r, protocol, 0, "", "") for s, r, protocol, label in ways]


def _more(
    hospital: Hospital, steps: list[Step], box: Mapping[str, str], whole: bool
) -> dict[str, Place]:
    """Return the places of what stands around: all that the site has, or what took part."""
    there = {box.get(name, name) for name in hospital.site.parts()}
    took_part = {box.get(name, name) for step in steps for name in (step.sender, step.receiver)}
    shown = there if whole else took_part
    below = [name for name in _BELOW if name in shown]
    row = {name: (x, -3.1) for name, x in zip(below, _ROW[len(below)], strict=True)}
    return {**row, **{name: place for name, place in _RIGHT.items() if name in shown}}


def _is_blocked(sender: str, receiver: str, places: Mapping[str, Place]) -> bool:
    """Tell whether the straight way from box to box passes through a third one."""
    (x0, y0), (x1, y1) = places[sender], places[receiver]
    others = [place for name, place in places.items() if name not in (sender, receiver)]
    along = [(x0 + (x1 - x0) * part / 50, y0 + (y1 - y0) * part / 50) for part in range(51)]
    return any(
        abs(x - cx) < _WIDTH / 2 + 0.12 and abs(y - cy) < _HEIGHT / 2 + 0.12
        for x, y in along
        for cx, cy in others
    )


def _ways(steps: list[Step], box: Mapping[str, str]) -> dict[tuple[str, str, str], list[str]]:
    """Return what to write on each way from box to box."""
    ways: dict[tuple[str, str, str], list[str]] = {}
    for step in steps:
        for ends in itertools.pairwise(box.get(name, name) for name in _stations(step)):
            labels = ways.setdefault((*ends, step.protocol), [])
            if step.transaction not in labels:
                labels.append(step.transaction)
    return ways


def _stations(step: Step) -> tuple[str, ...]:
    """Return the systems that a step went through, from first to last."""
    return (step.sender, *step.via, step.receiver)


def _words(hospital: Hospital, name: str) -> tuple[str, str]:
    """Return the title of a box, and what the system does."""
    if name == _SCANNERS:
        titles = [modality.ae_title for modality in hospital.modalities()]
        return "Scanners", _wrapped(titles, 3 if len(titles) <= 6 else 4)
    if name == _WORKSTATIONS:
        return "Workstation", ", ".join(part.ae_title for part in hospital.site.workstations)
    if name in _NAMES:
        return _NAMES[name]
    scanner = hospital.modality(name)
    return scanner.ae_title, f"{scanner.modality} scanner"


def _box(axes: Axes, title: str, what: str, place: Place) -> None:
    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - _WIDTH / 2, y - _HEIGHT / 2),
            _WIDTH,
            _HEIGHT,
            boxstyle="round,pad=0.12",
            facecolor="#F4F6F8",
            edgecolor="#37424A",
            linewidth=1.4,
            zorder=3,
        )
    )
    axes.text(x, y + 0.2, title, ha="center", va="center", fontsize=14, weight="bold", zorder=4)
    axes.text(x, y - 0.2, what, ha="center", va="center", fontsize=9.5, color="#37424A", zorder=4)


def _arrow(axes: Axes, start: Place, end: Place, protocol: str, labels: list[str]) -> None:
    colour, line = _STYLE[protocol]
    (x0, y0), (x1, y1) = start, end
    level = abs(y1 - y0) < 0.5
    # Each direction keeps to its own side, so that a way and its way back stay apart.
    if level:
        shift = 0.2 if x1 > x0 else -0.2
        tail = (x0 + _side(x1 - x0) * (_WIDTH / 2 + 0.15), y0 + shift)
        head = (x1 - _side(x1 - x0) * (_WIDTH / 2 + 0.15), y1 + shift)
        label, align = ((tail[0] + head[0]) / 2, tail[1] + 0.08 * _side(shift)), "center"
        vertical = "bottom" if shift > 0 else "top"
    else:
        # HL7 and DICOM between the same two stay apart in the same way.
        shift = 0.45 if (y1 > y0) != (protocol == "DICOM") else -0.45
        shift = shift if abs(x1 - x0) < 0.5 else 0.0
        tail = (x0 + shift, y0 + _side(y1 - y0) * (_HEIGHT / 2 + 0.15))
        head = (x1 + shift, y1 - _side(y1 - y0) * (_HEIGHT / 2 + 0.15))
        slanted = abs(x1 - x0) >= 0.5
        if slanted:  # it arrives beside what comes straight from below or above
            head = (head[0] - 0.8 * _side(x1 - x0), head[1])
        beside = -0.15 if slanted else 0.12
        # A long way crosses others in its middle.
        part = 0.25 if abs(x1 - x0) > 6 else 0.5
        across, up = (t + part * (h - t) for t, h in zip(tail, head, strict=True))
        label = (across + beside, up)
        align, vertical = ("right" if slanted else "left"), "center"
    axes.add_patch(
        FancyArrowPatch(
            tail,
            head,
            arrowstyle="-|>",
            mutation_scale=17,
            color=colour,
            linestyle=line,
            linewidth=1.8,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )
    axes.text(
        *label,
        _wrapped(labels, 2 if level else 3),
        ha=align,
        va=vertical,
        fontsize=10,
        color=colour,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85},
    )


def _wrapped(labels: list[str], most: int) -> str:
    lines = [", ".join(labels[index : index + most]) for index in range(0, len(labels), most)]
    return "\n".join(lines)


def _side(value: float) -> int:
    return 1 if value > 0 else -1
