"""DCMTK, an independent toolkit, run as a peer of tests: its programs call and listen."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from labsim import Hospital

_FOLDER = Path("/usr/bin")  # a virtual environment has commands of the same names
_UP_WITHIN = 30.0  # seconds
_TIMEOUT = 120.0
# Without TCP_NODELAY each image waits 40 ms.
_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def program(name: str) -> str:
    """Find one of the programs; without it a test is skipped, and fails where CI must have it."""
    path = _FOLDER / name
    if not path.is_file():
        hint = f"{name} is not there; on Debian: apt-get install dcmtk"
        if os.environ.get("CI") == "true":
            pytest.fail(hint)
        pytest.skip(hint)
    return str(path)


def run(name: str, *arguments: str | Path, good: bool = True) -> str:
    """Run a program to its end, and return what it said.

    Parameters
    ----------
    name, *arguments
        As at a command line.
    good : bool
        Whether it has to succeed; else it has to fail.
    """
    code, said = outcome(name, *arguments)
    assert (code == 0) is good, f"{name} ended with {code}: {said}"
    return said


def outcome(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a program to its end, and return its exit status and what it said."""
    done = subprocess.run(
        [program(name), *map(str, arguments)],
        capture_output=True,
        env=_ENVIRONMENT,
        timeout=_TIMEOUT,
        check=False,
    )
    # Names are in many character sets.
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def called(
    hospital: Hospital, system: str, *, calling: str = "TOOLS", tls: bool = False
) -> list[str]:
    """Return the arguments that lead to a system: titles, host and port."""
    protocols = ("dicom-tls", "mwl-tls") if tls else ("dicom", "mwl")
    place = next(e for e in hospital.endpoints() if e.system == system and e.protocol in protocols)
    host, port = place.local.host, str(place.local.port)
    return ["-aet", calling, "-aec", place.title, host, port]


def keys(level: str = "", **values: str) -> list[str]:
    """Return keys of a query or retrieval; those without value are asked for."""
    chosen = {"QueryRetrieveLevel": level} if level else {}
    pairs = {**chosen, **values}.items()
    return [part for name, value in pairs for part in ("-k", f"{name}={value}")]


def values(said: str, keyword: str) -> list[str]:
    """Return the values of an attribute in the answers that findscu prints.

    Its request is not printed without ``-v``.
    """
    return re.findall(rf"\[(.*?) *\0?\].* {keyword}$", said, re.MULTILINE)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def listening(
    name: str, folder: Path, *arguments: str | Path, port: int, at_end: bool = True
) -> Iterator[Path]:
    """Run a program that listens, until the block ends.

    Parameters
    ----------
    name : str
        Which.
    folder : Path
        Where it runs; its log is kept there as ``NAME.log``.
    *arguments
        Without the port.
    port : int
        Where it listens.
    at_end : bool
        Whether the port is its last argument; else its configuration names it.

    Yields
    ------
    Path
        Its log.
    """
    log = folder / f"{name}.log"
    command = [program(name), *map(str, arguments), *([str(port)] if at_end else [])]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env=_ENVIRONMENT) as process,
    ):
        try:
            _wait_until_up(process, port, log)
            yield log
        finally:
            process.terminate()


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _UP_WITHIN
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:  # it says to nobody when it is up, so it is called
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{command_of(process)} did not start: {log.read_text()[-2000:]}")


def command_of(process: subprocess.Popen[bytes]) -> str:
    return " ".join(map(str, process.args)) if isinstance(process.args, list) else ""


def files(folder: Path) -> list[Path]:
    """Return what was received into a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix != ".log")


def known(hospital: Hospital, title: str, port: int, **how: bool | str) -> Mapping[str, object]:
    """Register a program that listens at the PACS, and return where it is."""
    hospital.pacs.register_ae(title, host="127.0.0.1", port=port, **how)  # type: ignore[arg-type]
    return {"ae_title": title, "host": "127.0.0.1", "port": port}
