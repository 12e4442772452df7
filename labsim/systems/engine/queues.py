"""One destination's queue: what waits goes out in order, one message after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from labsim.channels import DestinationSpec
from labsim.errors import DeliveryFailed
from labsim.systems.engine.configuration import Configuration
from labsim.systems.engine.store import Delivery, MessageStore
from labsim.systems.facility import System
from labsim.wire.acknowledging import ACCEPTED
from labsim.wire.hl7 import Message
from labsim.wire.mllp import MllpEndpoint, hl7_keys
from labsim.wire.network import Address

_STORE_RETRY = 5.0  # seconds


class Queue:
    """Sends what waits for one destination, on a thread and a connection of its own.

    A destination that does not answer holds up nobody but those behind it in
    its own queue.

    Parameters
    ----------
    system : System
        The engine, for its journal.
    channel, destination : str
        Whose queue.
    configuration : Configuration
        Says where to, and how patiently; asked anew for every message.
    store : MessageStore
        What waits.
    endpoint : MllpEndpoint
        The engine's HL7 interface.
    ended : callable
        Called when a message has come to its end.
    """

    def __init__(
        self,
        system: System,
        channel: str,
        destination: str,
        configuration: Configuration,
        store: MessageStore,
        endpoint: MllpEndpoint,
        ended: Callable[[], None],
    ) -> None:
        self._system = system
        self.channel = channel
        self.destination = destination
        self._configuration = configuration
        self._store = store
        self._endpoint = endpoint
        self._tell = ended
        self._link = endpoint.link()
        self._woken = threading.Event()
        self._not_before = 0.0  # on the monotonic clock
        self._stopping = False
        self._thread = threading.Thread(
            target=self._run, name=f"engine-{channel}-{destination}", daemon=True
        )

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """End at once; a message whose acknowledgment has not come stays in the queue."""
        self._stopping = True
        self._woken.set()
        self._endpoint.hang_up(self._link, for_good=True)
        if self._thread.is_alive():
            self._thread.join()

    def wake(self, *, at_once: bool = False) -> None:
        """Look whether something waits; `at_once`, also before the next attempt is due."""
        if at_once:
            self._not_before = 0.0
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            rest = self._not_before - time.monotonic()
            if rest > 0:
                self._woken.wait(rest)
                continue
            try:
                if not self._send_next():
                    self._woken.wait()
            except Exception as error:  # a full disk, say; a queue that ended would go unseen
                what = f"the queue of {self.channel} to {self.destination} does not work"
                self._system.note(f"{what}: {error}", kind="error")
                self._not_before = time.monotonic() + _STORE_RETRY

    def _send_next(self) -> bool:
        """Make one attempt; return whether something was there to send."""
        spec = self._configuration.channel(self.channel).destination(self.destination)
        if spec is None or not self._configuration.is_running(self.channel, self.destination):
            return False
        delivery = self._store.next(self.channel, self.destination)
        if delivery is not None:
            self._attempt(delivery, spec)
        return delivery is not None

    def _attempt(self, delivery: Delivery, spec: DestinationSpec) -> None:
        message = Message(delivery.text)
        try:
            answer = self._endpoint.send(
                message,
                Address(spec.host, spec.port),
                delivery.transaction,
                hl7_keys(message),
                link=self._link,
                timeout=spec.timeout,
                match=spec.match_control_id,
            )
        except DeliveryFailed as error:
            if not self._stopping:
                self._failed(delivery, spec, error)
            return
        if not spec.keep_open:
            self._endpoint.hang_up(self._link)
        text = f"{answer['MSA-1']} {answer['MSA-3']}".strip()
        if answer["MSA-1"] == "CA" and spec.acknowledgment == "application":
            self._end(delivery, "error", "CA, but no application acknowledgment came")
        else:
            self._end(delivery, "sent" if answer["MSA-1"] in ACCEPTED else "error", text)
        self._not_before = time.monotonic() + spec.pause

    def _failed(self, delivery: Delivery, spec: DestinationSpec, error: DeliveryFailed) -> None:
        """Keep a message for the next attempt, or give it up if that was the last."""
        late = isinstance(error.__cause__, TimeoutError)
        if spec.hang_up_when_late or not late:
            self._endpoint.hang_up(self._link)  # an answer that comes yet is nobody's any more
        if spec.attempts is not None and delivery.attempts >= spec.attempts:
            self._end(delivery, "error", error.what)
            return
        self._not_before = time.monotonic() + spec.retry_every
        self._store.settle(delivery, "queued", error.what)

    def _end(self, delivery: Delivery, state: str, answer: str) -> None:
        self._store.settle(delivery, state, answer)
        if state == "error":
            keys = hl7_keys(Message(delivery.text))
            what = f"message {delivery.message} to {self.destination} is in the error queue"
            self._system.note(f"{what}: {answer}", kind="error", **keys)
        self._tell()
