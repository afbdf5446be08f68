"""The card of the bundle that a worker carries, left in the store for the pages that show models."""

from med3d_contract.bundle_cards import BundleCard, CardTraining, bundle_card_key
from med3d_pipeline.inference.manifest import Manifest
from med3d_worker.heads.tensors import Store


def bundle_card(manifest: Manifest, signed_by: str | None, *, explains: bool) -> BundleCard:
    """Make the card out of what the bundle says of itself."""
    return BundleCard(
        name=manifest.name,
        version=manifest.version,
        digest=manifest.digest,
        description=manifest.description,
        intended_use=manifest.intended_use,
        limits=manifest.limits,
        licence=manifest.licence,
        training=CardTraining.model_validate(manifest.training_data.model_dump()),
        interval_level=manifest.decision.interval_level,
        review_percentile=manifest.decision.review_percentile,
        sdmt_evidence=None if manifest.sdmt is None else manifest.sdmt.evidence,
        metrics=manifest.metrics,
        signed_by=signed_by,
        explains=explains,
    )


def publish_card(store: Store, card: BundleCard) -> None:
    """Leave the card. One of a worker that trusts no key says nothing against one that names the key."""
    key = bundle_card_key(card.digest)
    if card.signed_by is not None or store.head(key) is None:
        store.put(key, card.model_dump_json().encode())
