"""Associations that end in good order, whatever the peer sends (PS3.8 9.2)."""

from __future__ import annotations

import contextlib
import functools
import queue
from collections.abc import Callable

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.fsm import InvalidEventError

_INVALID = "Evt19"  # unrecognized or invalid PDU received: abort the association (PS3.8 9.2.3)


def keep_in_order(complain: Callable[..., None], event: evt.Event) -> None:
    """Let an association outlive its peer's mistakes until it is aborted, closed and told of.

    pynetdicom's thread for the upper layer dies of a message that it cannot
    read, and of an answer that comes when the association is over already:
    then the connection stays open, and nobody hears why.

    Parameters
    ----------
    complain : callable
        Called with a text and the association, for the journal.
    event : evt.Event
        The connection is open; no PDU has been read yet.
    """
    machine = event.assoc.dul.state_machine
    act = functools.partial(_act, event.assoc, machine.do_action, complain)
    machine.__dict__["do_action"] = act


def _act(
    association: Association,
    act: Callable[[str], None],
    complain: Callable[..., None],
    event: str,
) -> None:
    dul = association.dul
    try:
        act(event)
    except InvalidEventError:
        # The peer's events fit every state. This one is our own answer, and it comes too late.
        with contextlib.suppress(queue.Empty):  # an answer makes more than one event
            dul.to_provider_queue.get(block=False)
    except Exception as error:  # what a peer sends raises many kinds; it is told, and aborted
        text = f"a message that cannot be read: {type(error).__name__}: {error}"
        complain(text, association=association)
        if event == _INVALID:  # not even the abort went well
            raise
        dul._kill_thread = False  # the machine had given up
        dul.event_queue.put(_INVALID)
