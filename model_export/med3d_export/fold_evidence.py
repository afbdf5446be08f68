"""What one fit says of subjects that it has not seen, as plain arrays; all later scores are made from this."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.evaluation.image_quality import ImageQuality, image_quality
from med3d_export.subjects.folds import Indices
from med3d_export.training import EpochReport, FittedAutoencoder, Tensors
from med3d_export.varied_heads import Copies, encode_copies
from med3d_export.whole_files import write_whole

Floats = npt.NDArray[np.float64]
EXAMPLES = 3
TEST_COPIES = 2
"""Varied copies of each test head."""
OTHER_DRAWS = 7_919


@dataclass(frozen=True, eq=False)
class BrainGrid:
    """Which voxels (X, Y, Z) of the grid are brain in the template, and the largest value that a tensor may hold."""

    mask: npt.NDArray[np.bool_]
    data_range: float


@dataclass(frozen=True, eq=False)
class FoldEvidence:
    """N subjects, T of them the fold's test subjects, d latent dimensions.

    training, test: rows. latents: (N, d) float32 of everyone by this fit's deterministic encoder. start_latents: the
    same before the first step. copies, start_copies: (C, training, d), of varied copies of the training heads;
    test_copies: (V, T, d), of the test heads as other scanners might have shown them.
    quality: reconstructions of the test heads from the latent; mean_head: the same of the training subjects' mean head
    in their place. relative_errors (T,): squared error over the mean head's. residuals (T,): root mean square error
    inside the brain. slices (E, 2, X, Z): a coronal slice of the first test heads and of their reconstructions.
    code_spreads (d,): see PosteriorEncoder.
    """

    seed: int
    fold: int
    candidate: int
    training: Indices
    test: Indices
    latents: npt.NDArray[np.float32]
    start_latents: npt.NDArray[np.float32]
    copies: Copies
    start_copies: Copies
    test_copies: Copies
    code_spreads: Floats
    quality: ImageQuality
    mean_head: ImageQuality
    relative_errors: Floats
    residuals: Floats
    slices: npt.NDArray[np.float32]
    curve: tuple[EpochReport, ...]

    has_age_code: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Of its file, without suffix."""
        return evidence_name(self.seed, self.fold, self.candidate)

    def save(self, path: Path) -> None:
        """Write an npz without pickle; it appears whole or not at all."""
        arrays: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, ImageQuality):
                arrays |= {f"{field.name}.{name}": array for name, array in asdict(value).items()}
            elif field.name == "curve":
                arrays["curve"] = np.array(json.dumps([asdict(report) for report in value]))
            else:
                arrays[field.name] = np.asarray(value)
        write_whole(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises OSError, KeyError or ValueError where the file is not whole."""
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = dict(stored.items())
        for name in ("quality", "mean_head"):
            parts = {field.name: arrays.pop(f"{name}.{field.name}") for field in fields(ImageQuality)}
            arrays[name] = ImageQuality(**parts)
        curve = tuple(EpochReport(**report) for report in json.loads(str(arrays.pop("curve"))))
        arrays |= {name: int(arrays[name]) for name in ("seed", "fold", "candidate")}
        return cls(**arrays, curve=curve)


class AgedEvidence(FoldEvidence):
    """The same with the number of age networks as the last of all latents."""

    has_age_code = True


def evidence_name(seed: int, fold: int, candidate: int) -> str:
    """Name the fit of one outer fold; folds and candidates are counted from 1 for people."""
    return f"seed-{seed}-fold-{fold + 1}-candidate-{candidate + 1}"


@dataclass(frozen=True, eq=False)
class FitPlace:
    """Which fit it is and whom it tests; augmentation, copies: how the training heads are varied, and how often."""

    seed: int
    fold: int
    candidate: int
    training: Indices
    test: Indices
    augmentation: AugmentationConfig
    copies: int


def observe_fold(
    fitted: FittedAutoencoder,
    start: Callable[[], FittedAutoencoder],
    tensors: Tensors,
    place: FitPlace,
    grid: BrainGrid,
) -> FoldEvidence:
    """Ask a fit about everyone; ``start`` gives the same networks before the first step."""
    heads, own = tensors[place.test], tensors[place.training]
    before = start()
    latents = fitted.encode(tensors)
    varied = (place.augmentation, place.copies, place.seed + place.fold)
    found = fitted.reconstruct(latents[place.test])
    mean = np.broadcast_to(tensors[place.training].mean(axis=0), heads.shape)
    squared = np.square(found - heads)
    middle = heads.shape[2] // 2
    return FoldEvidence(
        seed=place.seed,
        fold=place.fold,
        candidate=place.candidate,
        training=place.training,
        test=place.test,
        latents=latents,
        start_latents=before.encode(tensors),
        copies=encode_copies(fitted, own, *varied),
        start_copies=encode_copies(before, own, *varied),
        # Drawn from another seed than the copies that are learned from.
        test_copies=encode_copies(
            fitted, heads, place.augmentation, TEST_COPIES, place.seed + place.fold + OTHER_DRAWS
        ),
        code_spreads=fitted.code_spreads(),
        quality=image_quality(found, heads, grid.mask, grid.data_range),
        mean_head=image_quality(mean, heads, grid.mask, grid.data_range),
        relative_errors=(squared.sum(axis=(1, 2, 3)) / np.square(mean - heads).sum(axis=(1, 2, 3))).astype(np.float64),
        residuals=np.sqrt(squared[:, grid.mask].mean(axis=1)).astype(np.float64),
        slices=np.stack([heads, found], axis=1)[:EXAMPLES, :, :, middle],
        curve=fitted.curve,
    )
