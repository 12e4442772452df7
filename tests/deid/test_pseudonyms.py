"""The key of a project: the same original, the same replacement, and a way back or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labsim.deid.pseudonyms import Pseudonyms
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import is_uid


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Pseudonyms]:
    pseudonyms = Pseudonyms(tmp_path / "project.db")
    yield pseudonyms
    pseudonyms.close()


def test_the_same_secret_makes_the_same_replacements() -> None:
    one, other, third = (Pseudonyms(secret=secret) for secret in ("a", "a", "b"))
    assert one.patient("P1", "HILL") == other.patient("P1", "HILL") != third.patient("P1", "HILL")
    assert one.uid("1.2.3") == other.uid("1.2.3") != third.uid("1.2.3")
    assert one.days("P1") == other.days("P1") != third.days("P1")


def test_patients_uids_and_shifts_differ(kept: Pseudonyms) -> None:
    assert len({kept.patient("P1"), kept.patient("P2"), kept.patient("P1", "HILL")}) == 3
    assert len({kept.days(f"P{n}") for n in range(20)}) > 15
    assert all(-1825 <= kept.days(f"P{n}") < 0 for n in range(20))
    new = kept.uid("1.2.840.1")
    assert new.startswith("2.25.")
    assert is_uid(new)
    assert new != kept.uid("1.2.840.2")


def test_a_file_keeps_secret_and_list_over_runs(tmp_path: Path) -> None:
    first = Pseudonyms(tmp_path / "project.db")
    pseudonym = first.patient("P1", "HILL")
    first.close()
    second = Pseudonyms(tmp_path / "project.db")
    assert second.original(pseudonym) == "P1^^^HILL"
    assert second.patient("P1", "HILL") == pseudonym
    second.close()


def test_another_secret_for_the_same_file_is_refused(tmp_path: Path) -> None:
    Pseudonyms(tmp_path / "project.db", secret="a").close()
    with pytest.raises(ConfigurationError, match="another secret"):
        Pseudonyms(tmp_path / "project.db", secret="b")


def test_what_is_thrown_away_is_gone_from_the_disk_too(tmp_path: Path) -> None:
    pseudonyms = Pseudonyms(tmp_path / "project.db")
    pseudonym = pseudonyms.patient("SECRET-NUMBER-4711")
    assert b"SECRET-NUMBER-4711" in read(tmp_path)
    pseudonyms.forget()
    assert len(pseudonyms.table()) == 0
    with pytest.raises(NotFound, match=pseudonym):
        pseudonyms.original(pseudonym)
    assert pseudonyms.patient("SECRET-NUMBER-4712") != pseudonym
    pseudonyms.forget()
    pseudonyms.close()
    assert b"SECRET-NUMBER" not in read(tmp_path)


def read(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
