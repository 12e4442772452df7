"""Thin views of the hospital for notebooks."""

from labsim.widgets.hospital_map import hospital_map
from labsim.widgets.picture import Picture
from labsim.widgets.slices import show_slices
from labsim.widgets.viewer import SeriesViewer

__all__ = ["Picture", "SeriesViewer", "hospital_map", "show_slices"]
