"""Discs: DICOM files on a medium that is carried from one hospital to another.

The media storage side of DICOM (PS3.10, PS3.11, the DICOMDIR of PS3.3 annex F)
and the layout of IHE Portable Data for Imaging (PDI, RAD-47).
"""

from labsim.media.creator import Disc, write_disc
from labsim.media.outside import outside_disc
from labsim.media.reading import Content, Limits, opened, read_disc

__all__ = ["Content", "Disc", "Limits", "opened", "outside_disc", "read_disc", "write_disc"]
