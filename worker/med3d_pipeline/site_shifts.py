"""What each training site adds to the latent, to be taken out before the heads: harmonisation.npz of a bundle."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from med3d_pipeline.errors import BundleError

FILE = "harmonisation.npz"
"""Only in bundles that were trained with a correction for sites."""
Latents = npt.NDArray[np.float32]


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

    def knows(self, site: str | None) -> bool:
        """Whether a scan of ``site`` can be corrected."""
        return site is not None and site in self.sites

    def corrected(self, latents: Latents, sites: Sequence[str | None]) -> Latents:
        """Latents (N, d) without what their sites add; one whose site is not known stays as it is."""
        place = {str(site): number for number, site in enumerate(self.sites)}
        shifts = [self.shifts[place[site]] if site in place else np.zeros_like(latents[0]) for site in sites]
        return latents - np.asarray(shifts, np.float32).reshape(latents.shape)
