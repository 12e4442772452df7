"""Thin views of the hospital for notebooks."""

from labsim.widgets.console import ScannerConsole, console
from labsim.widgets.day_plots import queues, throughput, waiting_times
from labsim.widgets.hospital_map import hospital_map
from labsim.widgets.picture import Picture
from labsim.widgets.presentations import show_presentation
from labsim.widgets.screens import show_screens
from labsim.widgets.slices import show_slices
from labsim.widgets.viewer import SeriesViewer

__all__ = [
    "Picture",
    "ScannerConsole",
    "SeriesViewer",
    "console",
    "hospital_map",
    "queues",
    "show_presentation",
    "show_screens",
    "show_slices",
    "throughput",
    "waiting_times",
]
