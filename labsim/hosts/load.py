"""What a host costs: processor time of its threads, memory, and how long it runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from labsim.table import Table


def load(host: str, systems: Sequence[str], used: int, since: float | None) -> Table:
    """Return the figures of one host, as this machine measures them.

    All systems run in one process, as threads. Those that carry a system's
    name (its background work and its queues) are counted for its host; the
    threads of network connections and the lab's own are not, and are given
    apart. Memory cannot be told apart.

    Parameters
    ----------
    host : str
        Its name.
    systems : sequence of str
        What runs on it.
    used : int
        Bytes in the folders of its systems.
    since : float or None
        When it was switched on, by the monotonic clock; None if it is off.
    """
    # Lazily: who asks for no figures does not need it.
    import psutil  # type: ignore[import-untyped]

    process = psutil.Process(os.getpid())
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    prefixes = tuple(f"{system}-" for system in systems)
    own = [
        each.user_time + each.system_time
        for each in process.threads()
        if prefixes and names.get(each.id, "").startswith(prefixes)
    ]
    total = process.cpu_times()
    up = "off" if since is None else f"{time.monotonic() - since:.0f}"
    rows = [
        ("processor, threads of this host", f"{sum(own):.2f}", "s"),
        ("threads of this host", str(len(own)), ""),
        ("processor, whole lab", f"{total.user + total.system:.2f}", "s"),
        ("memory, whole lab", f"{process.memory_info().rss / 2**20:.0f}", "MiB"),
        ("disk", f"{used / 2**20:.1f}", "MiB"),
        ("up for", up, "s"),
    ]
    return Table(("figure", "value", "unit"), rows, f"Load of {host}")
