"""What a model bundle says of itself for people: whom it was trained on, how well it does, where its intervals hold.

A worker leaves it in the store beside the reference cohort, for the service holds no bundle. It names nobody.
"""

from pydantic import Field

from med3d_contract.results import Frozen


class CardTraining(Frozen):
    """Whom the model was trained on."""

    name: str
    description: str
    source: str
    licence: str
    subjects: int
    age_range_years: tuple[float, float]
    field_strengths_t: tuple[float, ...]
    vendors: tuple[str, ...]


class BundleCard(Frozen):
    """The manifest's words and figures. signed_by: the trusted key's name; None where the worker asks for none."""

    name: str
    version: str
    digest: str
    description: str
    intended_use: str
    limits: tuple[str, ...]
    licence: str
    training: CardTraining
    interval_level: float
    review_percentile: float
    sdmt_evidence: str | None = Field(description="the labels that the SDMT head learned from")
    metrics: dict[str, float]
    signed_by: str | None
    explains: bool | None = Field(None, description="whether it can explain a number; null: an older worker's card")


def bundle_card_key(bundle_digest: str) -> str:
    """Return where a bundle's card lies in the store."""
    return f"bundles/{bundle_digest}/card.json"
