"""The loop behind synchronous callers."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from labsim.wire.background import BackgroundLoop


async def _thread() -> str:
    return threading.current_thread().name


async def _fail() -> None:
    raise KeyError("inside")


def test_a_result_comes_back(loop: BackgroundLoop) -> None:
    assert loop.run(asyncio.sleep(0, result=7)) == 7


def test_work_runs_on_a_thread_of_its_own(loop: BackgroundLoop) -> None:
    assert loop.run(_thread()) != threading.current_thread().name


def test_an_error_comes_back(loop: BackgroundLoop) -> None:
    with pytest.raises(KeyError, match="inside"):
        loop.run(_fail())


def test_a_caller_inside_a_running_loop_is_served(loop: BackgroundLoop) -> None:
    async def cell() -> str:
        return loop.run(_thread(), 5)  # as a notebook's cell does

    assert asyncio.run(cell()) == "labsim-loop"


def test_work_that_takes_too_long_is_cancelled(loop: BackgroundLoop) -> None:
    cancelled = threading.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        loop.run(endless(), 0.05)
    assert time.monotonic() - began < 2
    assert cancelled.wait(5)


def test_the_loop_serves_on_after_an_error(loop: BackgroundLoop) -> None:
    with pytest.raises(KeyError):
        loop.run(_fail())
    assert loop.run(asyncio.sleep(0, result="still here")) == "still here"


def test_closing_cancels_what_still_runs_and_ends_the_thread() -> None:
    loop = BackgroundLoop()
    began, ended = threading.Event(), threading.Event()

    async def endless() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start() -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(endless())

    task = loop.run(start())
    assert began.wait(5)
    loop.close()
    assert ended.is_set()
    assert task.cancelled()
    assert "labsim-loop" not in [thread.name for thread in threading.enumerate()]


def test_closing_waits_for_handlers_on_their_threads() -> None:
    loop = BackgroundLoop()
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def handle() -> None:
        begun.set()
        go_on.wait(5)
        done.set()

    async def start() -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(asyncio.to_thread(handle))

    loop.run(start())
    assert begun.wait(5)
    closing = threading.Thread(target=loop.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    go_on.set()
    closing.join(5)
    assert done.is_set()
