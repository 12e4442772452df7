"""Errors that say what happened and what to do next."""

from __future__ import annotations


class LabError(Exception):
    """Something the user of the lab can understand and act on.

    Jupyter prints only the message of such an error, without the traceback,
    because the traceback would show the lab's insides instead of the cause.

    Parameters
    ----------
    what : str
        One sentence that names the thing and what is wrong with it.
    next_step : str, optional
        One sentence that says what to try.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} {self.next_step}".strip()

    def _render_traceback_(self) -> list[str]:
        # IPython prints these lines instead of a traceback.
        lines = [f"{type(self).__name__}: {self.what}"]
        return [*lines, f"Next: {self.next_step}"] if self.next_step else lines


class ConfigurationError(LabError):
    """A value that a system or a site description cannot work with."""


class NotFound(LabError):
    """Something was asked for by a name or number that no system knows."""


class AccessDenied(LabError):
    """Somebody asked for what their role has no right to, or could not sign in."""


class HospitalInUse(LabError):
    """Another running hospital holds the same state folder."""


class PortTaken(LabError):
    """A fixed port was asked for and another program listens on it."""


class Unreachable(LabError):
    """Nothing listens at the address that a system is configured to call."""


class AssociationFailed(LabError):
    """A DICOM association was refused, rejected, aborted or lost.

    Parameters
    ----------
    what, next_step : str
        As in `LabError`.
    reason : str
        Short form for tables and comparisons, such as
        ``"rejected 1/1/3"`` (result/source/reason, PS3.8 9.3.4).
    """

    def __init__(self, what: str, next_step: str = "", *, reason: str = "") -> None:
        super().__init__(what, next_step)
        self.reason = reason


class DimseFailed(LabError):
    """A DIMSE request was answered with a failure status, or not at all.

    Parameters
    ----------
    what, next_step : str
        As in `LabError`.
    status : int or None
        The status of the answer (PS3.7 Annex C), None if there was no answer.
    """

    def __init__(self, what: str, next_step: str = "", *, status: int | None = None) -> None:
        super().__init__(what, next_step)
        self.status = status


class HttpFailed(LabError):
    """An HTTP request was answered with an error status.

    Parameters
    ----------
    what, next_step : str
        As in `LabError`.
    status : int
        The status of the answer, 400 to 599.
    """

    def __init__(self, what: str, next_step: str = "", *, status: int) -> None:
        super().__init__(what, next_step)
        self.status = status


class Hl7Error(LabError):
    """An HL7 message that cannot be read or must not be processed.

    Parameters
    ----------
    what, next_step : str
        As in `LabError`.
    code : str
        The acknowledgment code to answer with, ``"AE"`` or ``"AR"``
        (HL7 table 0008).
    """

    def __init__(self, what: str, next_step: str = "", *, code: str = "AE") -> None:
        super().__init__(what, next_step)
        self.code = code


class DeliveryFailed(LabError):
    """An HL7 message was not delivered; it waits in the sender's outbox."""
