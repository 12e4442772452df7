"""The folder that keeps a hospital's state: made, taken by one process, removed when abandoned."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from labsim.errors import ConfigurationError, HospitalInUse

_ABANDONED_AFTER = 60.0  # seconds; one that is just being made is younger


def make_folder(path: Path) -> None:
    """Make a folder, and see that it can be written.

    Raises
    ------
    ConfigurationError
        If it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # SQLite would not say why it cannot write
            pass
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be the folder of a hospital: {error.strerror}.", "Choose another one."
        ) from error


def temporary_folder(opened: ExitStack) -> Path:
    """Make a folder that goes when the hospital stops, and remove those of killed ones."""
    for old in Path(tempfile.gettempdir()).glob("labsim-*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > _ABANDONED_AFTER:
                _remove_abandoned(old)
    folder = tempfile.TemporaryDirectory(prefix="labsim-")
    opened.callback(folder.cleanup)
    return Path(folder.name)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder whose hospital was killed; leave it if it still runs."""
    if not (folder / "hospital.sqlite").is_file():
        return
    lock = sqlite3.connect(folder / "hospital.sqlite", timeout=0)
    try:
        lock.execute("BEGIN EXCLUSIVE")  # fails while another process holds it
    except sqlite3.Error:
        return
    finally:
        lock.close()
    shutil.rmtree(folder, ignore_errors=True)


def take(path: Path, site: str, seed: int | None) -> tuple[sqlite3.Connection, int]:
    """Take a state folder for this process and read what it was made with.

    SQLite's lock on the file ends with the process, however it ends.

    Parameters
    ----------
    path : Path
        The folder.
    site : str
        Name of the site.
    seed : int or None
        The seed that is wanted; None for whatever it was made with.

    Returns
    -------
    connection, int
        What holds the folder until it is closed, and the seed.

    Raises
    ------
    HospitalInUse
        If another process holds it.
    ConfigurationError
        If it is another site's or seed's, or cannot be used.
    """
    lock = sqlite3.connect(path / "hospital.sqlite", timeout=0.1, check_same_thread=False)
    try:
        lock.execute("PRAGMA locking_mode = EXCLUSIVE")
        lock.execute("CREATE TABLE IF NOT EXISTS hospital (site TEXT, seed INTEGER)")
        lock.execute("BEGIN EXCLUSIVE")
        made = lock.execute("SELECT site, seed FROM hospital").fetchone()
        if made is None:
            made = (site, 1 if seed is None else seed)
            lock.execute("INSERT INTO hospital VALUES (?, ?)", made)
        lock.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        lock.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise HospitalInUse(
                f"Another running hospital keeps its state in {path}.",
                "Stop it, or choose another folder.",
            ) from error
        raise ConfigurationError(
            f"{path / 'hospital.sqlite'} cannot be used: {error}.", "Choose another folder."
        ) from error
    if made[0] != site or seed not in (None, made[1]):
        lock.close()
        raise ConfigurationError(
            f"{path} holds a hospital of site {made[0]!r} with seed {made[1]}.",
            "Leave site and seed as they were, or choose another folder.",
        )
    return lock, int(made[1])
