"""The PACS sends itself to the standby: new files, then the index, again and again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from labsim.errors import LabError, NotFound, Unreachable
from labsim.journal import Event
from labsim.site import StandbySite
from labsim.systems.facility import System
from labsim.systems.pacs import backup
from labsim.systems.pacs.files import FileStore
from labsim.table import Table
from labsim.wire.http_client import HttpClient
from labsim.wire.network import Address

EVERY = timedelta(minutes=1)


class Replication:
    """Keeps the standby's replica up to date, a little behind.

    Like the backups by the clock it looks at the time whenever something
    happens, and sends in the background: nobody who stores an image waits for
    the standby. What is stored after the last replica is lost in a failover.

    Parameters
    ----------
    system : System
        The PACS.
    files : FileStore
        Its files.
    standby : StandbySite, optional
        Where the replica is kept; without one nothing is sent.
    host : str
        The host that the PACS itself runs on.

    Attributes
    ----------
    every : timedelta
        Hospital time from one replica to the next.
    refused : callable
        Is told why TLS was not agreed on with the standby.
    """

    def __init__(
        self, system: System, files: FileStore, standby: StandbySite | None, host: str
    ) -> None:
        facility = system.facility
        self.every = EVERY
        self._system = system
        self._files = files
        # After a failover it runs where the replica was.
        self._to = (
            Address(standby.host, standby.http_port) if standby and standby.host != host else None
        )
        self._client = HttpClient(system.name, facility.journal, facility.network)
        self._client.refused = lambda what: self.refused(what)
        self.refused: Callable[[str], object] = lambda what: None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"{system.name}-replication-worker")
        self._due = datetime.min
        self._taken_at = ""
        self._last_image = 0
        self._problem = ""
        self._end: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to look at the clock."""
        if self._to is not None:
            self._end = self._system.facility.journal.subscribe(self._look)

    def stop(self) -> None:
        """Send no more; what is on its way arrives, or not."""
        if self._end is not None:
            self._end()
            self._end = None
        self._worker.shutdown(cancel_futures=True)

    def run(self) -> None:
        """Send a replica now, and wait for it.

        Raises
        ------
        NotFound
            If there is no standby.
        Unreachable
            If it cannot be reached, or does not take the replica.
        """
        if self._to is None:
            raise NotFound("This PACS has no standby.", 'Hospital(site="university") has one.')
        self._worker.submit(self._send).result()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until what is on its way has arrived; tell whether it came to that."""
        with suppress(RuntimeError):  # it has been stopped
            done, _ = wait([self._worker.submit(int)], timeout)
            return bool(done)
        return True

    def lag(self) -> timedelta | None:
        """Return how far the replica is behind, None if there is none yet."""
        if not self._taken_at:
            return None
        return self._system.facility.clock.now() - datetime.fromisoformat(self._taken_at)

    def waiting(self) -> int:
        """Return how many images the last replica has not."""
        return int(
            self._system.db.value("SELECT COUNT(*) FROM instances WHERE id > ?", self._last_image)
        )

    def table(self) -> Table:
        """Return where the replica is, how far it is behind, and what the last problem was."""
        rows = [
            ("standby", str(self._to or "none")),
            ("every", str(self.every)),
            ("last replica of", self._taken_at or "never"),
            ("lag", str(self.lag() if self._taken_at else "")),
            ("images not in it", self.waiting()),
            ("last problem", self._problem),
        ]
        return Table(("replication", "value"), rows, f"Replication of {self._system.name}")

    def _look(self, event: Event) -> None:
        # The requests of a replica are events too, and no reason for another.
        if event.kind != "http" and self._system.facility.clock.now() >= self._due:
            self._due = self._system.facility.clock.now() + self.every
            with suppress(RuntimeError):  # the system is just stopping
                self._worker.submit(self._send_quietly)

    def _send_quietly(self) -> None:
        try:
            self._send()
        except LabError as error:  # tried again when the next one is due
            self._system.note(f"replication failed: {error.what}", kind="error")

    def _send(self) -> None:
        self._problem = ""
        try:
            with tempfile.TemporaryDirectory(dir=self._system.folder) as folder:
                self._send_index(Path(folder) / "index.sqlite")
        except LabError as error:
            self._problem = error.what
            raise
        except OSError as error:
            self._problem = str(error)
            raise Unreachable(f"The replica could not be made: {error}.") from error

    def _send_index(self, index: Path) -> None:
        taken_at = self._system.now()
        self._system.db.copy_to(index)
        manifest = backup.describe_index(
            index, self._files, self._system.name, self._system.facility.issuer, taken_at
        )
        where = {kept["sha256"]: name for name, kept in manifest["files"].items()}
        for digest in json.loads(self._ask("POST", "missing", json.dumps(list(where)).encode())):
            self._ask("PUT", f"files/{digest}", self._files.path(where[digest]).read_bytes())
        head = json.dumps(manifest).encode()
        self._ask("PUT", "snapshot", head + index.read_bytes(), len(head))
        self._taken_at, self._last_image = taken_at, backup.last_image(index)

    def _ask(self, method: str, what: str, content: bytes, manifest: int = 0) -> str:
        assert self._to is not None
        answer = self._client.request(
            method,
            self._to,
            f"/replica/{what}",
            content=content,
            headers={"X-Manifest-Length": str(manifest)},
        )
        if answer.status_code >= 400:
            raise Unreachable(f"The standby did not take the replica: {answer.text.strip()}")
        return answer.text
