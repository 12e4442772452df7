"""The firewall of a host: ordered rules for who may connect, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass
from typing import Literal

from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.hosts.plan import Place
from labsim.table import Table

Action = Literal["allow", "reject", "drop"]
_ACTIONS = ("allow", "reject", "drop")
ANY = "any"

SCHEMA = """
CREATE TABLE IF NOT EXISTS firewall_rules (
    host TEXT NOT NULL,
    place INTEGER NOT NULL,
    action TEXT NOT NULL,
    source TEXT NOT NULL,
    port INTEGER NOT NULL,
    PRIMARY KEY (host, place)
);
"""


@dataclass(frozen=True)
class Rule:
    """One rule for connections that come in.

    Parameters
    ----------
    action : str
        ``"allow"``; ``"reject"``, which answers with a refusal (a TCP reset);
        or ``"drop"``, which answers nothing at all.
    source : str
        A host, a segment, ``"outside"`` for programs on the administrator's machine
        that are no part of the hospital, or ``"any"``.
    port : int
        The port in the hospital; 0 for any.
    """

    action: Action
    source: str
    port: int

    def covers(self, caller: Place | None, port: int) -> bool:
        """Tell whether a connection of a caller to a port is meant."""
        names = caller.names if caller else ()
        return (self.source == ANY or self.source in names) and self.port in (0, port)


class Firewall:
    """The rules of one host, the first that covers a connection decides.

    What no rule covers is allowed, and a host always reaches itself.

    Parameters
    ----------
    host : str
        Whose connections it looks at.
    db : Database
        Where the rules are kept.
    sources : collection of str
        The hosts and segments that a rule may name.
    note : callable
        Writes a line to the journal.
    """

    def __init__(
        self, host: str, db: Database, sources: Collection[str], note: Callable[[str], object]
    ) -> None:
        self._host = host
        self._db = db
        self._sources = sources
        self._note = note
        rows = db.rows("SELECT * FROM firewall_rules WHERE host = ? ORDER BY place", host)
        self._rules = [Rule(row["action"], row["source"], row["port"]) for row in rows]

    def add(
        self, action: Action, source: str = ANY, port: int = 0, *, place: int | None = None
    ) -> Rule:
        """Add a rule; connections that are open already stay.

        Parameters
        ----------
        action, source, port
            As in `Rule`.
        place : int, optional
            Before which rule it goes, from 1; after the last if left out.

        Raises
        ------
        ConfigurationError
            If a value makes no sense.
        """
        if action not in _ACTIONS:
            raise ConfigurationError(
                f"A firewall cannot {action!r}.", f"It can {', '.join(_ACTIONS)}."
            )
        if source != ANY and source not in self._sources:
            raise ConfigurationError(
                f"No host or segment is called {source!r}.",
                f"Use any, {', '.join(sorted(self._sources))}.",
            )
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"{port} is no port.", "Use 1 to 65535, or 0 for any.")
        rule, rules = Rule(action, source, port), list(self._rules)
        rules.insert(len(rules) if place is None else max(0, place - 1), rule)
        self._keep(rules, f"firewall: {_words(rule)} added")
        return rule

    def remove(self, place: int) -> None:
        """Take a rule out, by its place in the table, from 1.

        Raises
        ------
        NotFound
            If there is none at that place.
        """
        if not 1 <= place <= len(self._rules):
            raise NotFound(
                f"The firewall of {self._host} has no rule {place}.",
                f"It has {len(self._rules)} rules.",
            )
        rules = list(self._rules)
        rule = rules.pop(place - 1)
        self._keep(rules, f"firewall: {_words(rule)} removed")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in their order."""
        return tuple(self._rules)

    def put(self, rules: Sequence[Rule]) -> None:
        """Put other rules in the place of all."""
        if list(rules) != self._rules:
            self._keep(list(rules), f"firewall: {len(rules)} rules put in place")

    def table(self) -> Table:
        """Return the rules in their order."""
        rows = [
            (number, rule.action, rule.source, rule.port or ANY, "tcp")
            for number, rule in enumerate(self._rules, start=1)
        ]
        columns = ("rule", "action", "from", "port", "protocol")
        return Table(columns, rows, f"Firewall of {self._host}; what no rule covers is allowed")

    def verdict(self, caller: Place | None, port: int) -> Action:
        """Return what becomes of a connection; a refused one is written down."""
        if caller is not None and self._host in (caller.host, *caller.also):
            return "allow"
        for number, rule in enumerate(self._rules, start=1):
            if rule.covers(caller, port):
                if rule.action != "allow":
                    who = f"{caller.host} ({caller.address})" if caller else "outside"
                    done = "rejected" if rule.action == "reject" else "dropped"
                    self._note(f"firewall {done} tcp from {who} to port {port}: rule {number}")
                return rule.action
        return "allow"

    def _keep(self, rules: list[Rule], summary: str) -> None:
        with self._db.transaction():
            self._db.run("DELETE FROM firewall_rules WHERE host = ?", self._host)
            self._db.run_many(
                "INSERT INTO firewall_rules (host, place, action, source, port) "
                "VALUES (?, ?, ?, ?, ?)",
                [(self._host, place, *astuple(rule)) for place, rule in enumerate(rules)],
            )
        self._rules = rules  # replaced whole, because connections are judged meanwhile
        self._note(summary)


def _words(rule: Rule) -> str:
    return f"{rule.action} {rule.source} to port {rule.port or ANY}"
