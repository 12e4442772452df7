"""Hospitals that are killed: started, spoken with, killed, started again and looked at."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from labsim import Hospital

ROOT = Path(__file__).parents[2]
_PROGRAM = Path(__file__).with_name("hospital_to_kill.py")


class Died(Exception):
    """The process has ended before it answered."""


class Victim:
    """One process with a hospital in it.

    It is warm at first: all is imported, and nothing has begun.
    """

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-W", "error", str(_PROGRAM)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._places: dict[tuple[str, str], tuple[str, int]] = {}
        self.errors = ""

    def start(self, path: Path, *, site: str = "clinic", **options: Any) -> None:
        """Start a hospital on a folder, and learn where its systems listen."""
        told = self.ask(f"start({str(path)!r}, site={site!r}, **{options!r})")
        self._places = {
            (place["name"], place["protocol"]): (place["host"], place["port"])
            for place in told["systems"]
        }

    def place(self, system: str, protocol: str) -> tuple[str, int]:
        """Return host and port of a system."""
        return self._places[system, protocol]

    def tell(self, code: str) -> None:
        """Let it do something, without waiting for the answer."""
        assert self._program.stdin is not None
        try:
            self._program.stdin.write(json.dumps(code) + "\n")
            self._program.stdin.flush()
        except OSError as error:
            raise Died(code) from error

    def answer(self) -> Any:
        """Wait for the answer to what it was told."""
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            self.kill()
            raise Died(self.errors)
        return json.loads(line)

    def ask(self, code: str) -> Any:
        """Let it do something, and wait for the answer."""
        self.tell(code)
        return self.answer()

    def kill(self) -> None:
        """Kill it (SIGKILL), and wait until it is gone."""
        self._program.kill()
        if self._program.stdout is not None and not self._program.stdout.closed:
            self.errors += self._program.communicate(timeout=60)[1]

    def wait(self) -> None:
        """Wait until it has died of itself."""
        self._program.wait(60)
        self.kill()


class Victims:
    """Victims one after the other; the next one is imported while one lives."""

    def __init__(self) -> None:
        self._all: list[Victim] = []
        self._next: Victim | None = None

    def __call__(self, path: Path, *, site: str = "clinic", **options: Any) -> Victim:
        """Start a hospital on a folder, in the next process."""
        victim = self.warm()
        victim.start(path, site=site, **options)
        return victim

    def warm(self) -> Victim:
        """Return the next process, in which nothing has begun."""
        victim = self._next or self._new()
        self._next = self._new()
        return victim

    def _new(self) -> Victim:
        self._all.append(Victim())
        return self._all[-1]

    def end(self) -> None:
        """Kill all that are left; none may have complained of anything."""
        for victim in self._all:
            victim.kill()
        assert [victim.errors for victim in self._all if victim.errors] == []


def place_of(target: Victim | Hospital, system: str, protocol: str) -> tuple[str, int]:
    """Return host and port of a system, in another process or in this one."""
    if isinstance(target, Victim):
        return target.place(system, protocol)
    found = (e.local for e in target.endpoints() if (e.system, e.protocol) == (system, protocol))
    place = next(found)
    return place.host, place.port


def require_whole(hospital: Hospital) -> bool:
    """Look at a hospital that was killed before: index and files agree, nothing is left half."""
    for name in ("pacs", "archive"):
        system: Any = hospital.systems.get(name)
        if system is None:
            continue
        assert list(system.consistency(deep=True)) == []
        assert list((system.folder / "incoming").iterdir()) == []
        uids = [row[0] for row in system.db.rows("SELECT sop_uid FROM instances")]
        assert len(uids) == len(set(uids))
    for system in hospital.systems.values():
        assert system.db.value("PRAGMA integrity_check") == "ok"
    numbers = [event.seq for event in hospital.journal.all()]
    assert numbers == list(range(1, len(numbers) + 1))
    return True


def die_in_between(
    victims: Victims,
    template: Path,
    work: Callable[[Victim], object],
    *,
    times: int = 8,
    starting: bool = False,
    site: str = "clinic",
) -> Iterator[Path]:
    """Do a piece of work with copies of a hospital that die in the middle of it.

    Each dies just before another of the steps that change what is on disk; the steps are counted
    first, by one that does not die in between. `starting` says whether those of its start count.

    Yields the folder that each has left.
    """
    chosen: list[int | None] = [None]
    for step in chosen:  # it grows after the first
        folder = template.with_name(f"{template.name}-step-{step}")
        shutil.copytree(template, folder)
        victim = victims.warm()
        with suppress(Died):
            if starting:
                victim.ask(f"die_at({step})")
            victim.start(folder, site=site)
            if not starting:
                victim.ask(f"die_at({step})")
            work(victim)
            if step is None:
                steps = int(victim.ask("die_at(None)"))
                chance = random.Random(steps)
                chosen += [0, *sorted(chance.sample(range(1, steps), min(steps - 1, times)))]
        victim.kill()
        yield folder
        shutil.rmtree(folder)
