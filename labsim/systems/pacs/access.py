"""Who is at the PACS, and what they may do there: sessions, and rights that are asked for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from labsim.errors import AccessDenied
from labsim.systems.audit.trail import MAJOR_FAILURE, MINOR_FAILURE, AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.users import Accounts

_F = TypeVar("_F", bound=Callable[..., Any])
CONSOLE_USER = "admin"


@dataclass
class Session:
    """Somebody at the PACS. Use it in a ``with`` block to sign out at its end.

    Parameters
    ----------
    user, role : str
        Who, and as what.
    signed_in : bool
        False at the console, where nobody asked for a password.
    last_used : datetime
        Hospital time.
    """

    user: str
    role: str
    signed_in: bool
    last_used: datetime
    _access: Access
    _before: Session | None = None

    @property
    def rights(self) -> frozenset[str]:
        """What the role has the right to, now."""
        return self._access.accounts.rights(self.role)

    def logout(self) -> None:
        """Sign out; whoever was there before is there again."""
        self._access.end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.logout()

    def __repr__(self) -> str:
        where = "signed in" if self.signed_in else "at the console"
        return f"{self.user}, {self.role}, {where}: {', '.join(sorted(self.rights))}"


class Access:
    """The sessions of the PACS.

    The console of a machine room stands unlocked: whoever is there is the
    administrator, until somebody signs in or `act_as` says otherwise.

    Parameters
    ----------
    system : System
        The PACS.
    accounts : Accounts
        Who may sign in, and what each role may do.
    trail : AuditTrail
        Hears of each login, and of each refusal.
    """

    def __init__(self, system: System, accounts: Accounts, trail: AuditTrail) -> None:
        self._system = system
        self.accounts = accounts
        self._trail = trail
        self.session = Session(CONSOLE_USER, "administrator", False, self._now(), self)

    def login(self, name: str, password: str) -> Session:
        """Sign somebody in.

        Raises
        ------
        AccessDenied
            If name and password do not belong together, or the account is locked.
        """
        policy = self.accounts.policy
        user = self.accounts.find(name)
        if user is not None and user.locked_until and self._now() < user.locked_until:
            raise self._refused(name, "the account is locked", MINOR_FAILURE)
        if not self.accounts.password_fits(name, password):
            locked = user is not None and self.accounts.failed(user, self._now())
            if locked:
                minutes = f"{policy.lock_minutes:g} minutes"
                self._system.note(f"account {name} locked for {minutes}", kind="error")
                raise self._refused(name, "wrong password, the account is locked", MAJOR_FAILURE)
            raise self._refused(name, "wrong name or password", MINOR_FAILURE)
        assert user is not None
        self.accounts.succeeded(user)
        self.session = Session(user.name, user.role, True, self._now(), self, self.session)
        self._system.note(f"{user.name} signed in as {user.role}")
        self._trail.login(user.name)
        return self.session

    def act_as(self, role: str) -> Session:
        """Give whoever is at the console another role.

        Raises
        ------
        NotFound
            If there is no such role.
        """
        self.accounts.rights(role)
        self.session = Session(CONSOLE_USER, role, False, self._now(), self, self.session)
        self._system.note(f"console acts as {role}")
        return self.session

    def end(self, session: Session, why: str = "") -> None:
        """End a session, and those that began within it."""
        below = self.session
        while below is not session:
            if below._before is None:  # it has ended already
                return
            below = below._before
        if session._before is None:
            return  # nobody signs out of the console
        self.session = session._before
        if session.signed_in:
            self._system.note(f"{session.user} signed out{why}")
            self._trail.login(session.user, out=True, text=why.strip(": "))

    def end_all(self) -> None:
        """End every session, as the end of the system does."""
        while self.session._before is not None:
            self.end(self.session)

    def require(self, right: str, what: str, *, signed_in: bool = False) -> Session:
        """Return the session, if it has a right.

        Parameters
        ----------
        right : str
            One of `labsim.systems.pacs.users.RIGHTS`.
        what : str
            What is to be done, for the audit trail.
        signed_in : bool
            Whether the console is not enough.

        Raises
        ------
        AccessDenied
            If it has not, or has timed out.
        """
        session = self.session
        idle = timedelta(minutes=self.accounts.policy.idle_minutes)
        if session.signed_in and self._now() - session.last_used > idle:
            raise self._denied(session, what, f"has been idle for {idle}", "Sign in again.")
        if right not in session.rights:
            roles = ", ".join(self.accounts.roles_with(right))
            why = f"is {session.role}, without the right to {right}"
            raise self._denied(session, what, why, f"Roles with it: {roles}.")
        if signed_in and not session.signed_in:
            why = "is at the console, and this asks for a login"
            raise self._denied(session, what, why, f"pacs.login a user with the right to {right}.")
        session.last_used = self._now()
        return session

    def _refused(self, name: str, why: str, outcome: str) -> AccessDenied:
        self._system.note(f"login of {name} refused: {why}", kind="error")
        self._trail.login(name, outcome=outcome, text=why)
        # The same words for all, so that nobody learns which names exist.
        return AccessDenied(
            f"{name} could not sign in.", "pacs.users.table() shows who is locked; the journal why."
        )

    def _denied(self, session: Session, what: str, why: str, next_step: str) -> AccessDenied:
        text = f"{what} denied: {session.user} {why}"
        self._system.note(text, kind="error")
        by = self._trail.person(session.user)
        self._trail.alert("110132", text, by=by, about=what, outcome=MINOR_FAILURE)
        return AccessDenied(f"{what} is denied: {session.user} {why}.", next_step)

    def _now(self) -> datetime:
        return self._system.facility.clock.now()


def needs(right: str) -> Callable[[_F], _F]:
    """Let a method be called only by a session with a right.

    Parameters
    ----------
    right : str
        One of `labsim.systems.pacs.users.RIGHTS`. The object has an `Access`
        as ``access``.
    """

    def guard(method: _F) -> _F:
        @functools.wraps(method)
        def guarded(self: Any, *arguments: Any, **named: Any) -> Any:
            cast(Access, self.access).require(right, method.__name__)
            return method(self, *arguments, **named)

        # So that help() shows the method's own parameters.
        guarded.__dict__["__signature__"] = inspect.signature(method)
        return cast(_F, guarded)

    return guard
