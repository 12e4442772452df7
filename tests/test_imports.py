"""Who may import whom: the rooms of the house, enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labsim

ROOT = Path(labsim.__file__).parent
FACTS = {"clock", "database", "errors", "ids", "ihe", "inflating", "journal", "sop_classes"}
FACTS |= {"table", "transcript"}
# What else lies directly in labsim; the name without a room is labsim/__init__.py.
_ROOMS = dict.fromkeys(
    (
        "alerts",
        "building",
        "capture",
        "day",
        "department",
        "exam",
        "hospital",
        "recoverable",
        "recovery",
        "state_folder",
        "tools",
        "web_tools",
    ),
    "house",
)
_ROOMS |= {"channels": "site", "outside": "house", "web_tools": "house"}
_ROOMS |= {"": "front door", "__main__": "command line"}
# The rooms, and below each the rooms that it may look into, beside itself.
_SYSTEMS = {"facts", "site", "wire", "imaging", "media", "deid"}
_HOUSE = {*_SYSTEMS, "systems", "hosts"}
_FAULTS = {*_HOUSE, "house"}
_LEARNING = {*_FAULTS, "faults"}
_TOP = {*_LEARNING, "learning"}
MAY_SEE: dict[str, set[str]] = {
    "facts": set(),
    "site": {"facts"},
    "sites": set(),
    "wire": {"facts"},
    "imaging": {"facts"},
    "media": {"facts", "imaging"},
    "deid": {"facts", "imaging", "media"},
    "systems": _SYSTEMS,
    "hosts": {"facts", "site", "wire", "systems"},
    "house": _HOUSE,
    "faults": _FAULTS,
    "learning": _LEARNING,
    "front door": _TOP,
    "widgets": {*_TOP, "front door"},
    "command line": {*_TOP, "front door"},
}


def room_of(module: str) -> str:
    """Return the room of a module below labsim, such as ``wire.hl7``."""
    first = module.partition(".")[0]
    if first in FACTS:
        return "facts"
    return _ROOMS.get(first, first)


def imports_of(module: str, source: str) -> list[str]:
    """Return the modules below labsim that a module's source imports, wherever in it."""
    package = module.split(".")[:-1]
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = ["labsim", *package][: len(package) + 2 - node.level] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            # What is imported may be a module of a package, or a name in a module.
            names = [f"{base}.{alias.name}" for alias in node.names]
            found += [name if is_module(name) else base for name in names]
    inside = [name for name in found if name.split(".")[0] == "labsim"]
    return [name.removeprefix("labsim").removeprefix(".") for name in inside]


def is_module(name: str) -> bool:
    path = ROOT.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def wrong_imports(module: str, source: str) -> list[str]:
    own = room_of(module)
    seen = {(name, room_of(name)) for name in imports_of(module, source)}
    return sorted(name for name, room in seen if room != own and not may_see(module, own, room))


def may_see(module: str, own: str, room: str) -> bool:
    # Lessons show things; nothing else but a notebook needs a screen.
    if room == "widgets" and module.startswith("learning.lessons"):
        return True
    return room in MAY_SEE[own]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_rooms_it_may_see(module: str) -> None:
    path = modules()[module]
    name = f"{module}.__init__" if path.name == "__init__.py" else module
    assert room_of(name) in MAY_SEE, f"{module} stands in no room: add it to this test"
    assert wrong_imports(name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "line", "wrong"),
    [
        ("journal", "from labsim.wire.hl7 import Message", ["wire.hl7"]),
        ("journal", "import labsim.wire.hl7", ["wire.hl7"]),
        ("journal", "from labsim.wire import hl7", ["wire.hl7"]),
        ("journal", "from .wire import hl7", ["wire.hl7"]),
        ("journal", "def late():\n    from labsim.site import Site", ["site"]),
        ("wire.hl7", "from ..systems.his import His", ["systems.his"]),
        ("wire.hl7", "from . import mllp\nfrom ..errors import LabError", []),
        ("imaging.ct", "from labsim.wire import network", ["wire.network"]),
        ("systems.pacs.query", "from labsim.faults import UnknownAeTitle", ["faults"]),
        ("systems.his", "from labsim import widgets", ["widgets"]),
        ("systems.his", "from labsim import Hospital", [""]),
        ("", "from labsim.widgets import feed", ["widgets"]),
        ("__main__", "import labsim\nfrom labsim.learning import check", []),
        ("hospital", "from labsim.faults import UnknownAeTitle", ["faults"]),
        ("learning.lessons.first", "from labsim.widgets import feed", []),
        ("learning.check", "from labsim.widgets import feed", ["widgets"]),
        ("hospital", "import numpy\nfrom labsim.systems.ris import Ris", []),
    ],
)
def test_a_wrong_import_is_found_however_it_is_written(
    module: str, line: str, wrong: list[str]
) -> None:
    assert wrong_imports(module, line) == wrong


def test_all_modules_are_looked_at() -> None:
    found = modules()
    assert {"", "journal", "wire.dimse", "systems.pacs", "systems.pacs.query"} <= set(found)


def test_importing_the_lab_loads_nothing_that_draws() -> None:
    heavy = ["matplotlib", "ipywidgets", "IPython", "anywidget", "highdicom"]
    code = f"import sys, labsim; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, timeout=60
    )
    assert (shown.stdout.strip(), shown.stderr) == ("[]", "")
