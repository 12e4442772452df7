"""The list of work by DIMSE: UPS Push, Pull, Watch and Query (PS3.4 CC.3).

IHE actor: Task Manager. The UPS Event class is not offered, so nobody can
subscribe: that is refused with 0xC315.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pynetdicom import build_context, evt
from pynetdicom.presentation import PresentationContext

from labsim.sop_classes import UPS_PULL, UPS_PUSH, UPS_QUERY, UPS_WATCH
from labsim.systems.facility import text_of
from labsim.systems.workitems import json_model
from labsim.systems.workitems.status import (
    INVALID_VALUE,
    NO_ACTION,
    NO_EVENTS,
    SUCCESS,
    UpsRefused,
)
from labsim.systems.workitems.worklist import Workitems
from labsim.wire.charset import UNICODE
from labsim.wire.dimse import Handlers, instance_of
from labsim.wire.status import failure

_CHANGE_STATE, _REQUEST_CANCEL = 1, 2
_SUBSCRIPTIONS = (3, 4, 5)
_PENDING, _CANCELLED = 0xFF00, 0xFE00
Answer = tuple[int | Dataset, Dataset | None]


class UpsProvider:
    """Answers DIMSE requests about steps.

    Parameters
    ----------
    steps : Workitems
        The list.
    """

    def __init__(self, steps: Workitems) -> None:
        self._steps = steps

    def contexts(self) -> list[PresentationContext]:
        """Return what is supported."""
        return [build_context(uid) for uid in (UPS_PUSH, UPS_WATCH, UPS_PULL, UPS_QUERY)]

    def handlers(self) -> Handlers:
        """Return what answers each request."""
        return [
            (evt.EVT_N_CREATE, self._created),
            (evt.EVT_N_GET, self._got),
            (evt.EVT_N_SET, self._set),
            (evt.EVT_N_ACTION, self._acted),
            (evt.EVT_C_FIND, self._found),
        ]

    def _created(self, event: evt.Event) -> Answer:
        try:
            given = _checked(event.attribute_list)
            uid, status = self._steps.create(given, instance_of(event), _caller(event))
        except UpsRefused as error:
            return _refusal(error), None
        made = self._steps.get(uid)
        made.SpecificCharacterSet = UNICODE
        return status, made

    def _got(self, event: evt.Event) -> Answer:
        try:
            step = self._steps.get(instance_of(event))
        except UpsRefused as error:
            return _refusal(error), None
        wanted = event.attribute_identifiers
        found = Dataset()
        for element in step:
            if not wanted or element.tag in wanted:
                found.add(element)
        found.SpecificCharacterSet = UNICODE
        return SUCCESS, found

    def _set(self, event: evt.Event) -> Answer:
        try:
            changes = _checked(event.modification_list)
            lock = text_of(changes.get("TransactionUID"))
            return self._steps.update(instance_of(event), changes, lock), None
        except UpsRefused as error:
            return _refusal(error), None

    def _acted(self, event: evt.Event) -> Answer:
        uid, kind, by = instance_of(event), event.action_type, _caller(event)
        try:
            asked = _checked(event.action_information)
            if kind == _CHANGE_STATE:
                state = text_of(asked.get("ProcedureStepState"))
                lock = text_of(asked.get("TransactionUID"))
                return self._steps.change_state(uid, state, lock, by=by), None
            if kind == _REQUEST_CANCEL:
                return self._steps.request_cancel(uid, asked, by=by), None
            raise UpsRefused(NO_EVENTS if kind in _SUBSCRIPTIONS else NO_ACTION)
        except UpsRefused as error:
            return _refusal(error), None

    def _found(self, event: evt.Event) -> Iterator[tuple[int | Dataset, Dataset | None]]:
        for step in self._steps.search(event.identifier):
            if event.is_cancelled:
                yield _CANCELLED, None
                return
            step.SpecificCharacterSet = UNICODE
            yield _PENDING, step


def _checked(given: Dataset | None) -> Dataset:
    """Return a data set whose values are all as their VR wants them."""
    try:
        return json_model.read(json.dumps((given or Dataset()).to_json_dict()).encode())
    except ValueError as error:
        raise UpsRefused(INVALID_VALUE, str(error)) from error


def _caller(event: evt.Event) -> str:
    return str(event.assoc.requestor.ae_title).strip()


def _refusal(error: UpsRefused) -> Dataset:
    return failure(error.status, error.what)
