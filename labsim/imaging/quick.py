"""Quick protocols: what a scanner takes while it is tried out, at a fraction of the cost.

The same views with the same field of view as the protocol they come from, on
a coarse matrix, in few slices or frames. The images are as valid as the full
ones, and say what they are in rows, columns, spacing and slice thickness.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from labsim.imaging.common import Protocol
from labsim.imaging.cr import CrProtocol
from labsim.imaging.ct import CtProtocol
from labsim.imaging.dx import DxProtocol
from labsim.imaging.mg import MgProtocol
from labsim.imaging.mr import MrProtocol
from labsim.imaging.radiograph import View
from labsim.imaging.us import UsProtocol

COARSER = 4  # pixels of the full matrix, each way, to one of the quick one
SLICES = 3
FRAMES = 2


@singledispatch
def quick(protocol: Protocol) -> Protocol:
    """Return the quick form of a protocol.

    Parameters
    ----------
    protocol : Protocol
        Of any scanner of `labsim.imaging.scanners`.
    """
    raise TypeError(f"no quick form of {type(protocol).__name__}")


@quick.register
def _(protocol: CtProtocol) -> Protocol:
    size = protocol.size // COARSER
    if protocol.localizer:  # its images are views, each of which is needed
        return replace(protocol, size=size, thickness=protocol.thickness * COARSER)
    slices = min(protocol.slices, SLICES)
    thickness = protocol.thickness * protocol.slices / slices
    return replace(protocol, size=size, slices=slices, thickness=thickness)


@quick.register
def _(protocol: MrProtocol) -> Protocol:
    slices = min(protocol.slices, SLICES)
    distance = protocol.distance * protocol.slices / slices
    return replace(protocol, size=protocol.size // COARSER, slices=slices, distance=distance)


@quick.register
def _(protocol: DxProtocol) -> Protocol:
    return replace(protocol, views=tuple(map(_coarse, protocol.views)))


@quick.register
def _(protocol: CrProtocol) -> Protocol:
    return replace(protocol, view=_coarse(protocol.view))


@quick.register
def _(protocol: MgProtocol) -> Protocol:
    rows, columns = protocol.size
    size = (rows // COARSER, columns // COARSER)
    return replace(protocol, size=size, spacing=protocol.spacing * COARSER)


@quick.register
def _(protocol: UsProtocol) -> Protocol:
    # The screen keeps its size, because patient and settings are written into it.
    return replace(protocol, frames=min(protocol.frames, FRAMES))


def _coarse(view: View) -> View:
    rows, columns = view.size
    return replace(view, size=(rows // COARSER, columns // COARSER), spacing=view.spacing * COARSER)
