"""One asyncio loop on its own thread, for everything that is written with asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class BackgroundLoop:
    """Runs coroutines for synchronous callers.

    A notebook's own loop cannot be used: it runs the cells, and a cell that
    waits for it would wait for itself.
    """

    def __init__(self) -> None:
        # Windows has another by default, which takes connections past `Doorway.accept`.
        self._loop = asyncio.SelectorEventLoop()
        self._executor = ThreadPoolExecutor(thread_name_prefix="labsim-handler")
        self._loop.set_default_executor(self._executor)  # what asyncio.to_thread uses
        self._thread = threading.Thread(target=self._run, name="labsim-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine on the loop and return its result.

        Parameters
        ----------
        work : coroutine
            What to run.
        timeout : float, optional
            Seconds after which it is cancelled.

        Raises
        ------
        TimeoutError
            If it took longer.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:  # a time-out, or the kernel was interrupted while waiting
            future.cancel()
            raise

    def later(self, seconds: float, work: Callable[[], object]) -> Future[None]:
        """Call something in a while; cancelling the future prevents it.

        Parameters
        ----------
        seconds : float
            How long from now.
        work : callable
            Called on the loop's thread, so it must not wait for anything.
        """

        async def wait() -> None:
            await asyncio.sleep(seconds)
            work()

        return asyncio.run_coroutine_threadsafe(wait(), self._loop)

    def spawn(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin to run a coroutine on the loop, and do not wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what still runs and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._executor.shutdown()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()
