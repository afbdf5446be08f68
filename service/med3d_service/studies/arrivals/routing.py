"""Routing rules: which arriving series are worth a run, with which priority and bundle (TOML, docs/pacs-in.md).

The first rule that fits an instance decides; where none fits, nobody wants it. Without a file every MR image is wanted.
Rules are judged at the instance's arrival, so that nothing that identifies need be kept for them.
"""

import tomllib
from collections.abc import Sequence
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
    """One rule: all that it states must fit. Patterns are shell patterns (``*mprage*``), whatever the case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    action: Literal["run", "ignore"] = "run"
    priority: Priority = Priority.ROUTINE
    bundle: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None
    modality: tuple[Pattern, ...] | None = None
    body_part: tuple[Pattern, ...] | None = Field(None, description="a series that states none fits, too")
    description: tuple[Pattern, ...] | None = Field(None, description="SeriesDescription or ProtocolName")
    not_description: tuple[Pattern, ...] | None = None
    ae_title: tuple[Pattern, ...] | None = Field(None, description="calling AE title, or name of the peer")
    age_years: tuple[AgeYears, AgeYears] | None = Field(None, description="lowest and highest; unknown ages fit not")

    @model_validator(mode="after")
    def _ages_in_order(self) -> "Rule":
        if self.age_years is not None and self.age_years[0] > self.age_years[1]:
            raise ValueError("age_years must be the lowest and then the highest age")
        if self.action == "ignore" and self.bundle is not None:
            raise ValueError("a rule that ignores has no bundle")
        return self

    def misfit(self, headers: InstanceHeaders, ae_title: str) -> str | None:
        """Name what does not fit; None where all does."""
        texts = [headers.description, headers.protocol]
        checks = (
            ("modality", self.modality is None or _fits(self.modality, [headers.modality])),
            (
                "body_part",
                self.body_part is None or not headers.body_part or _fits(self.body_part, [headers.body_part]),
            ),
            ("description", self.description is None or _fits(self.description, texts)),
            ("not_description", self.not_description is None or not _fits(self.not_description, texts)),
            ("ae_title", self.ae_title is None or _fits(self.ae_title, [ae_title])),
            ("age_years", self.age_years is None or _within(self.age_years, headers)),
        )
        return next((name for name, fits in checks if not fits), None)


class _RulesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    rule: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Verdict:
    """What the rules say of an instance. ``rule``: which one decided; None: none fits."""

    rule: Rule | None
    misfits: tuple[tuple[str, str], ...]  # of the rules before it: name, and what did not fit

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
                return Verdict(rule, tuple(misfits))
            misfits.append((rule.name, misfit))
        return Verdict(None, tuple(misfits))


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


def _within(ages: tuple[float, float], headers: InstanceHeaders) -> bool:
    age = chronological_age(
        birth_date=headers.birth_date, study_date=headers.study_date, patient_age=headers.patient_age
    )
    return age is not None and ages[0] <= age.years <= ages[1]
