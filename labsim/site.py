"""The description of a hospital, as data: which systems, their titles, who talks to whom."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from labsim.channels import ChannelSpec, require_consistent
from labsim.errors import ConfigurationError
from labsim.ids import is_ae_title


def _ae_title(text: str) -> str:
    if not is_ae_title(text):
        raise ValueError(f"{text!r} is no AE title: 1 to 16 characters, no backslash")
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HisSite(_Part):
    """The hospital information system."""

    host: Name
    hl7_port: Port
    application: str
    orders_to: Literal["ris", "engine"]
    order_message: Literal["ORM^O01", "OMG^O19"] = "ORM^O01"


class _DicomPart(_Part):
    """What listens by DICOM, and by TLS too if the site says so."""

    host: Name
    dicom_port: Port
    dicom_tls_port: Port = 2762  # IANA: dicom-tls
    ae_title: AeTitle


class RisSite(_DicomPart):
    """The radiology information system."""

    hl7_port: Port
    application: str
    orders_to: Literal["pacs", "engine"]
    results_to: Literal["his", "engine"]
    order_message: Literal["ORM^O01", "OMI^O23"] = "ORM^O01"


class PacsSite(_DicomPart):
    """The picture archive."""

    hl7_port: Port
    http_port: Port = 8080
    application: str


class ArchiveSite(PacsSite):
    """The vendor neutral archive, where studies are kept for good."""


class StandbySite(_Part):
    """Where a replica of the PACS is kept, to take its place; a port that the PACS has not."""

    host: Name
    http_port: Port = 8090


class WorkstationSite(_Part):
    """Where a radiologist looks at images."""

    name: Name
    host: Name
    dicom_port: Port
    ae_title: AeTitle
    archive: Literal["pacs"]


class RouteSite(_Part):
    """What the PACS sends on by itself before anybody has configured it.

    `images` are the conditions of a route, such as ``{Modality = "CT"}``; a
    study is sent when nothing more of it has come for `quiet` seconds. One that is
    not `enabled` waits for ``hospital.pacs.routes.enable("ai")``.
    """

    quiet: float = Field(gt=0)
    enabled: bool = True
    images: dict[str, str] = Field(min_length=1)


class AiSite(_DicomPart):
    """A computer that looks at images by itself; with a `route` they are sent to it at first."""

    http_port: Port = 8080
    archive: Literal["pacs"]
    route: RouteSite | None = None


class EngineSite(_Part):
    """The integration engine between the others, with its channels.

    A file names a set of channels that comes with the lab
    (``channels = "standard"``) or a TOML file beside it, or holds them itself.
    Of a named set, a destination that has ``only_with = "archive"`` is left out at a
    site without an archive.
    """

    host: Name
    hl7_port: Port
    application: str
    tables: dict[Name, dict[str, str]] = {}
    channels: list[ChannelSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        require_consistent(self.channels, self.tables)
        return self


class ModalitySite(_DicomPart):
    """One scanner."""

    name: Name
    kind: Literal["CT", "MR", "DX", "CR", "MG", "US"]
    worklist: Literal["ris"]
    archive: Literal["pacs"]
    opens: TimeOfDay = "00:00"
    closes: TimeOfDay = "24:00"


class ImporterSite(_DicomPart):
    """Where discs from other hospitals are read."""

    worklist: Literal["ris"]
    archive: Literal["pacs"]


class AuditSite(_Part):
    """The audit repository, and how messages go there."""

    host: Name
    syslog_port: Port = 514
    transport: Literal["tcp", "udp"] = "tcp"


class TlsSite(_Part):
    """Where connections are encrypted, and both ends prove who they are.

    Parameters
    ----------
    dicom : bool
        Whether the archives listen by TLS too, on a port of its own (PS3.15 B.12).
    dicom_calls : bool
        Whether all others do so, too, and the systems call each other there.
    mllp, http : bool
        Whether HL7 (IHE ITI-19), and DICOMweb and replication, go by TLS only.
    mutual : bool
        Whether a caller must show a certificate.
    """

    dicom: bool = True
    dicom_calls: bool = False
    mllp: bool = False
    http: bool = False
    mutual: bool = True

    @model_validator(mode="after")
    def _calls_are_answered(self) -> Self:
        if self.dicom_calls and not self.dicom:
            raise ValueError("with dicom_calls, archives are called by TLS: dicom must be true")
        return self


class DeskSite(_Part):
    """The administrator's desk."""

    host: Name
    dicom_port: Port
    ae_title: AeTitle


