"""Routing rules: which arriving series are worth a run, with which priority and bundle (TOML, docs/pacs-in.md).

The first rule that fits an instance decides; where none fits, nobody wants it. Without a file every MR image is wanted.
Rules are judged at the instance's arrival, so that nothing that identifies need be kept for them.
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from med3d_contract.ages import chronological_age
from med3d_contract.results import Priority
from med3d_service.studies.dicom_instances.instance_headers import InstanceHeaders

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
AgeYears = Annotated[float, Field(ge=0, le=120)]


class InvalidRulesError(ValueError):
    """The rules file cannot be used; the message says where and why."""


class Rule(BaseModel):
    """One rule: all that it states must fit. Patterns are shell patterns (``*mprage*``), whatever the case.

    What an instance does not state is never a reason to ignore it: it fits a rule that runs, and none that ignores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    action: Literal["run", "ignore"] = "run"
    priority: Priority = Priority.ROUTINE
    bundle: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None
    modality: tuple[Pattern, ...] | None = None
    body_part: tuple[Pattern, ...] | None = None
    description: tuple[Pattern, ...] | None = Field(None, description="SeriesDescription or ProtocolName")
    not_description: tuple[Pattern, ...] | None = None
    ae_title: tuple[Pattern, ...] | None = Field(None, description="calling AE title, or name of the peer")
    age_years: tuple[AgeYears, AgeYears] | None = Field(None, description="lowest and highest")

    @model_validator(mode="after")
    def _ages_in_order(self) -> "Rule":
        if self.age_years is not None and self.age_years[0] > self.age_years[1]:
            raise ValueError("age_years must be the lowest and then the highest age")
        if self.action == "ignore" and self.bundle is not None:
            raise ValueError("a rule that ignores has no bundle")
        return self

    def with_defaults(self, priority: Priority | None, bundle: str | None) -> "Rule":
        """Return the same rule, with what it does not state itself."""
        given = {"priority": priority, "bundle": bundle} if self.action == "run" else {}
        news = {name: value for name, value in given.items() if value and name not in self.model_fields_set}
        return self.model_copy(update=news)

    def misfit(self, headers: InstanceHeaders, ae_title: str) -> str | None:
        """Name what does not fit; None where all does."""
        for name, fits in self._conditions(headers, ae_title):
            if fits is False:
                return name
            if fits is None and self.action == "ignore":
                return f"{name} is absent"
        return None

    def absent(self, headers: InstanceHeaders, ae_title: str) -> tuple[str, ...]:
        """Name the conditions about which the instance says nothing."""
        return tuple(name for name, fits in self._conditions(headers, ae_title) if fits is None)

    def _conditions(self, headers: InstanceHeaders, ae_title: str) -> Iterator[tuple[str, bool | None]]:
        """Return each condition that the rule states, and whether it fits; None where the attribute is absent."""
        texts = [text for text in (headers.description, headers.protocol) if text]
        stated = (
            ("modality", self.modality, [headers.modality] if headers.modality else []),
            ("body_part", self.body_part, [headers.body_part] if headers.body_part else []),
            ("description", self.description, texts),
        )
        for name, patterns, told in stated:
            if patterns is not None:
                yield name, _fits(patterns, told) if told else None
        if self.not_description is not None:
            yield "not_description", not _fits(self.not_description, texts) if texts else None
        if self.ae_title is not None:
            yield "ae_title", _fits(self.ae_title, [ae_title])
        if self.age_years is not None:
            yield "age_years", _within(self.age_years, headers)


class _RulesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rule: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Verdict:
    """What the rules say of an instance. ``rule``: which one decided; None: none fits."""

    rule: Rule | None
    misfits: tuple[tuple[str, str], ...]  # of the rules before it: name, and what did not fit
    absent: tuple[str, ...] = ()  # conditions of the rule that decided, of which the instance says nothing

    @property
    def is_wanted(self) -> bool:
        """Whether it is worth a run."""
        return self.rule is not None and self.rule.action == "run"


@dataclass(frozen=True)
class RoutingRules:
    """The rules in their order."""

    rules: Sequence[Rule]

    def judge(self, headers: InstanceHeaders, ae_title: str) -> Verdict:
        """Find the first rule that fits."""
        misfits: list[tuple[str, str]] = []
        for rule in self.rules:
            misfit = rule.misfit(headers, ae_title)
            if misfit is None:
                return Verdict(rule, tuple(misfits), rule.absent(headers, ae_title))
            misfits.append((rule.name, misfit))
        return Verdict(None, tuple(misfits))

    def with_defaults(self, priority: Priority | None, bundle: str | None) -> "RoutingRules":
        """Return the same rules, with a priority and a bundle for those that run and state none."""
        return RoutingRules([rule.with_defaults(priority, bundle) for rule in self.rules])


EVERY_MR = RoutingRules((Rule(name="every MR image", modality=("MR",)),))


def load_rules(path: Path | None) -> RoutingRules:
    """Read the rules of ``path``, or take EVERY_MR where there is none. Raises InvalidRulesError."""
    if path is None:
        return EVERY_MR
    try:
        rules = _RulesFile.model_validate(tomllib.loads(path.read_text("utf-8-sig"))).rule
    except OSError as error:
        raise InvalidRulesError(f"the rules file cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRulesError(f"the rules file is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidRulesError(f"the rules file cannot be used: {place}: {first['msg']}") from error
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise InvalidRulesError("the rules file gives two rules the same name")
    return RoutingRules(rules)


def _fits(patterns: Sequence[str], texts: Sequence[str]) -> bool:
    return any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns for text in texts)


def _within(ages: tuple[float, float], headers: InstanceHeaders) -> bool | None:
    age = chronological_age(
        birth_date=headers.birth_date,
        study_date=headers.study_date,
        patient_age=headers.patient_age,
        beside=headers.dates_beside,
    )
    return None if age is None else ages[0] <= age.years <= ages[1]
