from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from labsim.systems.pacs.files import FileStore

UIDS = ("1.2.1", "1.2.2", "1.2.3")


def keep(store: FileStore, data: bytes, uids: tuple[str, ...] = UIDS) -> str:
    names: list[str] = []

    def commit(name: str, move: Callable[[], None]) -> None:
        names.append(name)
        move()

    store.keep(data, uids, commit)
    return names[0]


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_where_its_name_says(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    name = keep(store, b"image")
    assert store.path(name).read_bytes() == b"image"
    assert store.names() == {name}
    assert all_files(tmp_path) == [store.path(name)]


def test_the_same_instance_has_the_same_place(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert keep(store, b"old") == keep(store, b"new")
    assert [path.read_bytes() for path in all_files(tmp_path)] == [b"new"]


def test_studies_and_series_have_folders_of_their_own(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    places = [("1.1", "1.2", "1.3"), ("1.1", "1.9", "1.3"), ("1.8", "1.2", "1.3")]
    assert len({keep(store, b"x", uids) for uids in places}) == 3


def test_a_long_uid_has_a_short_place(tmp_path: Path) -> None:
    name = keep(FileStore(tmp_path), b"x", ("1" * 64,) * 3)
    assert len(name) <= 2 * 13 + 64 + 4  # 260 characters are all that Windows allows


def test_a_file_is_in_place_only_after_it_was_moved(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    seen: list[bool] = []

    def commit(name: str, move: Callable[[], None]) -> None:
        seen.append(store.path(name).exists())
        move()
        seen.append(store.path(name).exists())

    store.keep(b"image", UIDS, commit)
    assert seen == [False, True]


def test_what_is_not_committed_is_not_kept(tmp_path: Path) -> None:
    store = FileStore(tmp_path)

    def commit(name: str, move: Callable[[], None]) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(OSError, match="Read-only"):
        store.keep(b"image", UIDS, commit)
    assert all_files(tmp_path) == []


def test_half_a_file_is_removed_at_the_next_start(tmp_path: Path) -> None:
    FileStore(tmp_path)
    half = tmp_path / "incoming" / "1.2.3.0badc0de"
    half.write_bytes(b"ima")
    FileStore(tmp_path)
    assert not half.exists()
