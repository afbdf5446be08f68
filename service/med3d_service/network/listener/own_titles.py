"""AE titles that we are called by, each with its site, rules, priority, bundle and allow-list.

Without a file any title may be called, and all is as the settings say. Read from TOML and judged when a process starts.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, field_validator

from med3d_contract.results import Priority
from med3d_service.network.listener.admission import AllowList, InvalidCallerError
from med3d_service.network.peers.configuration import (
    AeTitle,
    ConfigurationError,
    Configured,
    ExistingFile,
    wrong_settings,
)
from med3d_service.settings import Settings
from med3d_service.studies.arrivals.routing import InvalidRulesError, RoutingRules, load_rules


class TitleTable(Configured):
    """One title; what is not stated is as the settings say. ``priority`` and ``bundle``: of rules that state none."""

    site: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    allowed: tuple[str, ...] | None = None
    rules_file: ExistingFile | None = None
    priority: Priority | None = None
    bundle: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None


class TitlesFile(Configured):
    """The file."""

    reject_others: bool = False
    ae: dict[AeTitle, TitleTable] = Field(default_factory=dict)

    @field_validator("ae", mode="before")
    @classmethod
    def _each_once(cls, tables: object) -> object:
        if isinstance(tables, dict) and len({str(name).strip(" ") for name in tables}) < len(tables):
            raise ValueError("one AE title has two tables: blanks before and after it do not count")
        return tables


@dataclass(frozen=True)
class OwnTitle:
    """Who may send to a title, and what becomes of what is sent."""

    site: str
    allowed: AllowList
    rules: RoutingRules


@dataclass(frozen=True)
class OwnTitles:
    """All titles. ``otherwise``: of a title that stands in no table; None: it is rejected."""

    titles: Mapping[str, OwnTitle]
    otherwise: OwnTitle | None

    def called(self, ae_title: str) -> OwnTitle | None:
        """Find the title that a sender calls; None where it is to be rejected."""
        return self.titles.get(ae_title, self.otherwise)

    @property
    def everybody(self) -> AllowList:
        """Whoever may send to any of them: known before a title is called."""
        several = [*self.titles.values(), *([] if self.otherwise is None else [self.otherwise])]
        return AllowList([caller for one in several for caller in one.allowed.callers])

    @property
    def rules(self) -> Mapping[str, RoutingRules]:
        """The rules by title."""
        return {name: one.rules for name, one in self.titles.items()}


def load_own_titles(settings: Settings) -> OwnTitles:
    """Read the titles. Raises ConfigurationError, InvalidCallerError, InvalidRulesError."""
    otherwise = OwnTitle(
        site=settings.site,
        allowed=AllowList.parse("MED3D_DICOM_ALLOWED", settings.dicom_allowed),
        rules=load_rules(settings.rules_file),
    )
    path = settings.ae_titles_file
    if path is None:
        return OwnTitles({}, otherwise)
    file = _read(path)
    if file.reject_others and not file.ae:
        raise ConfigurationError(f"the AE titles' file {path} is wrong: it rejects every title and names none")
    try:
        titles = {name: _title(name, table, otherwise) for name, table in file.ae.items()}
    except (InvalidCallerError, InvalidRulesError) as error:
        raise ConfigurationError(f"the AE titles' file {path} is wrong: {error}") from error
    return OwnTitles(titles, None if file.reject_others else otherwise)


def _read(path: Path) -> TitlesFile:
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
        return TitlesFile.model_validate(tables, context={"folder": path.absolute().parent})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the AE titles' file {path} cannot be read ({type(error).__name__})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the AE titles' file {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"the AE titles' file {path} is wrong: {wrong_settings(error)}") from error


def _title(name: str, table: TitleTable, otherwise: OwnTitle) -> OwnTitle:
    stated = table.allowed
    rules = otherwise.rules if table.rules_file is None else load_rules(table.rules_file)
    return OwnTitle(
        site=table.site or otherwise.site,
        allowed=otherwise.allowed if stated is None else AllowList.parse(f"ae.{name}.allowed", stated),
        rules=rules.with_defaults(table.priority, table.bundle),
    )
