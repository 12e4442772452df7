"""Which kinds of object labsim can make, as its source says: so that no new one slips by."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import highdicom
import pydicom.uid
from highdicom.base import SOPClass
from pydicom.uid import UID

import labsim
from labsim import sop_classes

ROOT = Path(labsim.__file__).parent
SETS = ("SOPClassUID", "MediaStorageSOPClassUID")
# These set the class that they are told, or that was there before.
PASS_ON = {"imaging/common.py", "deid/deidentifier.py"}


def made_by_labsim() -> set[UID]:
    """Return the SOP classes of which labsim makes instances.

    A module makes some if it calls one of highdicom's classes of objects or `new_image` of the
    scanners, if it says of a data set which class it has, or if it writes a file-set.
    """
    found: set[UID] = set()
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found.update(_by_highdicom(tree), _by_scanners(tree), _by_hand(tree, path))
    return found - {sop_classes.MPPS}  # which is no file


def _by_highdicom(tree: ast.Module) -> Iterator[UID]:
    known = {kind.__name__ for kind in _subclasses(SOPClass)}
    for name in _called(tree) & known:
        yield getattr(pydicom.uid, f"{name}Storage")


def _by_scanners(tree: ast.Module) -> Iterator[UID]:
    called = _called(tree)
    if "FileSet" in called:
        yield pydicom.uid.MediaStorageDirectoryStorage
    if "new_image" not in called:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pydicom.uid":
            for alias in node.names:
                if "Storage" in alias.name:
                    yield getattr(pydicom.uid, alias.name)


def _by_hand(tree: ast.Module, path: Path) -> Iterator[UID]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        if any(isinstance(to, ast.Attribute) and to.attr in SETS for to in node.targets):
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            if hasattr(sop_classes, name):
                yield getattr(sop_classes, name)
            else:
                where = path.relative_to(ROOT).as_posix()
                assert where in PASS_ON, f"{where}:{node.lineno}: of which class is this object?"


def _called(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls
    }


def _subclasses(kind: type) -> Iterator[type]:
    assert highdicom.sr.Comprehensive3DSR  # its packages come with it
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
