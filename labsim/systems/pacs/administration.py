"""The administrator's hand on the users of the PACS: each change is guarded, noted and audited."""

from __future__ import annotations

from collections.abc import Collection

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import CONSOLE_USER, Access, needs
from labsim.systems.pacs.users import RIGHTS, AccessPolicy, User, check_password, user_table
from labsim.table import Table


class Users:
    """Accounts and roles; the administrator changes them here.

    Parameters
    ----------
    system : System
        The PACS.
    access : Access
        Who is asking.
    trail : AuditTrail
        Hears of each change.
    """

    def __init__(self, system: System, access: Access, trail: AuditTrail) -> None:
        self._system = system
        self.access = access
        self._accounts = access.accounts
        self._trail = trail

    @needs("configure")
    def add(self, name: str, role: str, password: str, full_name: str = "") -> User:
        """Open an account; what is kept of the password is salted and hashed (scrypt).

        Parameters
        ----------
        name : str
            Login.
        role : str
            One of `roles`.
        password : str
            At least 8 characters.
        full_name : str
            The person.

        Raises
        ------
        ConfigurationError
            If the name is taken or none, or the password is too short.
        NotFound
            If there is no such role.
        """
        self._accounts.rights(role)
        check_password(password)
        if not name or set(name) & set(" @\t\n"):
            raise ConfigurationError(f"{name!r} is no login.", "No spaces, no @.")
        if self._accounts.find(name) is not None:
            raise ConfigurationError(
                f"There is a user {name} already.", "pacs.users.table() lists them."
            )
        self._accounts.save(name, full_name or name, role, password)
        self._changed(f"user {name} added as {role}")
        return self._user(name)

    @needs("configure")
    def remove(self, name: str) -> None:
        """Close an account.

        Raises
        ------
        NotFound
            If there is none.
        """
        self._user(name)
        self._accounts.remove(name)
        self._changed(f"user {name} removed")

    @needs("configure")
    def set_password(self, name: str, password: str) -> None:
        """Give a user a new password; for the built-in administrator this opens the login.

        Raises
        ------
        ConfigurationError
            If it is too short.
        NotFound
            If there is no such user.
        """
        check_password(password)
        known = self._accounts.find(name)
        if known is None and name != CONSOLE_USER:
            raise self._unknown(name)
        role, full_name = (known.role, known.full_name) if known else ("administrator", name)
        self._accounts.save(name, full_name, role, password)
        self._changed(f"password of {name} changed")

    @needs("configure")
    def set_role(self, name: str, role: str) -> User:
        """Give a user another role.

        Raises
        ------
        NotFound
            If there is no such user or role.
        """
        self._user(name)
        self._accounts.rights(role)
        self._accounts.change(name, "role", role)
        self._changed(f"role of {name} changed to {role}")
        return self._user(name)

    @needs("configure")
    def unlock(self, name: str) -> User:
        """Let a locked user try again.

        Raises
        ------
        NotFound
            If there is no such user.
        """
        self._accounts.succeeded(self._user(name))
        self._changed(f"user {name} unlocked")
        return self._user(name)

    @needs("configure")
    def define_role(self, role: str, rights: Collection[str]) -> None:
        """Add a role, or change what one has the right to.

        Raises
        ------
        ConfigurationError
            If a right is none, or nobody could configure any more.
        """
        unknown = sorted(set(rights) - set(RIGHTS))
        if unknown:
            raise ConfigurationError(
                f"{', '.join(unknown)} is no right.", f"Rights: {', '.join(RIGHTS)}."
            )
        if role == "administrator" and not {"configure", "repair"} <= set(rights):
            raise ConfigurationError(
                "An administrator without the rights to configure and repair shuts himself out.",
                "Take them from another role.",
            )
        self._accounts.set_rights(role, rights)
        self._changed(f"role {role} may {', '.join(sorted(rights)) or 'nothing'}", "110136")

    @needs("configure")
    def configure(self, **changes: float) -> AccessPolicy:
        """Change the policy: ``attempts``, ``lock_minutes``, ``idle_minutes``.

        Raises
        ------
        ConfigurationError
            If it has no such value, or one that is not more than zero.
        """
        for name, value in changes.items():
            if name not in vars(AccessPolicy()) or value <= 0:
                raise ConfigurationError(
                    f"{name} = {value} is no policy.",
                    f"More than zero for {', '.join(vars(AccessPolicy()))}.",
                )
        self._accounts.set_policy(**changes)
        self._changed(f"access policy: {changes}", "110129")
        return self.policy

    @property
    def policy(self) -> AccessPolicy:
        """When an account is locked, and a session ends."""
        return self._accounts.policy

    def table(self) -> Table:
        """Return every user."""
        return user_table(self._accounts.all())

    def roles(self) -> Table:
        """Return every role with its rights."""
        names = self._accounts.names()
        rows = [
            (role, *("yes" if right in self._accounts.rights(role) else "" for right in RIGHTS))
            for role in names
        ]
        return Table(("role", *RIGHTS), rows, "Roles of the PACS and their rights")

    def _user(self, name: str) -> User:
        user = self._accounts.find(name)
        if user is None:
            raise self._unknown(name)
        return user

    def _unknown(self, name: str) -> NotFound:
        known = ", ".join(user.name for user in self._accounts.all()) or "none yet"
        return NotFound(f"The PACS has no user {name!r}.", f"Users: {known}.")

    def _changed(self, text: str, kind: str = "110137") -> None:
        self._system.note(text)
        by = self._trail.person(self.access.session.user)
        self._trail.alert(kind, text, by=by, about="users")
