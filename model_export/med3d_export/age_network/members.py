"""The fitted members of one fit, and what each training head got from the member that had not seen it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.fitting import AgedHeads, ask, fit_member
from med3d_export.age_network.network import AgeCode, AgeNetwork
from med3d_export.age_network.plan import AgeFit, AgePlan
from med3d_export.half_weights import round_to_half
from med3d_export.whole_files import write_whole

Floats = npt.NDArray[np.float32]
SEEDS_APART = 100
"""Between the members of one fit."""
MADE_FROM = "made_from"
"""AgePlan.digest of the fit that a member belongs to."""


class AgeNetworksDiffer(ValueError):  # noqa: N818 - what is wrong is said by the name
    """The age networks that are there were fitted to other heads, ages or rows, or by another recipe."""


@dataclass(frozen=True, eq=False)
class AgeMembers:
    """networks: of all members. rows: (n,) of the fit, rising; unseen_years: (n,) by the member that had not seen each.

    mean_years, sd_years: of the ages of these rows.
    """

    networks: tuple[AgeNetwork, ...]
    rows: npt.NDArray[np.int64]
    unseen_years: Floats
    mean_years: float
    sd_years: float

    def code(self) -> AgeCode:
        """Return what is released."""
        code = AgeCode(list(self.networks), self.mean_years, self.sd_years)
        code.eval()
        return code

    def unseen_codes(self) -> Floats:
        """Return (n,) of ``rows``, each by the member that had not seen it."""
        return (self.unseen_years - np.float32(self.mean_years)) / np.float32(self.sd_years)


def member_file(folder: Path, fit: str, member: int) -> Path:
    """Tell where one member of one fit is kept; members are counted from 1 for people."""
    return folder / f"{fit}-member-{member + 1}.npz"


def fit_to_file(plan: AgePlan, heads: AgedHeads, fit: AgeFit, member: int, folder: Path) -> None:
    """Fit one member, ask it about its own part, and write both."""
    network = fit_member(heads, fit.learned_by(member), plan.config, fit.seed + SEEDS_APART * member)
    halved = round_to_half(network)
    unseen = fit.unseen_by(member)
    arrays: dict[str, Any] = {
        f"weights.{name}": (value.half() if name in halved else value).cpu().numpy()
        for name, value in network.state_dict().items()
    }
    arrays |= {
        MADE_FROM: np.array(plan.digest(fit)),
        "unseen_rows": unseen,
        "unseen_years": ask(network, heads.images[torch.from_numpy(unseen)]),
    }
    write_whole(member_file(folder, fit.name, member), lambda stream: np.savez(stream, allow_pickle=False, **arrays))


def has_members(folder: Path, fit: str, config: AgeNetworkConfig) -> bool:
    """Tell whether all members of a fit were written."""
    return all(member_file(folder, fit, member).is_file() for member in range(config.members))


def require_same_members(plan: AgePlan, fit: AgeFit, folder: Path) -> None:
    """Raise AgeNetworksDiffer where a member of ``fit`` that is there was made from something else than ``plan``."""
    files = [member_file(folder, fit.name, member) for member in range(plan.config.members)]
    for file in filter(Path.is_file, files):
        with np.load(file, allow_pickle=False) as stored:
            if MADE_FROM in stored and str(stored[MADE_FROM]) != plan.digest(fit):
                raise AgeNetworksDiffer(
                    f"{file.name} was fitted to other heads, ages or rows, or by another recipe: empty {folder}, and "
                    "fit the age networks again"
                )


def read_members(
    folder: Path, fit: str, config: AgeNetworkConfig, ages: npt.NDArray[np.floating], rows: npt.NDArray[np.int64]
) -> AgeMembers:
    """Read a fit to ``rows``, whose ``ages`` (N,) are those of everyone.

    Raises OSError where a member is missing, AgeNetworksDiffer where the files are of a fit to other rows.
    """
    networks, seen, years = [], [], []
    for member in range(config.members):
        with np.load(member_file(folder, fit, member), allow_pickle=False) as stored:
            arrays = dict(stored.items())
        network = AgeNetwork(config)
        prefix = "weights."
        network.load_state_dict(
            {
                name.removeprefix(prefix): torch.from_numpy(
                    value.astype(np.float32) if value.dtype == np.float16 else value
                )
                for name, value in arrays.items()
                if name.startswith(prefix)
            }
        )
        networks.append(network.to(memory_format=torch.channels_last_3d).eval())
        seen.append(arrays["unseen_rows"])
        years.append(arrays["unseen_years"])
    order = np.argsort(np.concatenate(seen))
    found = np.concatenate(seen)[order]
    if not np.array_equal(found, np.sort(rows)):
        raise AgeNetworksDiffer(f"the age networks of {fit} were fitted to other rows of the manifest: fit them again")
    own = ages[found].astype(np.float64)
    return AgeMembers(
        tuple(networks), found, np.concatenate(years)[order].astype(np.float32), float(own.mean()), float(own.std())
    )
