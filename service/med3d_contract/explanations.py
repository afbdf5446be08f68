"""Why a brain age is what it is: years by region, and a picture of the head as the decoder would have it older."""

from typing import Annotated

from pydantic import Field, StringConstraints

from med3d_contract.results import Frozen

RegionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z ]{0,60}$")]
SENTENCE = (
    "This is what the model's decoder and regression believe, not what will become of this head; for research use. "
    "A region that adds years is no finding."
)


class RegionShare(Frozen):
    """Years that a group of regions adds to the brain age gap, beside heads of that age."""

    region: RegionName
    years: float
    usual_spread_years: float = Field(ge=0, description="standard deviation of these years among the training heads")


class RegionShares(Frozen):
    """The gap by region. ``total_years`` is the sum of all and of ``rest_years``, which no region explains."""

    age_years: float | None = Field(
        description="age that the estimate is held against; null: none is known, and it is the training heads' mean age"
    )
    total_years: float = Field(description="the model's own gap, what age alone explains of it taken out")
    rest_years: float
    regions: tuple[RegionShare, ...]


class VentricleVolumes(Frozen):
    """Millilitres of fluid where ventricles may be, on the model's own grid, which knows small volumes but roughly."""

    younger: float
    now: float
    older: float


class Explanation(Frozen):
    """What can be said beside an estimate's numbers. ``shares``: null where the bundle holds no table of regions."""

    step_years: float = Field(description="years by which the decoder makes the head older and younger")
    shares: RegionShares | None
    ventricles_ml: VentricleVolumes | None
    sentence: str = SENTENCE


class ExplanationPicture(Frozen):
    """Three planes of the head: younger, as it is, older, and what changes; radiological view, template space."""

    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)
    png_base64: Annotated[str, StringConstraints(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$", max_length=2_000_000)]


class StoredExplanation(Frozen):
    """What lies in the store of an explanation, as JSON; it holds no identifier, but pixels of the brain."""

    explanation: Explanation
    picture: ExplanationPicture


def explanation_key(run_id: str) -> str:
    """Tell where a run's explanation lies in the store: in a folder of the run, so that an erasure finds it."""
    return f"explanations/{run_id}/explanation.json"
