"""A paragraph for a paper: what was done, by which versions, with digests."""

from collections.abc import Sequence

from med3d_cli.bids.derivative import SPACE
from med3d_cli.bids.group_rows import GroupRow

DESCRIPTION = (
    "Brain age was estimated from T1-weighted images with InfoVAE-Med3D: brain extraction by two convolutional "
    "networks, bias field correction, affine registration to {space}, a code by the encoder of a 3D "
    "information-maximising variational autoencoder{dimension}, and support vector regression; intervals are "
    "conformal{level}. Scans outside the model's limits of quality or far from its training cohort got no number."
)
UNLISTED = (
    "The model does not list the scans that it learned from: scans of its training cohort cannot be told here, look "
    "better than new ones, and must not be counted in accuracy."
)


def methods_paragraphs(rows: Sequence[GroupRow]) -> list[str]:
    """Return the paragraphs; of several models or versions each is named. Nothing where there is no answer."""
    answers = [row.answer for row in rows if row.answer is not None]
    if not answers:
        return []
    models = sorted({(one.basis.bundle.name, one.basis.bundle.version, one.basis.bundle.digest) for one in answers})
    software = sorted({f"{name} {version}" for one in answers if one.provenance
                       for name, version in one.provenance.software.items()})  # fmt: skip
    prepared = sorted({one.provenance.preprocessing_digest for one in answers
                       if one.provenance and one.provenance.preprocessing_digest})  # fmt: skip
    named = "; ".join(f"{name} {version} (SHA-256 {digest})" for name, version, digest in models)
    results = [one.result for one in answers if one.result]
    dimensions = sorted({one.latent.dimension for one in results if one.latent})
    levels = sorted({one.brain_age.interval.level for one in results})
    return [
        DESCRIPTION.format(
            space=SPACE,
            dimension=f" ({' or '.join(map(str, dimensions))} dimensions)" if dimensions else "",
            level=f" ({' or '.join(f'{100 * one:.0f} %' for one in levels)})" if levels else "",
        ),
        f"Model: {named}. Preprocessing: {', '.join(prepared) or 'none'}. Software: {', '.join(software)}.",
    ]
