"""A viewer for one series: slice, window centre and window width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets
from pydicom.dataset import Dataset

from labsim.errors import LabError
from labsim.widgets.slices import in_order, values_of, where, windows


class SeriesCanvas(anywidget.AnyWidget):
    """Draws the slices in the browser, so that sliding needs no answer from Python.

    Its controls are plain labelled inputs: they can be reached by keyboard and
    are read out by a screen reader.
    """

    _esm = Path(__file__).parent / "viewer.js"
    _css = Path(__file__).parent / "viewer.css"

    pixels = traitlets.Bytes().tag(sync=True)  # int16, image by image, row by row
    rows = traitlets.Int().tag(sync=True)
    columns = traitlets.Int().tag(sync=True)
    places = traitlets.List(traitlets.Unicode()).tag(sync=True)
    range = traitlets.List(traitlets.Float()).tag(sync=True)  # lowest and highest value
    title = traitlets.Unicode().tag(sync=True)
    index = traitlets.Int().tag(sync=True)
    center = traitlets.Float().tag(sync=True)
    width = traitlets.Float().tag(sync=True)


class SeriesViewer(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Slide through a series and change its window.

    What the controls do, a script can do too: set ``viewer.canvas.index``,
    ``viewer.canvas.center`` and ``viewer.canvas.width``, or
    ``viewer.preset.value``.

    Parameters
    ----------
    images : sequence of Dataset
        A series of one size.

    Raises
    ------
    LabError
        If there is no image, or they are of several series.
    """

    def __init__(self, images: Sequence[Dataset]) -> None:
        if not images:
            raise LabError("There is no image to show.", "Did the exam reach the PACS?")
        ordered = in_order(images)
        if (
            len({(image.Rows, image.Columns, image.get("SeriesInstanceUID")) for image in ordered})
            > 1
        ):
            raise LabError("These images are of several series.", "Show one series at a time.")
        known = windows(ordered[0])
        center, width = next(iter(known.values()))
        stack = np.stack([np.rint(values_of(image)) for image in ordered])
        self.canvas = SeriesCanvas(
            pixels=np.clip(stack, -32768, 32767).astype("<i2").tobytes(),
            rows=stack.shape[1],
            columns=stack.shape[2],
            places=[where(image) for image in ordered],
            title=str(ordered[0].get("StudyDescription", "")),
            range=[float(stack.min()), float(stack.max())],
            index=len(ordered) // 2,
            center=center,
            width=width,
        )
        self.preset = ipywidgets.Dropdown(
            options=[(name.capitalize(), window) for name, window in known.items()],
            description="Window",
        )
        self.preset.observe(self._apply_preset, names="value")
        super().__init__([self.preset, self.canvas])

    def _apply_preset(self, change: dict[str, tuple[float, float]]) -> None:
        self.canvas.center, self.canvas.width = change["new"]
