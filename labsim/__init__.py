"""labsim: a hospital you are allowed to break."""

from __future__ import annotations

from labsim.errors import LabError
from labsim.hospital import Hospital

__all__ = ["Hospital", "LabError", "__version__"]
__version__ = "0.1.0"
