"""Searching the engine's message store."""

from __future__ import annotations

import sqlite3
from typing import Any

from labsim.errors import ConfigurationError
from labsim.systems.engine.store import STATES, Condition

MESSAGE_COLUMNS = (
    "message",
    "time",
    "channel",
    "type",
    "control ID",
    "patient ID",
    "accession",
    "state",
    "copy of",
    "answer",
)
_TEXT = (
    "(instr(lower(m.text), lower(?)) OR EXISTS (SELECT 1 FROM deliveries d "
    "WHERE d.message = m.id AND instr(lower(d.text), lower(?))))"
)


def conditions(
    *,
    channel: str,
    state: str,
    patient: str,
    accession: str,
    control_id: str,
    text: str,
    since: str,
    until: str,
) -> list[Condition]:
    """Return SQL conditions with their values for what is not empty.

    Raises
    ------
    ConfigurationError
        If there is no such state.
    """
    if state and state not in STATES:
        raise ConfigurationError(f"No message is {state!r}.", f"Use {', '.join(STATES)}.")
    exact = {
        "m.channel = ?": channel,
        "m.state = ?": state,
        "m.patient_id = ?": patient,
        "m.accession = ?": accession,
        "m.control_id = ?": control_id,
        "m.received_at >= ?": since,
    }
    found: list[Condition] = [(sql, (v,)) for sql, v in exact.items() if v]
    if until:  # compared only as far as it was given, so that a day means all of it
        found.append(("substr(m.received_at, 1, ?) <= ?", (len(until), until)))
    if text:
        found.append((_TEXT, (text, text)))
    return found


def message_row(row: sqlite3.Row) -> tuple[Any, ...]:
    """Return a message as a line of a table."""
    return (
        row["id"],
        row["received_at"],
        row["channel"],
        row["type"],
        row["control_id"],
        row["patient_id"],
        row["accession"],
        row["state"],
        row["origin"] or "",
        row["answer"] or row["reason"],
    )
