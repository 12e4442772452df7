"""Auto-routing: which images the archive sends on, where, how soon, as rules in its database."""

from __future__ import annotations

import json
from dataclasses import dataclass

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.arrival import Arrival
from labsim.systems.pacs.conditions import conditions_of, described, met
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.send_queue import PRIORITIES, SendQueue
from labsim.systems.pacs.sending import Sending
from labsim.systems.pacs.visibility import Visibility
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS routes (
    name        TEXT PRIMARY KEY,
    destination TEXT NOT NULL,      -- AE title
    priority    TEXT NOT NULL,
    quiet       REAL NOT NULL,      -- seconds without more of the study; 0 sends at once
    enabled     INTEGER NOT NULL,
    conditions  TEXT NOT NULL       -- JSON, as of labsim.systems.pacs.conditions
);
"""


@dataclass(frozen=True)
class Route:
    """One rule.

    Parameters
    ----------
    name : str
        What it is called.
    destination : str
        AE title that gets the images.
    priority : str
        ``"LOW"``, ``"MEDIUM"`` or ``"HIGH"``.
    quiet : float
        Seconds of the machine without a new image after which the study
        counts as complete and is sent; 0 sends each image at once.
    enabled : bool
        Whether it is in force.
    conditions : mapping
        As `labsim.systems.pacs.conditions.conditions_of` returns them.
    """

    name: str
    destination: str
    priority: str
    quiet: float
    enabled: bool
    conditions: dict[str, list[str]]


class Routes:
    """The table of routing rules, and what it does with an image.

    Parameters
    ----------
    system : System
        The PACS.
    own_title : str
        Its AE title.
    entities, queue, visibility, sending
        Parts of it.
    """

    access: Access  # who is at the console decides what may be changed

    def __init__(
        self,
        system: System,
        own_title: str,
        entities: Entities,
        queue: SendQueue,
        visibility: Visibility,
        sending: Sending,
    ) -> None:
        self._system = system
        self._own_title = own_title
        self._entities = entities
        self._queue = queue
        self._visibility = visibility
        self._sending = sending

    # Configuration

    @needs("configure")
    def add(
        self,
        name: str,
        destination: str,
        *,
        priority: str = "MEDIUM",
        quiet: float = 0.0,
        enabled: bool = True,
        **conditions: str | list[str],
    ) -> Route:
        """Send images that meet the conditions to a destination, from now on.

        Parameters
        ----------
        name, destination, priority, quiet, enabled
            As in `Route`.
        **conditions : str or list of str
            Keyword of an attribute (``Modality="CT"``,
            ``StudyDescription="*thorax*"``, ``StationName``,
            ``BodyPartExamined``, ``InstitutionName`` …), ``calling`` for the
            sender, ``hours="22:00-06:00"`` for the time at which images come.

        Raises
        ------
        ConfigurationError
            If there is a rule of that name, the destination is not registered
            or would get its own images back, or a condition cannot be right.
        """
        if self._get(name) is not None:
            raise ConfigurationError(
                f"There is a route {name!r} already.",
                f"Change it with routes.change({name!r}, …), or give another name.",
            )
        return self._keep(
            Route(name, destination, priority, quiet, enabled, conditions_of(conditions)), "added"
        )

    @needs("configure")
    def change(
        self,
        name: str,
        *,
        destination: str | None = None,
        priority: str | None = None,
        quiet: float | None = None,
        enabled: bool | None = None,
        **conditions: str | list[str],
    ) -> Route:
        """Change a rule; conditions replace those of the same keyword, an empty one goes.

        Raises
        ------
        NotFound
            If there is no such rule.
        ConfigurationError
            As for `add`.
        """
        old = self.get(name)
        merged = {**old.conditions, **conditions_of(conditions)}
        route = Route(
            name,
            old.destination if destination is None else destination,
            old.priority if priority is None else priority,
            old.quiet if quiet is None else quiet,
            old.enabled if enabled is None else enabled,
            {key: values for key, values in merged.items() if any(values)},
        )
        return self._keep(route, "changed")

    def enable(self, name: str) -> Route:
        """Put a rule into force."""
        return self.change(name, enabled=True)

    def disable(self, name: str) -> Route:
        """Put a rule out of force; what waits in the queue is sent all the same."""
        return self.change(name, enabled=False)

    @needs("configure")
    def remove(self, name: str) -> Route:
        """Remove a rule; what waits in the queue is sent all the same.

        Raises
        ------
        NotFound
            If there is no such rule.
        """
        route = self.get(name)
        self._system.db.run("DELETE FROM routes WHERE name = ?", name)
        self._system.note(f"route {name} removed")
        return route

    def get(self, name: str) -> Route:
        """Return one rule.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        route = self._get(name)
        if route is None:
            names = ", ".join(known.name for known in self.all()) or "none yet"
            raise NotFound(f"The PACS has no route {name!r}.", f"There are: {names}.")
        return route

    def all(self) -> list[Route]:
        """Return every rule by name."""
        return [
            _route(dict(row)) for row in self._system.db.rows("SELECT * FROM routes ORDER BY 1")
        ]

    def table(self) -> Table:
        """Return every rule, with what it has sent and what waits."""
        rows = [
            (
                *(route.name, described(route.conditions) or "everything", route.destination),
                *(route.priority, route.quiet, "yes" if route.enabled else "no"),
                *(self._count(route.name, state) for state in ("waiting", "sent", "failed")),
            )
            for route in self.all()
        ]
        columns = ("route", "images with", "to", "priority", "quiet s", "enabled")
        return Table(
            (*columns, "waiting", "sent", "failed"), rows, f"Routes of {self._system.name}"
        )

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    # At work

    def arrived(self, arrival: Arrival) -> None:
        """Queue an image that has come, unless quality control holds its study."""
        study_uid, sop_uid = (
            str(arrival.header.StudyInstanceUID),
            str(arrival.header.SOPInstanceUID),
        )
        if self._visibility.held(study_uid):
            return
        now = self._system.facility.clock.now()
        for route in self._in_force(arrival.calling):
            if met(route.conditions, arrival.header, arrival.calling, now):
                self._queue.add(
                    route.name,
                    route.destination,
                    [(study_uid, sop_uid)],
                    priority=route.priority,
                    quiet=route.quiet,
                )

    def study(self, study_uid: str) -> int:
        """Send what the rules say of a study that is in the archive, as if it came now.

        Returns
        -------
        int
            How many images were queued.
        """
        now = self._system.facility.clock.now()
        shown = self._visibility.index("").instances("STUDY", {"st.study_uid": [study_uid]})
        wanted: dict[str, list[tuple[str, str]]] = {}
        for instance in shown:
            header, calling = self._sending.dataset(instance), self._sender(instance.sop_uid)
            for route in self._in_force(calling):
                if met(route.conditions, header, calling, now):
                    wanted.setdefault(route.name, []).append((study_uid, instance.sop_uid))
        return sum(
            self._queue.add(name, route.destination, instances, priority=route.priority)
            for name, instances in wanted.items()
            for route in [self.get(name)]
        )

    def _in_force(self, calling: str) -> list[Route]:
        """Return the rules to look at; nobody is sent what came from there."""
        return [route for route in self.all() if route.enabled and route.destination != calling]

    def _sender(self, sop_uid: str) -> str:
        return str(
            self._system.db.value("SELECT received_from FROM instances WHERE sop_uid = ?", sop_uid)
        )

    def _keep(self, route: Route, what: str) -> Route:
        if not route.name.strip():
            raise ConfigurationError("A route has no name.", "Give it one.")
        if route.destination == self._own_title:
            raise ConfigurationError(
                f"{route.destination} is the PACS itself: its images would go round in a circle.",
                "Choose another destination.",
            )
        if self._entities.get(route.destination) is None:
            raise ConfigurationError(
                f"No AE title {route.destination!r} is registered at the PACS.",
                "Register it with hospital.pacs.register_ae(…), or correct the title.",
            )
        if route.destination in route.conditions.get("calling", []):
            raise ConfigurationError(
                f"Route {route.name!r} would send the images of {route.destination} back to it.",
                "Choose another destination or another sender.",
            )
        if route.priority not in PRIORITIES:
            raise ConfigurationError(
                f"{route.priority!r} is no priority.", f"Use {', '.join(PRIORITIES)}."
            )
        if not route.quiet >= 0:
            raise ConfigurationError(
                f"A study cannot be quiet for {route.quiet} s.", "Use 0 or more."
            )
        self._system.db.upsert(
            "routes", "name", **{**vars(route), "conditions": json.dumps(route.conditions)}
        )
        self._system.note(f"route {route.name} to {route.destination} {what}")
        return route

    def _get(self, name: str) -> Route | None:
        row = self._system.db.row("SELECT * FROM routes WHERE name = ?", name)
        return _route(dict(row)) if row is not None else None

    def _count(self, name: str, state: str) -> int:
        counted = "SELECT COUNT(*) FROM send_queue WHERE rule = ? AND state = ?"
        return int(self._system.db.value(counted, name, state))


def _route(row: dict[str, object]) -> Route:
    return Route(
        name=str(row["name"]),
        destination=str(row["destination"]),
        priority=str(row["priority"]),
        quiet=float(str(row["quiet"])),
        enabled=bool(row["enabled"]),
        conditions=json.loads(str(row["conditions"])),
    )
