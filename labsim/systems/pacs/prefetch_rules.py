"""Which priors an order brings, and where to: rules as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.send_queue import PRIORITIES
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS prefetch_rules (
    name         TEXT PRIMARY KEY,
    destination  TEXT NOT NULL,     -- AE title; empty: only staged, see Pacs.prefetched
    modality     TEXT NOT NULL,     -- of the order, with wild cards
    body_part    TEXT NOT NULL,
    parts        TEXT NOT NULL,     -- of the priors: same, related, any
    modalities   TEXT NOT NULL,     -- of the priors: same, any
    at_most      INTEGER NOT NULL,
    max_age_days INTEGER NOT NULL,
    priority     TEXT NOT NULL,
    enabled      INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS related_parts (
    part    TEXT NOT NULL,
    related TEXT NOT NULL,
    PRIMARY KEY (part, related)
);
"""
_RELATED = (
    ("CHEST", "BREAST"),
    ("CHEST", "HEART"),
    ("CHEST", "ABDOMEN"),
    ("ABDOMEN", "PELVIS"),
    ("ABDOMEN", "LSPINE"),
    ("HEAD", "NECK"),
    ("HEAD", "BRAIN"),
)
_PARTS, _MODALITIES = ("same", "related", "any"), ("same", "any")


@dataclass(frozen=True)
class PrefetchRule:
    """Which priors an order brings, and where.

    Parameters
    ----------
    name : str
        What it is called.
    destination : str
        AE title that gets the priors; empty if they are only staged.
    modality, body_part : str
        Which orders it is for, with wild cards.
    parts : str
        Priors of the ``"same"`` part of the body, of a ``"related"`` one too,
        or of ``"any"``.
    modalities : str
        Priors of the ``"same"`` modality, or of ``"any"``.
    at_most : int
        How many, newest first.
    max_age_days : int
        How old at most.
    priority : str
        ``"LOW"``, ``"MEDIUM"`` or ``"HIGH"``; a stat order is always high.
    enabled : bool
        Whether it is in force.
    """

    name: str
    destination: str
    modality: str = "*"
    body_part: str = "*"
    parts: str = "related"
    modalities: str = "any"
    at_most: int = 3
    max_age_days: int = 5 * 365
    priority: str = "MEDIUM"
    enabled: bool = True


class PrefetchRules:
    """The table of prefetch rules, and the one of related parts of the body.

    Parameters
    ----------
    system : System
        The PACS.
    own_title : str
        Its AE title.
    entities : Entities
        Whom it knows.
    """

    access: Access  # who is at the console decides what may be changed

    def __init__(self, system: System, own_title: str, entities: Entities) -> None:
        self._system = system
        self._own_title = own_title
        self._entities = entities
        if system.db.next("related parts") == 1:
            self._relate(_RELATED)

    @needs("configure")
    def add(self, name: str, destination: str = "", **settings: str | int | bool) -> PrefetchRule:
        """Add a rule, or replace the one of that name.

        Parameters
        ----------
        name, destination : str
            As in `PrefetchRule`.
        **settings
            The other values of `PrefetchRule`.

        Raises
        ------
        ConfigurationError
            If a value cannot be right.
        """
        try:
            rule = PrefetchRule(name, destination, **settings)  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigurationError(
                f"A prefetch rule has no such value: {error}.",
                f"Use {', '.join(list(PrefetchRule.__dataclass_fields__)[2:])}.",
            ) from error
        self._check(rule)
        self._system.db.upsert("prefetch_rules", "name", **vars(rule))
        self._system.note(f"prefetch rule {name} to {destination or 'nowhere'} set")
        return rule

    def change(self, name: str, **settings: str | int | bool) -> PrefetchRule:
        """Change values of a rule.

        Raises
        ------
        NotFound
            If there is no such rule.
        ConfigurationError
            If a value cannot be right.
        """
        return self.add(**{**vars(self.get(name)), **settings})

    @needs("configure")
    def remove(self, name: str) -> PrefetchRule:
        """Remove a rule.

        Raises
        ------
        NotFound
            If there is no such rule.
        """
        rule = self.get(name)
        self._system.db.run("DELETE FROM prefetch_rules WHERE name = ?", name)
        self._system.note(f"prefetch rule {name} removed")
        return rule

    def get(self, name: str) -> PrefetchRule:
        """Return one rule.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        for rule in self.all():
            if rule.name == name:
                return rule
        names = ", ".join(rule.name for rule in self.all()) or "none yet"
        raise NotFound(f"The PACS has no prefetch rule {name!r}.", f"There are: {names}.")

    def all(self) -> list[PrefetchRule]:
        """Return every rule by name."""
        rows = self._system.db.rows("SELECT * FROM prefetch_rules ORDER BY name")
        return [PrefetchRule(**{**dict(row), "enabled": bool(row["enabled"])}) for row in rows]

    @needs("configure")
    def relate(self, part: str, other: str) -> None:
        """Say that a prior of one part of the body is of use for the other, both ways."""
        self._relate([(part, other)])

    def _relate(self, pairs: Iterable[tuple[str, str]]) -> None:
        both = [way for part, other in pairs for way in ((part, other), (other, part))]
        self._system.db.run_many("INSERT OR IGNORE INTO related_parts VALUES (?, ?)", both)

    def related(self) -> Table:
        """Return which parts of the body are related."""
        rows = self._system.db.rows("SELECT * FROM related_parts ORDER BY part, related")
        return Table(("part", "related"), rows, "Related parts of the body")

    def table(self) -> Table:
        """Return every rule."""
        columns = list(PrefetchRule.__dataclass_fields__)
        return Table(
            columns,
            [list(vars(r).values()) for r in self.all()],
            f"Prefetch of {self._system.name}",
        )

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _check(self, rule: PrefetchRule) -> None:
        if not rule.name.strip():
            raise ConfigurationError("A prefetch rule has no name.", "Give it one.")
        if rule.destination == self._own_title:
            raise ConfigurationError(
                f"{rule.destination} is the PACS itself: the priors are here.",
                "Choose another destination, or none to only stage them.",
            )
        if rule.destination and self._entities.get(rule.destination) is None:
            raise ConfigurationError(
                f"No AE title {rule.destination!r} is registered at the PACS.",
                "Register it with hospital.pacs.register_ae(…), or correct the title.",
            )
        for value, allowed in (
            (rule.parts, _PARTS),
            (rule.modalities, _MODALITIES),
            (rule.priority, tuple(PRIORITIES)),
        ):
            if value not in allowed:
                raise ConfigurationError(
                    f"{value!r} cannot be in a prefetch rule.", f"Use {', '.join(allowed)}."
                )
        if rule.at_most < 1 or rule.max_age_days < 1:
            raise ConfigurationError(
                "A prefetch rule without a prior brings nothing.", "Use 1 or more."
            )
