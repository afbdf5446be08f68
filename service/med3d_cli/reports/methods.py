"""A paragraph for a paper: what was done, by which versions, with digests."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from med3d_contract.results import BundleRef
from med3d_worker.analysis import AnalysedInput

SPACE = "MNI152NLin2009aSym"
DESCRIPTION = (
    "Brain age was estimated from T1-weighted images with InfoVAE-Med3D: brain extraction by two convolutional "
    "networks, bias field correction, affine registration to {space}, a code by the encoder of a 3D "
    "information-maximising variational autoencoder{dimension}, and support vector regression, averaged with "
    "convolutional networks that tell an age where the model's card names them; intervals are conformal{level}. "
    "Scans outside the model's limits of quality or far from its training cohort got no number."
)
CITATION = "InfoVAE-Med3D, version {version}. Model {models}. Method: InfoVAE-Med3D, arXiv:2510.00051."


@dataclass(frozen=True)
class Made:
    """An answer and the model that gave it."""

    answer: AnalysedInput
    bundle: BundleRef


def methods_paragraphs(made: Sequence[Made]) -> list[str]:
    """Return the paragraphs; of several models or versions each is named. Nothing where there is no answer."""
    if not made:
        return []
    found = [one.answer.provenance for one in made if one.answer.provenance]
    software = sorted({f"{name} {version}" for one in found for name, version in one.software.items()})
    prepared = sorted({one.preprocessing_digest for one in found if one.preprocessing_digest})
    results = [one.answer.result for one in made if one.answer.result]
    dimensions = sorted({one.latent.dimension for one in results if one.latent})
    levels = sorted({one.brain_age.interval.level for one in results})
    named = "; ".join(f"{one.name} {one.version} (SHA-256 {one.digest})" for one in _models(made))
    return [
        DESCRIPTION.format(
            space=SPACE,
            dimension=f" ({' or '.join(map(str, dimensions))} dimensions)" if dimensions else "",
            level=f" ({' or '.join(f'{100 * one:.0f} %' for one in levels)})" if levels else "",
        ),
        f"Model: {named}. Preprocessing: {', '.join(prepared) or 'none'}. Software: {', '.join(software)}.",
    ]


def citation(made: Sequence[Made]) -> str | None:
    """Return what to cite; None where there is no answer."""
    if not made:
        return None
    models = "; ".join(f"{one.name} {one.version}, SHA-256 {one.digest[:16]}" for one in _models(made))
    return CITATION.format(version=version("infovae-med3d"), models=models)


def _models(made: Sequence[Made]) -> list[BundleRef]:
    return sorted({one.bundle.digest: one.bundle for one in made}.values(), key=lambda one: (one.name, one.version))
