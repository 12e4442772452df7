"""A channel and its destinations, in an administrator's hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from labsim.channels import ChannelSpec, DestinationSpec
from labsim.errors import NotFound
from labsim.systems.engine.configuration import Configuration
from labsim.table import Table


class Destination:
    """Where a channel sends to; `Channel.destination` returns it.

    Parameters
    ----------
    channel : Channel
        Whose it is.
    name : str
        Its name within the channel.
    """

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel = channel
        self.name = name

    @property
    def spec(self) -> DestinationSpec:
        """Its configuration as it is now."""
        found = self._channel.spec.destination(self.name)
        if found is None:
            names = ", ".join(entry.name for entry in self._channel.spec.destinations)
            raise NotFound(
                f"Channel {self._channel.name} has no destination {self.name!r}.",
                f"It has {names}.",
            )
        return found

    @property
    def running(self) -> bool:
        """Whether its queue goes on."""
        return self._channel.is_running(self.name)

    def start(self) -> None:
        """Let its queue go on."""
        self._channel.set_running(True, self.name)

    def stop(self) -> None:
        """Let its queue wait; what comes meanwhile is kept in order."""
        self._channel.set_running(False, self.name)

    def change(self, **values: Any) -> DestinationSpec:
        """Change its configuration; what waits is tried again at once.

        Parameters
        ----------
        **values
            Fields of `labsim.channels.DestinationSpec`: ``port=2575``, ``timeout=2`` …

        Raises
        ------
        ConfigurationError
            If a value cannot be right.
        """
        before = self.spec
        destinations = [
            entry.model_dump(by_alias=True) | (values if entry.name == self.name else {})
            for entry in self._channel.spec.destinations
        ]
        shown = ", ".join(
            f"{key} {getattr(before, key, None)!r} → {values[key]!r}" for key in values
        )
        self._channel.apply({"destinations": destinations}, f"destination {self.name}: {shown}")
        return self.spec

    def table(self) -> Table:
        """Return its configuration."""
        rows = list(self.spec.model_dump(by_alias=True).items())
        rows.append(("running", self.running))
        caption = f"Destination {self.name} of channel {self._channel.name}"
        return Table(("setting", "value"), rows, caption)

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class Channel:
    """One channel of a running engine; ``hospital.engine.channel(name)`` returns it.

    Parameters
    ----------
    name : str
        Its name.
    configuration : Configuration
        Where it is kept.
    changed : callable
        Told of every change, in words.
    """

    def __init__(
        self, name: str, configuration: Configuration, changed: Callable[[str], None]
    ) -> None:
        self.name = name
        self._configuration = configuration
        self._changed = changed
        self.spec  # noqa: B018  (an unknown name is told at once)

    @property
    def spec(self) -> ChannelSpec:
        """Its configuration as it is now."""
        return self._configuration.channel(self.name)

    @property
    def running(self) -> bool:
        """Whether it takes messages in and sends them."""
        return self.is_running()

    def start(self) -> None:
        """Take messages in again, and send what waits."""
        self.set_running(True)

    def stop(self) -> None:
        """Neither take messages in nor send them.

        A sender's connection ends without an answer, as at a port that is
        closed, and the sender keeps its message.
        """
        self.set_running(False)

    def destination(self, name: str) -> Destination:
        """Return one of its destinations.

        Raises
        ------
        NotFound
            If it has none of that name.
        """
        destination = Destination(self, name)
        destination.spec  # noqa: B018
        return destination

    def change(self, **values: Any) -> ChannelSpec:
        """Change its configuration, for all messages that come from now on.

        Parameters
        ----------
        **values
            Fields of `labsim.channels.ChannelSpec`: ``filter=['PV1-2 != "E"']``,
            ``steps=[{"delete": "ZDS"}]``, ``remember_for=0`` …

        Raises
        ------
        ConfigurationError
            If a value cannot be right.
        """
        self.apply(values, ", ".join(f"{key} = {value!r}" for key, value in values.items()))
        return self.spec

    def table(self) -> Table:
        """Return its configuration."""
        spec = self.spec
        rows: list[tuple[str, Any]] = [
            ("running", self.running),
            ("from (MSH-3)", spec.sender or "anybody"),
            ("for (MSH-5)", spec.receiver or "anybody"),
            *(("message", f"{kind} {ihe}".strip()) for kind, ihe in spec.messages.items()),
            *(("filter", condition) for condition in spec.filter),
            *(("step", _words(step)) for step in spec.steps),
            *(
                (f"destination {entry.name}", f"{entry.host}:{entry.port}")
                for entry in spec.destinations
            ),
            ("repeated messages", _repeats(spec)),
        ]
        return Table(("setting", "value"), rows, f"Channel {self.name}")

    def __str__(self) -> str:
        return str(self.table())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    # For its destinations

    def apply(self, changes: dict[str, Any], words: str) -> None:
        """Change some values and keep them."""
        self._configuration.change(self.name, changes)
        self._changed(f"channel {self.name}: {words}")

    def is_running(self, destination: str = "") -> bool:
        """Tell whether it, or one of its destinations, is not stopped."""
        return self._configuration.is_running(self.name, destination)

    def set_running(self, running: bool, destination: str = "") -> None:
        """Stop it or one of its destinations, or let it go on."""
        self._configuration.set_running(running, self.name, destination)
        whose = f"destination {destination} of channel {self.name}" if destination else None
        self._changed(f"{whose or f'channel {self.name}'} {'started' if running else 'stopped'}")


def _words(step: BaseModel) -> str:
    values = step.model_dump(by_alias=True, exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _repeats(spec: ChannelSpec) -> str:
    if not spec.remember_for:
        return "sent again"
    return f"recognised for {spec.remember_for:g} s by their {spec.compare}"
