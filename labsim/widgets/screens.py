"""The screens of a workstation, as its reader sees them."""

from __future__ import annotations

import math
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labsim.errors import LabError
from labsim.imaging.display import jnd_index
from labsim.systems.workstation import Workstation
from labsim.systems.workstation.hanging import Box
from labsim.widgets.picture import Picture

_TILES = 12  # images of a tiled box, at most
_ANCHORS: dict[str, Literal["W", "C", "E"]] = {"LEFT": "W", "CENTER": "C", "RIGHT": "E"}
_BLACK, _WHITE = 0.05, 450.0  # cd/m², of a monitor that shows all there is here


def show_screens(workstation: Workstation, *, width: int = 960) -> Picture:
    """Draw what hangs: each image by its presentation state, and as bright as its monitor is.

    Grey stands for just-noticeable differences (PS3.14), so a dim monitor or a bright
    room shows in the picture. Of a stack one image is shown, of a tiled box twelve at most.

    Parameters
    ----------
    workstation : Workstation
        With a study open.
    width : int
        Width on the page in CSS pixels.

    Raises
    ------
    LabError
        If nothing is open.
    """
    reading = workstation.reading
    if reading is None:
        raise LabError(
            f"Nothing is open at {workstation.name}.", "Use open(…) with an accession number first."
        )
    hanging = reading.hanging
    figure = Figure(figsize=(10, 10 / (1.25 * hanging.protocol.screens)), facecolor="black")
    words = [_draw(figure, box, workstation) for box in hanging.boxes]
    person, study = reading.study.patient, reading.study
    what = f"{person.name}, {person.patient_id}: {study.accession} {study.description}".strip()
    alt = f"{what}, hung by {hanging.protocol.name!r}. {'; '.join(words)}."
    return Picture.of(figure, alt, "; ".join([what, *words]), width)


def _draw(figure: Figure, box: Box, workstation: Workstation) -> str:
    """Draw one display set, and say what is in it."""
    left, top, right, bottom = box.display_set.position
    headers = box.headers
    if box.display_set.layout != "TILED" and headers:
        headers = (headers[(len(headers) - 1) // 2],)
    headers = headers[:_TILES]
    columns = math.ceil(math.sqrt(len(headers))) or 1
    rows = math.ceil(len(headers) / columns) or 1
    wide, high = (right - left) / columns, (top - bottom) / rows
    states: set[str] = set()
    for index, header in enumerate(headers):
        place = (left + index % columns * wide, top - (index // columns + 1) * high, wide, high)
        axes = figure.add_axes(place, anchor=_ANCHORS[box.display_set.justification])
        states.add(_image(axes, workstation, str(header.SOPInstanceUID)))
    study = f"{box.study.accession} of {box.study.date}, " if box.study else ""
    what = f"{box.image_set.label}: {study}{len(box.headers) or 'no'} image"
    what += "s" * (len(box.headers) > 1) + "".join(f", {state}" for state in states if state)
    figure.text(left + 0.005, top - 0.005, what, color="white", fontsize=8, va="top", ha="left")
    return what


def _image(axes: Axes, workstation: Workstation, sop_uid: str) -> str:
    seen = workstation.see(sop_uid)
    axes.set_axis_off()
    if seen.values.ndim == 3:
        axes.imshow(seen.values)
    else:
        darkest, brightest = jnd_index([_BLACK, _WHITE])
        axes.imshow(jnd_index(seen.luminance), cmap="gray", vmin=darkest, vmax=brightest)
    return seen.state
