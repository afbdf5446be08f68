"""How far an answer may be relied on: by the model alone until a person says so, and what a person made of it."""

import hashlib
from datetime import datetime
from enum import StrEnum

from med3d_contract.results import Verdict
from med3d_service.results.reports.facts import ReportFacts


class Standing(StrEnum):
    """What a RIS is told of an answer."""

    PRELIMINARY = "preliminary"
    """no person has said anything"""
    FINAL = "final"
    """a person has accepted it"""
    CORRECTED = "corrected"
    """a person has accepted it, and it replaces an earlier answer"""
    WITHDRAWN = "withdrawn"
    """a person has rejected it, or wants another scan"""


def standing_of(facts: ReportFacts) -> Standing:
    """Tell how an answer stands."""
    if facts.verdict is None:
        return Standing.PRELIMINARY
    if facts.verdict.verdict is not Verdict.ACCEPTED:
        return Standing.WITHDRAWN
    return Standing.FINAL if facts.predecessor is None else Standing.CORRECTED


def stands_since(facts: ReportFacts) -> datetime:
    """Tell when that was said."""
    return facts.answered_at if facts.verdict is None else facts.verdict.given_at


def message_id(facts: ReportFacts, kind: str) -> str:
    """Name what is told: the same each time that the same is told again, 20 characters (HL7 v2, MSH-10)."""
    said = "" if facts.verdict is None else facts.verdict.verdict_id
    return hashlib.sha256(f"{facts.run_id}/{kind}/{said}".encode()).hexdigest()[:20]
