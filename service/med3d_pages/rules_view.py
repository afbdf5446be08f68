"""What the routing rules would do with a series: which of them decides, and why those before it do not."""

from dataclasses import dataclass

from med3d_pages.texts import Catalogue
from med3d_service.studies.arrivals.routing import RoutingRules
from med3d_service.studies.dicom_instances.instance_headers import InstanceHeaders

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


@dataclass(frozen=True)
class TypedSeries:
    """A series as somebody describes it; what is empty is absent."""

    modality: str
    description: str
    body_part: str
    sender: str
    age: str


@dataclass(frozen=True)
class RuleAnswer:
    """What would happen, in words, and what speaks against each rule before the one that decides."""

    runs: bool
    sentence: str
    misfits: tuple[tuple[str, str], ...]


def try_rules(rules: RoutingRules, typed: TypedSeries, t: Catalogue) -> RuleAnswer:
    """Judge a described series as an arriving one."""
    found = rules.judge(_headers(typed), typed.sender)
    rule = found.rule
    if rule is None:
        sentence = t("pacs.rules.none")
    elif rule.action == "ignore":
        sentence = t("pacs.rules.ignored", rule=rule.name)
    else:
        sentence = t("pacs.rules.runs", rule=rule.name, priority=t(f"urgency.{rule.priority}"))
    if found.absent:
        sentence += " " + t("pacs.rules.absent", what=", ".join(found.absent))
    return RuleAnswer(found.is_wanted, sentence, found.misfits)


def _headers(typed: TypedSeries) -> InstanceHeaders:
    years = typed.age.strip()
    return InstanceHeaders(
        sop_class_uid=MR_IMAGE,
        sop_uid="",
        study_uid="",
        series_uid="",
        patient_id="",
        issuer="",
        patient_name="",
        patient_sex="",
        accession_number="",
        character_set="",
        modality=typed.modality,
        body_part=typed.body_part,
        description=typed.description,
        protocol="",
        patient_age=f"{int(years):03}Y" if years.isdecimal() and len(years) < 4 else "",
        birth_date="",
        study_date="",
        dataset_offset=0,
    )
