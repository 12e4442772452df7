"""Programs outside of the hospital that the desk calls by a name, such as your own Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labsim.errors import ConfigurationError
from labsim.ids import is_ae_title
from labsim.systems.facility import Endpoint
from labsim.wire.network import LOOPBACK, Address


class Outside:
    """Whom the desk can call: the systems of the hospital, and what it was told of besides.

    Parameters
    ----------
    endpoints : callable
        Returns where the systems listen.
    """

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]]) -> None:
        self._systems = endpoints
        self._outside: dict[str, list[Endpoint]] = {}

    def know(self, name: str, *, ae_title: str, dicom_port: int = 0, http_port: int = 0) -> None:
        """Let the desk call a program on this machine by a name, until the hospital stops.

        For queries and retrieval the program has to know the desk, too:
        `hospital.tools.ae_title` at `hospital.tools.local_port`.

        Parameters
        ----------
        name : str
            For ``system=…`` of the tools.
        ae_title : str
            By which it is called.
        dicom_port, http_port : int
            Where it listens on the loopback interface, by DICOM and by DICOMweb (below
            ``/dicom-web``); 0 for not at all.

        Raises
        ------
        ConfigurationError
            If a system of the hospital has that name, or title or ports cannot be right.

        Examples
        --------
        >>> hospital.tools.know("orthanc", ae_title="ORTHANC", dicom_port=4242, http_port=8042)
        >>> hospital.tools.echoscu("orthanc")
        '0x0000 Success'
        """
        ports = {"dicom": dicom_port, "dicomweb": http_port}
        if not name or any(endpoint.system == name for endpoint in self._systems()):
            raise ConfigurationError(
                f"A program outside cannot be called {name!r}.",
                "Give a name that no system of the hospital has.",
            )
        if not is_ae_title(ae_title) or not any(ports.values()):
            raise ConfigurationError(
                f"{name} has the AE title {ae_title!r} and the ports {ports}.",
                "Give a title of 1 to 16 characters, and at least one port.",
            )
        if not all(0 <= port <= 65535 for port in ports.values()):
            raise ConfigurationError(f"{name} has the ports {ports}.", "Give 1 to 65535.")
        self._outside[name] = [
            Endpoint(name, protocol, Address(LOOPBACK, port), Address(LOOPBACK, port), ae_title)
            for protocol, port in ports.items()
            if port
        ]

    def _endpoints(self) -> list[Endpoint]:
        return [*self._systems(), *(e for known in self._outside.values() for e in known)]
