"""The description of a hospital, as data: which systems, their titles, who talks to whom."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from labsim.errors import ConfigurationError
from labsim.ids import is_ae_title


def _ae_title(text: str) -> str:
    if not is_ae_title(text):
        raise ValueError(f"{text!r} is no AE title: 1 to 16 characters, no backslash")
    return text


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HisSite(_Part):
    """The hospital information system."""

    host: Name
    hl7_port: Port
    application: str
    orders_to: Literal["ris"]


class RisSite(_Part):
    """The radiology information system."""

    host: Name
    hl7_port: Port
    dicom_port: Port
    application: str
    ae_title: AeTitle
    orders_to: Literal["pacs"]
    results_to: Literal["his"]


class PacsSite(_Part):
    """The picture archive."""

    host: Name
    hl7_port: Port
    dicom_port: Port
    application: str
    ae_title: AeTitle


class ModalitySite(_Part):
    """One scanner."""

    name: Name
    kind: Literal["CT", "MR", "DX", "CR", "MG", "US"]
    host: Name
    dicom_port: Port
    ae_title: AeTitle
    worklist: Literal["ris"]
    archive: Literal["pacs"]


class ImporterSite(_Part):
    """Where discs from other hospitals are read."""

    host: Name
    dicom_port: Port
    ae_title: AeTitle
    worklist: Literal["ris"]
    archive: Literal["pacs"]


class DeskSite(_Part):
    """The administrator's desk."""

    host: Name
    dicom_port: Port
    ae_title: AeTitle


_DicomSite = RisSite | PacsSite | ModalitySite | ImporterSite | DeskSite


class Site(_Part):
    """One hospital. `Site.load` reads it from a TOML file."""

    name: Name
    institution: str
    issuer: str
    his: HisSite
    ris: RisSite
    pacs: PacsSite
    modalities: list[ModalitySite] = Field(min_length=1)
    importer: ImporterSite | None = None
    desk: DeskSite

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for kind, values in self._unique().items():
            for value in values:
                if values.count(value) > 1:
                    raise ValueError(f"two systems have the {kind} {value!r}")
        return self

    def _unique(self) -> dict[str, list[str]]:
        """Return what no two systems may share."""
        dicom: list[_DicomSite] = [self.ris, self.pacs, self.desk, *self.modalities]
        dicom += [self.importer] if self.importer else []
        hl7: list[HisSite | RisSite | PacsSite] = [self.his, self.ris, self.pacs]
        return {
            "name": [
                "his",
                "ris",
                "pacs",
                "importer",
                "desk",
                *(part.name for part in self.modalities),
            ],
            "AE title": [part.ae_title for part in dicom],
            "HL7 application": [part.application for part in hl7],
            "address": [
                *(f"{part.host}:{part.dicom_port}" for part in dicom),
                *(f"{part.host}:{part.hl7_port}" for part in hl7),
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
            return cls.model_validate(tomllib.loads(_read(site)))
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