class SegmentSite(_Part):
    """A part of the network (VLAN) with its addresses, and the hosts that stand in it.

    A host is named, or by a pattern (``ct*``); the first segment takes those
    that none names.
    """

    name: Name
    vlan: Annotated[int, Field(ge=1, le=4094)]
    network: IPv4Network
    hosts: list[str] = []


# What a part listens with: the name of its port, and of the place for a fixed loopback port.
PORTS = {
    "hl7_port": "mllp",
    "dicom_port": "dicom",
    "dicom_tls_port": "dicom-tls",
    "http_port": "http",
    "syslog_port": "syslog",
}


class Site(_Part):
    """One hospital. `Site.load` reads it from a TOML file."""

    name: Name
    institution: str
    issuer: str
    his: HisSite
    ris: RisSite
    pacs: PacsSite
    engine: EngineSite | None = None
    modalities: list[ModalitySite] = Field(min_length=1)
    archive: ArchiveSite | None = None
    standby: StandbySite | None = None
    workstations: list[WorkstationSite] = []
    ai: AiSite | None = None
    importer: ImporterSite | None = None
    desk: DeskSite
    tls: TlsSite | None = None
    audit: AuditSite | None = None
    segments: list[SegmentSite] = []

    def parts(self) -> dict[str, BaseModel]:
        """Return what each system, and the desk, is described with, by its name."""
        known = {
            "his": self.his,
            "ris": self.ris,
            "pacs": self.pacs,
            "engine": self.engine,
            "archive": self.archive,
            "standby": self.standby,
            "ai": self.ai,
            "importer": self.importer,
            "audit": self.audit,
            "desk": self.desk,
        }
        return {
            **{name: part for name, part in known.items() if part is not None},
            **{part.name: part for part in self.modalities},
            **{part.name: part for part in self.workstations},
        }

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for kind, values in self._unique().items():
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"two systems have the {kind} {value!r}")
        return self

    @model_validator(mode="after")
    def _the_standby_has_room(self) -> Self:
        own = {getattr(self.pacs, port) for port in PORTS if hasattr(self.pacs, port)}
        if self.standby is not None and self.standby.http_port in own:
            raise ValueError(
                "the standby listens at a port that the PACS needs when it moves there"
            )
        return self

    @model_validator(mode="after")
    def _ways_end_somewhere(self) -> Self:
        ways = [self.his.orders_to, self.ris.orders_to, self.ris.results_to]
        if self.engine is None and "engine" in ways:
            raise ValueError("something is sent to the engine, and the site has none")
        return self

    @model_validator(mode="after")
    def _segments_apart(self) -> Self:
        hosts = {part.host for part in self.parts().values()}  # type: ignore[attr-defined]
        for number, one in enumerate(self.segments):
            if one.name in hosts or one.name == "any":
                raise ValueError(f"the segment {one.name!r} needs a name that no host has")
            for other in self.segments[:number]:
                if one.network.overlaps(other.network) or one.vlan == other.vlan:
                    raise ValueError(f"the segments {other.name!r} and {one.name!r} overlap")
        return self

    def hl7_place(self, system: Literal["his", "ris", "pacs", "engine"]) -> tuple[str, int]:
        """Return host and port where a system takes HL7 in."""
        part = {"his": self.his, "ris": self.ris, "pacs": self.pacs, "engine": self.engine}[system]
        assert part is not None, "checked when the site was read"
        return part.host, part.hl7_port

    @property
    def security(self) -> TlsSite:
        """What goes by TLS; nothing if the site does not say."""
        return self.tls or TlsSite(dicom=False)

    def dicom_place(self, part: BaseModel) -> tuple[str, str, int, bool]:
        """Return by which AE title, host and port a part is called by DICOM, and whether by TLS."""
        called: Any = part
        if self.security.dicom_calls and hasattr(part, "dicom_tls_port"):
            return called.ae_title, called.host, called.dicom_tls_port, True
        return called.ae_title, called.host, called.dicom_port, False

    def _listens(self, part: BaseModel, port: str) -> bool:
        if port == "dicom_tls_port" and not isinstance(part, PacsSite):
            return self.security.dicom_calls
        return True

    def _unique(self) -> dict[str, list[str]]:
        """Return what no two systems may share."""
        parts = self.parts().values()
        names = [
            "his",
            "ris",
            "pacs",
            "engine",
            "archive",
            "standby",
            "ai",
            "importer",
            "audit",
            "desk",
        ]
        return {
            "name": [
                *names,
                *(part.name for part in self.modalities),
                *(part.name for part in self.workstations),
            ],
            "segment": [segment.name for segment in self.segments],
            "AE title": [part.ae_title for part in parts if hasattr(part, "ae_title")],
            "HL7 application": [part.application for part in parts if hasattr(part, "application")],
            "address": [
                f"{part.host}:{getattr(part, port)}"  # type: ignore[attr-defined]
                for part in parts
                for port in PORTS
                if hasattr(part, port) and self._listens(part, port)
            ],
        }

    @classmethod
    def load(cls, site: str | Path) -> Site:
        """Read a site description.

        Parameters
        ----------
        site : str or Path
            The name of a site that comes with the lab, or a TOML file.

        Raises
        ------
        ConfigurationError
            If there is none, or it is not right; the message names each place.
        """
        try:
            described = tomllib.loads(_read(site))
            _add_channels(described, site)
            return cls.model_validate(described)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The site {site} is not TOML: {error}.") from error
        except ValidationError as error:
            found = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'site'}: {problem['msg']}"
                for problem in error.errors()
            )
            raise ConfigurationError(
                f"The site {site} is not right. {found}.",
                "Compare it with labsim/sites/clinic.toml.",
            ) from error


