from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labsim.wire.checkpoint import Checkpoint


def test_who_closes_it_while_the_thread_comes_through_holds_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    association = SimpleNamespace(_is_paused=True)  # as pynetdicom has it before it waits
    checkpoint = Checkpoint(cast(Any, association))
    wait, closed = threading.Event.wait, threading.Event()

    def come_through(event: threading.Event, timeout: float | None = None) -> bool:
        opened = wait(event, timeout)
        if event is checkpoint and not closed.is_set():
            closed.set()
            checkpoint.clear()  # just now, by a caller that is about to send
        return opened

    monkeypatch.setattr(threading.Event, "wait", come_through)
    thread = threading.Thread(target=checkpoint.wait)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert association._is_paused
    checkpoint.set()
    thread.join(5)
    assert not thread.is_alive()
    assert not association._is_paused
