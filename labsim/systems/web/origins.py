"""Which web origins' pages may call a system (CORS), as its database has it."""

from __future__ import annotations

from collections.abc import Sequence

from labsim.errors import ConfigurationError
from labsim.systems.facility import System

SCHEMA = "CREATE TABLE IF NOT EXISTS web_origins (origin TEXT PRIMARY KEY);\n"


class Origins:
    """The web origins that a system allows; at first none.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    """

    def __init__(self, system: System) -> None:
        self._system = system

    def all(self) -> Sequence[str]:
        """Return the web origins whose pages may call."""
        rows = self._system.db.rows("SELECT origin FROM web_origins ORDER BY origin")
        return [row["origin"] for row in rows]

    def allow(self, *origins: str) -> None:
        """Say the pages of which web origins may call.

        Raises
        ------
        ConfigurationError
            If one is not written as a browser sends it, such as ``"http://localhost:3000"``.
        """
        for origin in origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ConfigurationError(
                    f"{origin!r} is not a web origin.", 'Write it as "http://localhost:3000".'
                )
        with self._system.db.transaction():
            self._system.db.run("DELETE FROM web_origins")
            for origin in dict.fromkeys(origins):
                self._system.db.insert("web_origins", origin=origin)
        self._system.note(f"web origins allowed: {', '.join(origins) or 'none'}")
