"""People who never lived. Any likeness to a person is chance."""

from __future__ import annotations

import random

_FAMILY = (
    "Abara", "Almeida", "Bergström", "Bianchi", "Carter", "Castellanos", "Dubois", "Fischer",
    "García", "Haddad", "Ivanova", "Jensen", "Kowalczyk", "Lindqvist", "Mbeki", "Müller",
    "Nakamura", "O'Connor", "Özdemir", "Patel", "Quist", "Rossi", "Silva", "Tanaka",
    "Usman", "Vega", "Weber", "Xu", "Yılmaz", "Zieliński",
)  # fmt: skip
_GIVEN = {
    "F": ("Aiko", "Amara", "Chloé", "Elena", "Fatima", "Greta", "Ines", "Julia", "Łucja", "Mei",
          "Nadia", "Olivia", "Priya", "Sofía", "Zoë"),
    "M": ("Ahmed", "Björn", "Carlos", "Daniel", "Emeka", "François", "Hiroshi", "Ivan", "Jürgen",
          "Liam", "Mateo", "Noah", "Paweł", "Ravi", "Tomás"),
}  # fmt: skip


def invent(rng: random.Random) -> tuple[str, str, str]:
    """Invent a person.

    Returns
    -------
    name, birth_date, sex : str
        ``"Family^Given"``, ``"YYYYMMDD"``, ``"F"`` or ``"M"``.
    """
    sex = rng.choice("FM")
    name = f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN[sex])}"
    birth_date = f"{rng.randint(1935, 2004)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    return name, birth_date, sex
