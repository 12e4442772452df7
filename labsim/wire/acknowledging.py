"""Which acknowledgments a message asks for: original and enhanced mode (HL7 v2.5.1 2.9).

In the original mode one acknowledgment says what the receiving application
made of the message. In the enhanced mode, which a value in MSH-15 or MSH-16
asks for, an accept acknowledgment says that the message is in safe storage,
and the application acknowledgment follows as a message of its own.
"""

from __future__ import annotations

from labsim.errors import Hl7Error
from labsim.wire.hl7 import Message

ACCEPTED = ("AA", "CA")


def is_enhanced(message: Message) -> bool:
    """Tell whether a message asks for the enhanced mode (HL7 v2.5.1 2.9.3)."""
    return bool(message["MSH-15"] or message["MSH-16"])


def answers_to(message: Message, refusal: Hl7Error | None) -> list[tuple[str, str]]:
    """Return MSA-1 and MSA-3 of each acknowledgment that a message asks for.

    Parameters
    ----------
    message : Message
        What came.
    refusal : Hl7Error or None
        Why it was not taken; None if it was, and is on disk.

    Returns
    -------
    list of (code, text)
        One in the original mode, none to two in the enhanced mode.
    """
    code, text = (refusal.code, refusal.what) if refusal else ("AA", "")
    if not is_enhanced(message):
        return [(code, text)]
    done = refusal is None
    tells = _wanted(message["MSH-16"], done)
    # An error that no application acknowledgment will tell is told by the accept
    # acknowledgment: after a CA the sender would believe that all is well.
    commit = "CA" if code == "AA" or (code == "AE" and tells) else {"AE": "CE"}.get(code, "CR")
    answers = []
    if _wanted(message["MSH-15"], commit == "CA"):
        answers.append((commit, "" if commit == "CA" else text))
    if tells and (commit == "CA" or not answers):
        answers.append((code, text))
    return answers


def awaited(message: Message) -> tuple[bool, bool]:
    """Return whether a sender waits for an accept and for an application acknowledgment.

    Only what always comes can be waited for (table 0155: AL). A message that
    asks for neither is treated like one in the original mode.
    """
    accept, application = (_condition(message[place]) == "AL" for place in ("MSH-15", "MSH-16"))
    return accept, application or not accept


def _wanted(condition: str, successful: bool) -> bool:
    """Tell whether a condition of table 0155 asks for an acknowledgment."""
    return _condition(condition) in ("AL", "SU" if successful else "ER")


def _condition(value: str) -> str:
    """Return a condition; what is none is taken for AL, so that nobody waits for an answer."""
    return value if value in ("", "AL", "NE", "ER", "SU") else "AL"
