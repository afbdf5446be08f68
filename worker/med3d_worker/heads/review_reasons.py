"""Review reasons between the pipeline's value and the contract's."""

from collections.abc import Iterable

from med3d_contract.results import Reason
from med3d_pipeline import reasons


def in_contract_terms(found: Iterable[reasons.Reason]) -> tuple[Reason, ...]:
    """Translate what the pipeline found for the results API."""
    return tuple(Reason(code=str(one.code), sentence=one.sentence) for one in found)


def in_pipeline_terms(told: Iterable[Reason]) -> tuple[reasons.Reason, ...]:
    """Translate what an earlier stage told, for the prediction to carry on."""
    return tuple(reasons.Reason(one.code, one.sentence) for one in told)
