"""Which model bundles there are: those in the folders of the settings, and those that workers carry."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from med3d_contract.results import BundleRef
from med3d_service.problems import ServiceError
from med3d_service.storage.database import now_of
from med3d_service.storage.guard import after_commit, guard_of, is_genuine
from med3d_service.storage.tables import BundleRow


def read_bundle_dir(path: Path) -> BundleRef:
    """Read name, version and digest of the bundle in a folder.

    The digest is the sha256 of manifest.json as canonical JSON (sorted keys, no spaces, UTF-8), as the workers compute
    it. Raises OSError or ValueError where there is no readable manifest.
    """
    manifest = json.loads((path / "manifest.json").read_bytes())
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return BundleRef(name=str(manifest["name"]), version=str(manifest["version"]), digest=digest)


def register_bundles(session: Session, refs: Iterable[BundleRef]) -> None:
    """Add those that are new. The first one ever is the default until another is made so.

    A row that was changed past the service is told of, and written anew as who carries the bundle names it.
    """
    known = {row.digest: row for row in session.scalars(select(BundleRow))}
    has_default = any(row.is_default for row in known.values())
    chosen = _chosen_default(session)
    for ref in refs:
        row = known.get(ref.digest)
        if row is not None:
            _renew_forged(session, row, ref, chosen)
            continue
        is_default = not has_default if not chosen else ref.digest == chosen
        now = now_of(session)
        known[ref.digest] = BundleRow(
            digest=ref.digest, name=ref.name, version=ref.version, first_seen_at=now, is_default=is_default
        )
        session.add(known[ref.digest])
        session.flush()
        if is_default and not chosen:
            _note_default(session, ref.digest)
        has_default = has_default or is_default


def _chosen_default(session: Session) -> str:
    guard = guard_of(session)
    return "" if guard is None else guard.counter.read().default_bundle


def _renew_forged(session: Session, row: BundleRow, ref: BundleRef, chosen: str) -> None:
    guard = guard_of(session)
    if guard is None or guard.is_genuine(row):
        return
    row.name, row.version, row.preprocessing_digest = ref.name, ref.version, None
    row.is_default = ref.digest == chosen
    row.seal = guard.seal_of(row)
    session.flush()


def note_preprocessing(session: Session, digests: Mapping[str, str]) -> None:
    """Keep what workers say of how each bundle preprocesses."""
    for bundle in session.scalars(select(BundleRow).where(BundleRow.digest.in_(digests))):
        bundle.preprocessing_digest = digests[bundle.digest]


def make_default(session: Session, bundle: BundleRow) -> None:
    """Let runs use ``bundle`` where none is asked for, and again where it had been retired."""
    for row in session.scalars(select(BundleRow)):
        row.is_default = row.digest == bundle.digest
    _note_default(session, bundle.digest)


def retire_bundle(session: Session, bundle: BundleRow) -> None:
    """Start no run with ``bundle`` any more. Raises ServiceError("bundle_in_use") for the default one."""
    if bundle.is_default:
        raise ServiceError("bundle_in_use")
    if bundle.digest not in retired_bundles(session):
        at = now_of(session)
        after_commit(session, lambda counter: counter.retire_bundle(bundle.digest, at))


def retired_bundles(session: Session) -> Mapping[str, float]:
    """Tell which bundles are not used any more, and since when, by digest."""
    guard = guard_of(session)
    return {} if guard is None else guard.counter.read().retired


def find_bundle_for_run(session: Session, wanted: str | None) -> BundleRow:
    """Find a bundle that a run may be started with. Raises ServiceError: those of find_bundle, bundle_retired."""
    found = find_bundle(session, wanted)
    if found.digest in retired_bundles(session):
        raise ServiceError("bundle_retired")
    return found


def find_bundle(session: Session, wanted: str | None) -> BundleRow:
    """Find a bundle by digest, ``name@version`` or name (the newest known); the default for None.

    Raises ServiceError: unknown_bundle, no_bundle.
    """
    if wanted is None:
        default = session.scalars(select(BundleRow).where(BundleRow.is_default)).first()
        if default is None:
            raise ServiceError("no_bundle")
        return _required_genuine(session, default)
    name, _, version = wanted.partition("@")
    query = select(BundleRow).where((BundleRow.digest == wanted) | (BundleRow.name == name))
    if version:
        query = query.where(BundleRow.version == version)
    found = session.scalars(query.order_by(BundleRow.is_default.desc(), BundleRow.first_seen_at.desc())).first()
    if found is None:
        raise ServiceError("unknown_bundle")
    if not is_genuine(session, found):
        raise ServiceError("bundle_forged")
    return found


def _required_genuine(session: Session, default: BundleRow) -> BundleRow:
    """Return the default if the service made it so last. Raises ServiceError("bundle_forged")."""
    guard = guard_of(session)
    if guard is None:
        return default
    chosen = _chosen_default(session)
    if guard.is_genuine(default) and chosen in {"", default.digest}:
        return default
    guard.note_forged("bundle", default.digest)
    raise ServiceError("bundle_forged")


def _note_default(session: Session, digest: str) -> None:
    after_commit(session, lambda counter: counter.choose_bundle(digest))
