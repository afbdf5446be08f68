"""The age networks' number beside the latents of an experiment: its plan, and the evidence with it."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.fitting import ask
from med3d_export.age_network.members import AgeMembers
from med3d_export.age_network.plan import AgeFit, AgePlan
from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.config import TrainingConfig
from med3d_export.fold_evidence import OTHER_DRAWS, TEST_COPIES, AgedEvidence, FoldEvidence
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.folds import Fold, Indices, stratified_folds
from med3d_export.training import Tensors
from med3d_export.training.fitted import Latents
from med3d_export.varied_heads import Copies, encode_copies
from med3d_export.whole_files import write_whole

AGES = "ages"
"""Folder of a run."""
PLAN = "plan.npz"
EVERYONE = "everyone"


def fit_name(seed: int, fold: int) -> str:
    """Name the age networks of one outer fold, whatever the candidate; folds are counted from 1 for people."""
    return f"seed-{seed}-fold-{fold + 1}"


def age_plan(
    config: TrainingConfig, wanted: AgeNetworkConfig, tensors: Tensors, cohort: Cohort,
    splits: dict[int, tuple[Fold, ...]],
) -> AgePlan:  # fmt: skip
    """Return the fit to everyone first, then those to the folds; parts are stratified as folds are."""
    everyone = np.arange(len(cohort))
    asked = [(EVERYONE, config.seed, everyone)]
    asked += [
        (fit_name(seed, number), seed + number + 1, np.sort(fold.training))
        for seed, folds in splits.items()
        for number, fold in enumerate(folds)
    ]
    fits = tuple(AgeFit(name, seed, rows, _parts(cohort, rows, wanted.members, seed)) for name, seed, rows in asked)
    return AgePlan(wanted, tensors.astype(np.float16), cohort.ages_years, cohort.sites, fits)


def _parts(cohort: Cohort, rows: Indices, members: int, seed: int) -> Indices:
    own = replace(cohort, subjects=tuple(cohort.subjects[row] for row in rows))
    parts = np.empty(len(rows), dtype=np.int64)
    for number, fold in enumerate(stratified_folds(own, members, seed).folds):
        parts[fold.test] = number
    return parts


@dataclass(frozen=True, eq=False)
class AgeCodes:
    """What stands beside the latents of one fold's evidence: heads (N, 1), copies (C, n, 1), test_copies (V, T, 1).

    Heads that the fold trains on have the code of the network that had not seen them.
    """

    heads: Latents
    copies: Copies
    test_copies: Copies

    def save(self, path: Path, made_from: str) -> None:
        """Write an npz; it appears whole or not at all. made_from: digest of what they were computed from."""
        arrays: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays["made_from"] = np.array(made_from)
        write_whole(path, lambda stream: np.savez(stream, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, path: Path, made_from: str) -> Self | None:
        """Read what ``save`` wrote; None where nothing is there, or what is there was made from something else.

        Raises OSError, KeyError or ValueError where the file is not whole.
        """
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as stored:
            if "made_from" not in stored or str(stored["made_from"]) != made_from:
                return None
            return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def beside(self, one: FoldEvidence, config: AgeNetworkConfig | None) -> AgedEvidence:
        """Return the evidence with the code as the last number of all its latents, those before training, too."""
        told = {field.name: getattr(one, field.name) for field in fields(one)} | {
            "latents": _joined(one.latents, self.heads),
            "start_latents": _joined(one.start_latents, self.heads),
            "copies": _joined(one.copies, self.copies),
            "start_copies": _joined(one.start_copies, self.copies),
            "test_copies": _joined(one.test_copies, self.test_copies),
            "code_spreads": with_code_weight(one.code_spreads, config),
        }
        return AgedEvidence(**told)


def ask_members(
    members: AgeMembers, one: FoldEvidence, tensors: Tensors, augmentation: AugmentationConfig, copies: int
) -> AgeCodes:
    """Ask the networks of one fold about every head and about the very copies that the fold's encoder was asked about.

    tensors (N, X, Y, Z): of everyone.
    """
    asked = _Asked(members)
    heads, seed = asked.encode(tensors), one.seed + one.fold
    varied = encode_copies(asked, tensors[one.training], augmentation, copies, seed)
    own = heads[one.training]
    use_unseen_ages(own, varied, members.unseen_codes()[np.searchsorted(members.rows, one.training)])
    heads[one.training] = own
    test_copies = encode_copies(asked, tensors[one.test], augmentation, TEST_COPIES, seed + OTHER_DRAWS)
    return AgeCodes(heads, varied, test_copies)


def use_unseen_ages(latents: Latents, copies: Copies, unseen: npt.NDArray[np.float32]) -> None:
    """Put codes (n,) of networks that had not seen these heads in the last place of their latents (n, d).

    Copies (C, n, d) of the heads keep their distance from them.
    """
    copies[..., -1] += unseen - latents[:, -1]
    latents[:, -1] = unseen


def with_code_weight(spreads: npt.NDArray[np.float64], config: AgeNetworkConfig | None) -> npt.NDArray[np.float64]:
    """Tell how much each number counts where heads are compared, the age code's last where there is one."""
    return spreads if config is None else np.append(spreads, config.code_weight)


class _Asked:
    """The networks as an encoder of one number."""

    dimension = 1

    def __init__(self, members: AgeMembers) -> None:
        self.code = members.code()

    def encode(self, tensors: Tensors) -> Latents:
        images = torch.from_numpy(tensors)[:, None]
        years = np.mean([ask(member, images) for member in self.code.members], axis=0)
        codes: Latents = self.code.code_of(torch.from_numpy(years))[:, None].numpy()
        return codes


def _joined(latents: Latents, codes: Latents) -> Latents:
    return np.concatenate([latents, codes], axis=-1)
