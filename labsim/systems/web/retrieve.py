"""What all retrievals over the web have in common (PS3.18 10.4; IHE RAD-107).

IHE actor: Image Manager. What is given is what C-MOVE would send: under the
patient as corrected, and nothing that is rejected or held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tornado.iostream import StreamClosedError

from labsim.errors import LabError
from labsim.ids import is_uid
from labsim.systems.audit.message import DESTINATION
from labsim.systems.pacs.index import Instance
from labsim.systems.pacs.transcoding import CannotTranscode
from labsim.systems.web.handler import WebHandler
from labsim.systems.web.holdings import Holdings
from labsim.systems.web.media_types import MediaRange, acceptable
from labsim.systems.web.multipart_writing import MultipartWriter, Part
from labsim.wire.http import HttpError

_LEVELS = ("study", "series", "instance")


class Retrieve(WebHandler):
    """Gives out what a store holds."""

    def initialize(self, holdings: Holdings, **rest: Any) -> None:  # type: ignore[override]
        """Take what the route says."""
        super().initialize(**rest)
        self.holdings = holdings

    async def wanted(self, *uids: str) -> list[Instance]:
        """Return what a path names: a study, a series of it, or an instance of that."""
        self.transaction = "RAD-107"
        self._instances: list[Instance] = []
        for uid in uids:
            if not is_uid(uid):
                raise HttpError(400, f"{uid[:64]!r} is not a UID.")
        self.keys["study_uid"] = uids[0]
        found = await self.in_thread(self.holdings.find, uids)
        if not found:
            raise HttpError(404, f"There is no such {_LEVELS[len(uids) - 1]} here.")
        self.keys["accession"] = await self.in_thread(self.holdings.accession, uids[0])
        self._instances = found
        return found

    async def within_reach(self, found: Sequence[Instance]) -> list[Instance]:
        """Bring the files of instances near; 206 if some are not there any more."""
        near = await self.in_thread(self.holdings.fetch, list(found))
        there = await self.in_thread(self.holdings.there, near)
        self.require(near, there)
        return there

    def require(self, found: Sequence[Instance], there: list[Instance]) -> None:
        """Say that an answer is partial if some files are not there any more (206)."""
        if not there:
            raise HttpError(500, "The files of what you ask for cannot be read.")
        if missing := len(found) - len(there):
            self.set_status(206)
            only = f"{missing} of {len(found)} instances cannot be read"
            self.set_header("Warning", f'299 {self.request.host}: "{only}"')
        self._instances = there

    def accepted(self) -> list[MediaRange]:
        """Return what the caller takes, the best first."""
        header = self.request.headers.get("Accept", "")
        return acceptable(header, self.get_query_argument("accept", ""))

    def not_acceptable(self, offered: str) -> HttpError:
        """Return the error that says what there is instead of what was asked for."""
        asked = self.get_query_argument("accept", "") or self.request.headers.get("Accept", "")
        return HttpError(406, f"This is not given as {asked[:200]}.", f"Accept {offered}.")

    def address(self, instance: Instance, *more: str) -> str:
        """Return the address of an instance, or of something below it."""
        series = f"studies/{instance.study_uid}/series/{instance.series_uid}"
        return self.url(series, "instances", instance.sop_uid, *more)

    async def answer(self, part: Part) -> None:
        """Answer with one thing alone."""
        await self._tell()
        self.set_header("Content-Type", part.kind)
        if part.location:
            self.set_header("Content-Location", part.location)
        self.finish(part.data)

    async def stream(
        self, kind: str, parts: Iterator[Part], writer: MultipartWriter | None = None
    ) -> None:
        """Answer part by part, each made when the one before has gone.

        What goes wrong before the first part has the status that it deserves.
        Later the connection is cut, so that nobody takes a half for the whole.
        """
        writer = writer or MultipartWriter(kind)
        self.set_header("Content-Type", writer.content_type)
        await self.send_on(map(writer.part, parts), writer.end())

    async def send_on(self, pieces: Iterator[bytes], end: bytes) -> None:
        """Send pieces as they come, and then an end."""
        try:
            while (piece := await self.in_thread(next, pieces, None)) is not None:
                self.write(piece)
                await self.flush()
        except Exception as error:  # whatever it is, half an answer must not look like a whole
            gone = isinstance(error, StreamClosedError)
            self.problem = "the caller hung up" if gone else str(error)
            await self._tell()
            if not self._headers_written:
                raise _as_answer(error) from error
            self.detach().close()
            self.on_finish()
            return
        await self._tell()
        self.finish(end)

    async def made(self, make: Callable[[], Part]) -> Part:
        """Make something; what cannot be decoded is not acceptable as it was asked for."""
        try:
            return await self.in_thread(make)
        except LabError as error:
            raise _as_answer(error) from error

    async def _tell(self) -> None:
        uids = [instance.sop_uid for instance in self._instances]
        caller = replace(self.source(), role=DESTINATION)
        await self.in_thread(self.holdings.taken, caller, uids, self.problem)


def _as_answer(error: Exception) -> Exception:
    if isinstance(error, HttpError) or not isinstance(error, LabError):
        return error
    return HttpError(406 if isinstance(error, CannotTranscode) else 500, error.what)
