"""The site calibrations that a process was told to use, read, verified and ready to be applied."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Protocol

import structlog

from med3d_contract.calibrations import CalibrationFile
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.bundle_signature import TrustedKeys
from med3d_pipeline.calibration.files import (
    StoredCalibration,
    parse_calibration,
    read_calibration,
    read_revoked,
    require_bundle,
)
from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_pipeline.errors import PipelineError
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_worker.settings import BundleSettings

log = structlog.get_logger()


def load_calibrations(settings: BundleSettings, bundle: Bundle) -> tuple[CalibratedSite, ...]:
    """Read ``settings.calibration``: a file, or every ``*.json`` of a folder, the one made last first.

    Of two for one scanner the first is taken; those of one day are in the order of their names.
    A file must be for ``bundle``; of a folder those for other bundles are passed over, and logged. Raises
    CalibrationRefused, BundleError where a trusted key cannot be read.
    """
    place = settings.calibration
    if place is None:
        return ()
    trusted, revoked = _trusted(settings), read_revoked(settings.calibration_keys)
    if not place.is_dir():
        stored = read_calibration(place, trusted, revoked)
        require_bundle(stored.calibration, bundle.digest)
        return (_site(stored, bundle),)
    found = [read_calibration(path, trusted, revoked) for path in sorted(place.glob("*.json"))]
    if not found:
        raise CalibrationRefused(CalibrationCode.UNREADABLE, f"There is no calibration (*.json) in {place.name}.")
    latest_first = sorted(found, key=lambda stored: stored.calibration.created, reverse=True)
    return tuple(_site(stored, bundle) for stored in latest_first if _is_for(stored, bundle))


def _trusted(settings: BundleSettings) -> TrustedKeys | None:
    if settings.allow_untrusted_calibration:
        return None
    if settings.calibration_keys is None:
        raise CalibrationRefused(
            CalibrationCode.UNSIGNED,
            "No key is trusted to sign calibrations. Set MED3D_CALIBRATION_KEYS to the public key of whoever "
            "calibrates this site, or load calibrations as they are (MED3D_ALLOW_UNTRUSTED_CALIBRATION=true).",
        )
    return TrustedKeys.read(Path(settings.calibration_keys))


def _is_for(stored: StoredCalibration, bundle: Bundle) -> bool:
    if stored.calibration.bundle.digest == bundle.digest:
        return True
    log.warning("calibration_of_another_bundle", calibration=stored.digest[:12], bundle=bundle.digest[:12])
    return False


def _site(stored: StoredCalibration, bundle: Bundle) -> CalibratedSite:
    log.info("calibration_loaded", calibration=stored.digest[:12], signed_by=stored.signed_by)
    return CalibratedSite(stored.calibration, bundle.predictor().space, digest=stored.digest)


class OpensCalibrations(Protocol):
    """``CalibrationShelf``, or a test's stand-in."""

    def __call__(self, files: Iterable[CalibrationFile]) -> dict[str, CalibratedSite]:
        """Return those of ``files`` that may be used, by digest."""
        ...


class CalibrationShelf:
    """Opens calibrations that come with claims, each once: the service keeps them, and only the worker trusts them.

    One that no trusted key signed, that was withdrawn here, or that cannot be read is left out and logged: its runs
    get the model's own answer, which says so by having no ``calibrated_for``. It is tried again with the next claim,
    for its signature may be another by then.
    """

    def __init__(
        self,
        settings: BundleSettings,
        bundle_digest: str,
        space: LatentSpace,
        today: Callable[[], date] | None = None,
    ) -> None:
        self._settings = settings
        self._bundle_digest = bundle_digest
        self._space = space
        self._today = today
        self._opened: dict[tuple[str, str], CalibratedSite] = {}  # by the digests of file and signature

    def __call__(self, files: Iterable[CalibrationFile]) -> dict[str, CalibratedSite]:
        """Open those that may be used, by digest."""
        found = {}
        for one in files:
            key = (one.digest, hashlib.sha256(one.signature).hexdigest())
            site = self._opened.get(key) or self._open(one)
            if site is not None:
                found[one.digest] = self._opened[key] = site
        return found

    def _open(self, one: CalibrationFile) -> CalibratedSite | None:
        try:
            trusted, revoked = _trusted(self._settings), read_revoked(self._settings.calibration_keys)
            stored = parse_calibration(one.digest[:12], one.file, one.signature, trusted, revoked)
            require_bundle(stored.calibration, self._bundle_digest)
            return CalibratedSite(stored.calibration, self._space, self._today, stored.digest)
        except (PipelineError, ValueError) as error:
            log.warning("calibration_not_used", calibration=one.digest[:12], because=str(error))
            return None
