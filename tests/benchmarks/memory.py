"""The memory of a running hospital, over that of a kernel that has done nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from row import Row

_KERNEL = "import ipykernel.ipkernel, psutil; print(psutil.Process().memory_info().rss)"
_HOSPITAL = """
import ipykernel.ipkernel, psutil
from labsim import Hospital
with Hospital(site={site!r}) as hospital:
    hospital.exam()
    print(psutil.Process().memory_info().rss)
"""


def run(folder: Path) -> list[Row]:
    """Return the resident memory after one exam, in megabytes."""
    kernel = _resident(_KERNEL)
    return [
        Row(f"memory of {site} after an exam", _resident(code), "MB", kernel, "a bare kernel")
        for site in ("clinic", "university")
        for code in [_HOSPITAL.format(site=site)]
    ]


def _resident(code: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    return int(done.stdout.split()[-1]) / 1e6
