"""What each training site adds to the latent, to be taken out before the heads: harmonisation.npz of a bundle."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError
from med3d_pipeline.reasons import Reason, ReviewCode

FILE = "harmonisation.npz"
"""Only in bundles that were trained with a correction for sites."""
Latents = npt.NDArray[np.float32]
Correction = Literal["applied", "unknown_site"]


@dataclass(frozen=True, eq=False)
class SiteShifts:
    """The sites (S,) that were trained on, as their manifest spelt them; shifts (S, d): what each adds to a latent."""

    sites: npt.NDArray[np.str_]
    shifts: npt.NDArray[np.float32]

    @classmethod
    def load(cls, path: Path, dimension: int) -> Self:
        """Read the npz without pickle. Raises BundleError where it is unreadable, misshapen or not finite."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                found = cls(archive["sites"].astype(np.str_), archive["shifts"].astype(np.float32))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path.name} cannot be read or lacks an array: {error}") from error
        if found.shifts.shape != (len(found.sites), dimension) or not np.isfinite(found.shifts).all():
            raise BundleError(f"{path.name}: shifts must be finite, one of {dimension} values for each site")
        return found

    def save(self, path: Path) -> None:
        """Write the npz."""
        np.savez_compressed(path, sites=self.sites, shifts=self.shifts)

    def correction(self, site: str | None) -> Correction:
        """Tell whether a scan of ``site`` (None: not told) can be corrected."""
        return "applied" if site is not None and site in self.sites else "unknown_site"

    def reasons(self, site: str | None) -> tuple[Reason, ...]:
        """Tell why a person should look at a scan of ``site``; told first, since some pages show a few reasons only."""
        if self.correction(site) == "applied":
            return ()
        what = "The site is not told" if site is None else "The model has not learned from this site"
        sentence = f"{what}, so what sites add to the latent was not taken out."
        return (Reason(ReviewCode.SITE_NOT_CORRECTED, sentence),)

    def corrected(self, latents: Latents, sites: Sequence[str | None]) -> Latents:
        """Return latents (N, d) without what their sites add; one whose site is not known stays as it is."""
        place = {str(site): number for number, site in enumerate(self.sites)}
        shifts = [self.shifts[place[site]] if site in place else np.zeros_like(latents[0]) for site in sites]
        return latents - np.asarray(shifts, np.float32).reshape(latents.shape)
