"""Bearer tokens (RFC 6750): who may read or write over the web, and until when."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.table import Table

RIGHTS = ("read", "write")
SCHEMA = """
CREATE TABLE IF NOT EXISTS web_tokens (
    name    TEXT PRIMARY KEY,
    sha256  TEXT NOT NULL UNIQUE,   -- of the token, which itself is kept nowhere
    rights  TEXT NOT NULL,          -- a space between
    expires TEXT NOT NULL,          -- by the hospital's clock
    revoked INTEGER NOT NULL DEFAULT 0
);
"""


class InvalidToken(ConfigurationError):
    """A token that is unknown, has expired or was revoked."""


@dataclass(frozen=True)
class Token:
    """What a valid token stands for.

    Parameters
    ----------
    name : str
        Who holds it.
    rights : frozenset of str
        ``"read"``, ``"write"``.
    """

    name: str
    rights: frozenset[str]


class Tokens:
    """The bearer tokens that a system has issued.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    require : callable, optional
        Called with a right and with what is asked for, before tokens are
        configured; raises if whoever is asking has not that right. A system
        without users has none.
    """

    def __init__(
        self, system: System, require: Callable[[str, str], object] = lambda right, what: None
    ) -> None:
        self._system = system
        self._ask = require

    def issue(self, name: str, rights: Collection[str] = ("read",), hours: float = 8) -> str:
        """Make a token; it is shown this once, because only its hash is kept.

        Parameters
        ----------
        name : str
            Who will hold it; a token of the same name is replaced.
        rights : collection of str
            ``"read"`` to search and retrieve, ``"write"`` to store.
        hours : float
            How long it is valid, by the hospital's clock.

        Raises
        ------
        AccessDenied
            If whoever is asking may not configure the system.
        ConfigurationError
            If there is no such right, or name or duration cannot be right.
        """
        self._ask("configure", "tokens.issue")
        wrong = set(rights) - set(RIGHTS)
        if isinstance(rights, str) or wrong or not rights:
            raise ConfigurationError(
                f"No token has the rights {rights!r}.", 'Give ("read",), ("write",) or both.'
            )
        if not name.strip() or not 0 < hours <= 24 * 366:
            raise ConfigurationError(
                f"A token needs a name and 0 to 8784 hours, not {name!r} and {hours}.",
                'Such as tokens.issue("viewer", hours=8).',
            )
        token = secrets.token_urlsafe(32)
        expires = self._system.facility.clock.now() + timedelta(hours=hours)
        self._system.db.upsert(
            "web_tokens",
            "name",
            name=name,
            sha256=_hash(token),
            rights=" ".join(right for right in RIGHTS if right in rights),
            expires=expires.isoformat(timespec="seconds"),
            revoked=0,
        )
        self._system.note(f"token issued to {name}: {', '.join(rights)}, until {expires:%H:%M}")
        return token

    def revoke(self, name: str) -> None:
        """Make a token invalid at once.

        Raises
        ------
        AccessDenied
            If whoever is asking may not configure the system.
        NotFound
            If none has that name.
        """
        self._ask("configure", "tokens.revoke")
        if not self._system.db.run("UPDATE web_tokens SET revoked = 1 WHERE name = ?", name):
            raise NotFound(f"No token is named {name!r}.", "See tokens.table().")
        self._system.note(f"token of {name} revoked")

    def table(self) -> Table:
        """Return the tokens with what they are good for, never the tokens themselves."""
        now = self._system.now()
        rows = [
            (
                row["name"],
                row["rights"],
                row["expires"],
                _state(row["revoked"], row["expires"], now),
            )
            for row in self._system.db.rows("SELECT * FROM web_tokens ORDER BY name")
        ]
        return Table(("name", "rights", "expires", "state"), rows, "Bearer tokens")

    def check(self, token: str) -> Token:
        """Return what a token stands for.

        Raises
        ------
        InvalidToken
            If it is not valid; says why.
        """
        row = self._system.db.row("SELECT * FROM web_tokens WHERE sha256 = ?", _hash(token))
        if row is None:
            raise InvalidToken("The token is unknown.")
        state = _state(row["revoked"], row["expires"], self._system.now())
        if state != "valid":
            raise InvalidToken(f"The token of {row['name']} is {state}.")
        return Token(row["name"], frozenset(row["rights"].split()))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _state(revoked: int, expires: str, now: str) -> str:
    return "revoked" if revoked else "expired" if expires <= now else "valid"
