"""How a replica comes in: what is missing, file by file, and the index last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from labsim.errors import LabError
from labsim.systems.pacs import backup
from labsim.wire.http import Handler, HttpError, HttpNode

if TYPE_CHECKING:
    from labsim.systems.standby import Standby


class _FromThePacs(Handler):
    """Lets the PACS in, and nobody else."""

    def initialize(self, node: HttpNode, **rest: Any) -> None:
        super().initialize(node)
        self.standby: Standby = rest["standby"]

    def prepare(self) -> None:
        super().prepare()
        if self.caller != "pacs":
            raise HttpError(403, f"{self.caller} may not replicate.", "Only the PACS may.")


class MissingHandler(_FromThePacs):
    """Says which files are not here yet."""

    async def post(self) -> None:
        """Take a JSON list of SHA-256 digests and return those without a file."""
        wanted = _json(self.request.body)
        if not isinstance(wanted, list):
            raise HttpError(400, "A list of digests is wanted.")
        self.write(json.dumps(await self.in_thread(backup.missing, self.standby.replica, wanted)))


class FileHandler(_FromThePacs):
    """Takes one file in."""

    async def put(self, digest: str) -> None:
        """Keep a file, if it is what its name says."""
        try:
            await self.in_thread(backup.take_file, self.standby.replica, digest, self.request.body)
        except LabError as error:
            raise HttpError(400, error.what, error.next_step) from error
        except OSError as error:
            raise HttpError(507, f"The file cannot be kept: {error.strerror}.") from error
        self.set_status(201)


class SnapshotHandler(_FromThePacs):
    """Takes the index in, after its files."""

    async def put(self) -> None:
        """Keep a snapshot, if every file that it names is here."""
        length = int(self.request.headers.get("X-Manifest-Length", "0"))
        manifest = _json(self.request.body[:length])
        index = self.request.body[length:]
        try:
            number = await self.in_thread(
                backup.take_snapshot, self.standby.replica, manifest, index
            )
        except LabError as error:
            raise HttpError(409, error.what, error.next_step) from error
        except OSError as error:
            raise HttpError(507, f"The index cannot be kept: {error.strerror}.") from error
        await self.in_thread(
            self.standby.taken, number, manifest["taken_at"], len(manifest["files"])
        )
        self.set_status(201)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise HttpError(400, "The request is no JSON.") from error
