"""UPS-RS, the list of work over the web (PS3.18 chapter 11; IHE RAD-80 to RAD-88).

IHE actor: Task Manager. What a request comes to is decided by `Workitems`; here
its DIMSE status becomes an HTTP status and a Warning header. Subscriptions and
their events are not offered: whoever wants to know asks again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pydicom import config
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from labsim.ids import is_uid
from labsim.systems.web.handler import WebHandler
from labsim.systems.workitems import json_model
from labsim.systems.workitems.attributes import IN_PROGRESS, RETURNED
from labsim.systems.workitems.status import (
    ALREADY_CANCELED,
    ALREADY_CLAIMED,
    ALREADY_COMPLETED,
    COMPLETED_ALREADY,
    CREATED_MODIFIED,
    DUPLICATE,
    NO_LONGER,
    NOBODY_TO_ASK,
    NOT_BACK,
    NOT_CLAIMED,
    NOT_FINAL,
    UNKNOWN,
    WORDS,
    WRONG_TRANSACTION,
    UpsRefused,
)
from labsim.systems.workitems.worklist import Workitems
from labsim.wire.http import HttpError

JSON = "application/dicom+json"
_TAKEN = {JSON, "application/json"}
_ACCEPTED = {*_TAKEN, "application/*", "*/*"}
_INCONSISTENT = "The submitted request is inconsistent with the state of the UPS Instance."
# Of each DIMSE status the HTTP status; all others are 400 (Bad Request).
_STATUS = {
    UNKNOWN: 404,
    **dict.fromkeys(
        (
            *(DUPLICATE, NO_LONGER, ALREADY_CLAIMED, NOT_BACK, NOT_FINAL),
            *(NOT_CLAIMED, COMPLETED_ALREADY, NOBODY_TO_ASK),
        ),
        409,
    ),
}
_P = ParamSpec("_P")
_T = TypeVar("_T")


class WorkitemHandler(WebHandler):
    """What all requests about steps have in common."""

    def initialize(self, steps: Workitems, **rest: Any) -> None:  # type: ignore[override]
        """Take what the route says."""
        super().initialize(**rest)
        self.steps = steps

    def options(self, *path: str) -> None:
        """Answer the preflight of a browser; a change of state is a PUT."""
        super().options(*path)
        self.set_header("Access-Control-Allow-Methods", "GET, POST, PUT, OPTIONS")

    def _let_page_read(self) -> None:
        """Let pages read where a new step is, and what was changed about it, too."""
        super()._let_page_read()
        self.set_header("Access-Control-Expose-Headers", "Location, Warning")

    async def ask(self, work: Callable[_P, _T], *values: _P.args, **named: _P.kwargs) -> _T:
        """Ask the list of work, and answer its refusal as PS3.18 has it."""
        try:
            return await self.in_thread(work, *values, **named)
        except UpsRefused as error:
            status = _STATUS.get(error.status, 400)
            raise HttpError(status, error.what, headers=self._warning_of(error)) from error

    def warn(self, text: str) -> None:
        """Say something about a request that is done."""
        self.set_header("Warning", self._warning(text))

    def payload(self) -> Dataset:
        """Return the data set that the request has."""
        kind = self.request.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if self.request.body and kind not in _TAKEN:
            raise HttpError(415, f"Workitems are taken as {JSON}, not as {kind[:60] or 'nothing'}.")
        try:
            return json_model.read(self.request.body)
        except ValueError as error:
            raise HttpError(400, f"The payload cannot be understood: {error}.") from error

    def require_json(self) -> None:
        """Refuse who does not take JSON."""
        accept = self.request.headers.get("Accept", "") or "*/*"
        kinds = {part.split(";")[0].strip().lower() for part in accept.split(",")}
        if not kinds & _ACCEPTED:
            raise HttpError(406, f"Workitems are given as {JSON}, not as {accept[:100]}.")

    def uid_asked(self, *names: str) -> str:
        """Return the UID in the query: PS3.18 has it bare, others give it a name."""
        for name in names:
            if given := self.get_query_argument(name, ""):
                return given
        return next((name for name in self.request.query_arguments if is_uid(name)), "")

    def answer(self, found: Any) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", JSON)
        self.finish(json.dumps(found))

    def _warning(self, text: str) -> str:
        return f'299 {self.request.host}: "{text}"'

    def _warning_of(self, error: UpsRefused) -> dict[str, str]:
        """Return the Warning header that names the nature of a conflict (PS3.18 11.6.3.2)."""
        texts = {
            WRONG_TRANSACTION: "The Transaction UID is "
            + ("missing." if "missing" in error.what else "incorrect."),
            NOT_CLAIMED: "The target URI did not reference a claimed Workitem.",
        }
        in_conflict = _INCONSISTENT if _STATUS.get(error.status) == 409 else ""
        text = texts.get(error.status, in_conflict)
        return {"Warning": self._warning(text)} if text else {}


class Worklist(WorkitemHandler):
    """All steps: search, and a new one."""

    async def get(self) -> None:
        """Answer with the steps that match; 204 if none does (PS3.18 11.9)."""
        self.transaction = "RAD-81"
        self.require_json()
        keys, first, count = self._keys(), self._whole("offset") or 0, self._whole("limit")
        if self.get_query_argument("fuzzymatching", "") == "true":
            self.warn(
                "The fuzzymatching parameter is not supported. Only literal matching is done."
            )
        last = None if count is None else first + count
        found = (await self.in_thread(lambda: list(self.steps.search(keys))))[first:last]
        if found:
            self.answer([step.to_json_dict() for step in found])
        else:
            self.set_status(204)

    async def post(self) -> None:
        """Schedule a step (PS3.18 11.4)."""
        self.transaction = "RAD-80"
        given, uid = self.payload(), self.uid_asked("workitem", "AffectedSOPInstanceUID")
        made, status = await self.ask(self.steps.create, given, uid, self.holder)
        self.set_status(201)
        url = f"{self.request.protocol}://{self.request.host}{self.request.path}/{made}"
        self.set_header("Location", url)
        if status == CREATED_MODIFIED:
            self.warn("The Workitem was created with modifications.")

    def _keys(self) -> Dataset:
        keys = Dataset()
        for keyword in RETURNED:
            _ask_for(keys, [keyword], "")
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name)
            if name == "includefield":
                for field in (each for value in values for each in value.split(",")):
                    if field != "all":
                        _ask_for(keys, field.split("."), "")
            elif name not in ("limit", "offset", "fuzzymatching"):
                _ask_for(keys, name.split("."), values[-1])
        return keys

    def _whole(self, name: str) -> int | None:
        given = self.get_query_argument(name, "")
        if given and (not given.isdecimal() or len(given) > 9):
            raise HttpError(400, f"{name} must be a whole number, not {given[:20]!r}.")
        return int(given) if given else None


class Workitem(WorkitemHandler):
    """One step: its content, and changes of it."""

    async def get(self, uid: str) -> None:
        """Answer with all of it but the lock (PS3.18 11.5)."""
        self.transaction = "RAD-83"
        self.require_json()
        step = await self.ask(self.steps.get, uid)
        self.answer([step.to_json_dict()])

    async def post(self, uid: str) -> None:
        """Change attributes (PS3.18 11.6)."""
        self.transaction = "RAD-84"
        changes = self.payload()
        lock = self.uid_asked("transaction-uid", "transaction")
        lock = lock or str(changes.get("TransactionUID") or "")
        try:
            await self.ask(self.steps.update, uid, changes, lock)
        except HttpError as error:
            ended = isinstance(error.__cause__, UpsRefused) and error.__cause__.status == NO_LONGER
            if not ended:
                raise
            # Of a step that has ended 11.6.2 wants 400, where 11.7 wants 409.
            raise HttpError(400, error.what, headers=error.headers) from error


class State(WorkitemHandler):
    """The state of a step."""

    async def put(self, uid: str) -> None:
        """Claim, complete or cancel it (PS3.18 11.7)."""
        asked = self.payload()
        state = str(asked.get("ProcedureStepState") or "")
        self.transaction = "RAD-82" if state == IN_PROGRESS else "RAD-85"
        lock = str(asked.get("TransactionUID") or "")
        status = await self.ask(self.steps.change_state, uid, state, lock, by=self.holder)
        if status in (ALREADY_CANCELED, ALREADY_COMPLETED):
            self.warn(f"{WORDS[status]}.")


class CancelRequest(WorkitemHandler):
    """A wish that a step end which another performs."""

    async def post(self, uid: str) -> None:
        """Take it; whoever performs the step decides (PS3.18 11.8)."""
        self.transaction = "RAD-88"
        status = await self.ask(self.steps.request_cancel, uid, self.payload(), by=self.holder)
        self.set_status(202)
        if status == ALREADY_CANCELED:
            self.warn(f"{WORDS[status]}.")


class Subscribers(WorkitemHandler):
    """Subscriptions to events."""

    async def post(self, *path: str) -> None:
        """Say that none is offered."""
        self.transaction = "RAD-86"
        raise HttpError(501, "Events are not offered here.", "Ask for the workitem again.")

    delete = post


def routes(base: str, **named: Any) -> list[tuple[str, type[WebHandler], dict[str, Any]]]:
    """Return where to ask, below a base path (PS3.18 table 11.1.1-1)."""
    one = f"{base}/workitems/([^/]+)"
    return [
        (f"{base}/workitems", Worklist, named),
        (one, Workitem, named),
        (f"{one}/state", State, named),
        (f"{one}/cancelrequest", CancelRequest, named),
        (f"{one}/subscribers/([^/]+)(?:/suspend)?", Subscribers, named),
    ]


def _ask_for(keys: Dataset, path: list[str], value: str) -> None:
    """Add a key to an Identifier; what is in a sequence is named with a dot between."""
    keyword = _keyword(path[0])
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        if keyword not in keys or (len(path) > 1 and not keys[keyword].value):
            setattr(keys, keyword, [Dataset()] if len(path) > 1 else [])
        if len(path) > 1:
            _ask_for(keys[keyword].value[0], path[1:], value)
            return
    if vr == "SQ" or (not value and keyword in keys):
        return
    try:
        kept: Any = value.split(",") if vr == "UI" and "," in value else value or None
        keys.add(DataElement(keyword, vr, kept, validation_mode=config.IGNORE))
    except (ValueError, TypeError) as error:
        raise HttpError(400, f"{value[:64]!r} is no value of {keyword}.") from error


def _keyword(name: str) -> str:
    try:
        keyword = name if tag_for_keyword(name) is not None else keyword_for_tag(int(name, 16))
    except ValueError:
        keyword = ""
    if not keyword:
        what = f"{name[:64]!r} is no attribute to search by."
        raise HttpError(400, what, "Name it by keyword, or by its tag.")
    return keyword