def site_names() -> list[str]:
    """Return the names of the sites that come with the lab."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in files("labsim.sites").iterdir()
        if entry.name.endswith(".toml")
    )


def _add_channels(described: dict[str, Any], site: str | Path) -> None:
    """Put the channels in the place where a site only names them."""
    engine = described.get("engine")
    if not isinstance(engine, dict) or not isinstance(name := engine.get("channels"), str):
        return
    beside = Path(site).parent / name
    shipped = files("labsim.sites") / "channels" / f"{name}.toml"
    if beside.suffix == ".toml" and beside.is_file():
        text = beside.read_text(encoding="utf-8")
    elif shipped.is_file():
        text = shipped.read_text(encoding="utf-8")
    else:
        raise ConfigurationError(
            f"The site {site} names channels {name!r}, and there are none.",
            'Name "standard", or a .toml file beside the site\'s.',
        )
    engine |= {"channels": [], **tomllib.loads(text)}
    for channel in engine["channels"]:
        channel["destinations"] = [
            destination
            for destination in channel.get("destinations", [])
            if destination.pop("only_with", "") in ("", *described)
        ]


def _read(site: str | Path) -> str:
    if str(site) in site_names():
        return (files("labsim.sites") / f"{site}.toml").read_text(encoding="utf-8")
    path = Path(site)
    if path.suffix == ".toml" and path.is_file():
        return path.read_text(encoding="utf-8")
    raise ConfigurationError(
        f"There is no site {str(site)!r}.",
        f"Sites that come with the lab: {', '.join(site_names())}; or give a .toml file.",
    )
