"""The training objectives behind one interface; each variant is a section of the recipe, told apart by ``kind``."""

from typing import Annotated

from pydantic import Discriminator, Tag

from med3d_export.objectives.autoencoder import Autoencoder
from med3d_export.objectives.beta_tc_vae import BetaTcVae
from med3d_export.objectives.beta_vae import BetaVae
from med3d_export.objectives.discrepancy import LatentBank, maximum_mean_discrepancy
from med3d_export.objectives.infovae import InfoVae
from med3d_export.objectives.interface import BatchLoss, Objective, Penalty, Posterior, Seen, judge
from med3d_export.objectives.rae_l2 import RaeL2
from med3d_export.objectives.vae import Vae
from med3d_export.objectives.wae_mmd import WaeMmd


def _kind(section: object) -> object:
    """Tell the kind of a section; a recipe that names none means InfoVAE."""
    return section.get("kind", "infovae") if isinstance(section, dict) else getattr(section, "kind", None)


ObjectiveConfig = Annotated[
    Annotated[InfoVae, Tag("infovae")]
    | Annotated[Autoencoder, Tag("autoencoder")]
    | Annotated[Vae, Tag("vae")]
    | Annotated[BetaVae, Tag("beta-vae")]
    | Annotated[BetaTcVae, Tag("beta-tc-vae")]
    | Annotated[WaeMmd, Tag("wae-mmd")]
    | Annotated[RaeL2, Tag("rae-l2")],
    Discriminator(_kind),
]

__all__ = [
    "Autoencoder",
    "BatchLoss",
    "BetaTcVae",
    "BetaVae",
    "InfoVae",
    "LatentBank",
    "Objective",
    "ObjectiveConfig",
    "Penalty",
    "Posterior",
    "RaeL2",
    "Seen",
    "Vae",
    "WaeMmd",
    "judge",
    "maximum_mean_discrepancy",
]
