"""Heads that learn from varied copies of the training heads."""

import numpy as np
import pytest
import torch

from med3d_export.augmentation import blurred_along
from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.heads import HeadSpace, LabelledLatents, inner_splits, search_head
from med3d_export.varied_heads import encode_copies, vary

SCANNERS = AugmentationConfig(log_gamma=0.3, noise_sd=0.05)


class MeanEncoder:
    """Gives each tensor's mean and spread as its latent."""

    dimension = 2

    def encode(self, tensors: np.ndarray) -> np.ndarray:
        return np.stack([tensors.mean(axis=(1, 2, 3)), tensors.std(axis=(1, 2, 3))], axis=1).astype(np.float32)


def tensors() -> np.ndarray:
    return np.random.default_rng(4).uniform(0.2, 1.0, (5, 8, 8, 8)).astype(np.float32)


def test_a_copy_differs_from_its_head_and_the_background_stays_empty() -> None:
    heads = tensors()
    heads[:, :2] = 0
    still = SCANNERS.model_copy(
        update={"rotation_deg": 0.0, "scale": 0.0, "shift_voxels": 0.0, "flip_probability": 0.0}
    )
    varied = vary(heads, still, torch.Generator().manual_seed(1))
    assert varied.shape == heads.shape
    assert not varied[:, :2].any()
    assert np.abs(varied - heads)[:, 2:].mean() > 0.01


def test_a_seed_gives_the_same_copies_again_and_each_copy_is_another() -> None:
    first, again = (encode_copies(MeanEncoder(), tensors(), SCANNERS, 2, seed=3) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 1e-3
    assert np.abs(first - encode_copies(MeanEncoder(), tensors(), SCANNERS, 2, seed=4)).max() > 1e-3


def test_no_copies_are_none() -> None:
    assert encode_copies(MeanEncoder(), tensors(), SCANNERS, 0, seed=3).shape == (0, 5, 2)


def test_a_subject_s_copies_lie_in_the_subject_s_inner_fold() -> None:
    latents = np.arange(12.0).reshape(6, 2)
    given = LabelledLatents.of(latents, np.stack([latents + 1, latents + 2]), np.arange(6.0), np.array(list("aabbcc")))
    assert given.latents.shape == (18, 2)
    assert np.array_equal(given.values, np.tile(np.arange(6.0), 3))
    for training, test in inner_splits(given.values, given.groups, 3, seed=1):
        assert not set(given.groups[training]) & set(given.groups[test])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_head_that_learned_from_copies_trusts_what_scanners_leave_alone(kernel: str) -> None:
    """The second number is the age without noise, on the training scanner; on any other it says nothing."""
    random = np.random.default_rng(0)
    ages = random.uniform(20, 80, 240)
    latents = np.stack([ages + random.normal(0, 6, 240), ages], axis=1)

    def other_scanner(rows: np.ndarray) -> np.ndarray:
        return np.stack([rows[:, 0], random.permutation(rows[:, 1])], axis=1)

    own, test, people = slice(0, 120), slice(120, 240), np.arange(120)
    copies = np.stack([other_scanner(latents[own]) for _ in range(3)])
    errors = []
    for learned in (np.empty((0, 120, 2)), copies):
        head = search_head(
            LabelledLatents.of(latents[own], learned, ages[own], people), 3, 1, HeadSpace((kernel,))
        ).head
        errors.append(np.abs(head.predict(other_scanner(latents[test])) - ages[test]).mean())
    assert errors[1] < 0.6 * errors[0]


def test_a_bent_head_and_thick_slices_differ_from_the_same_draws_without_them() -> None:
    heads = tensors()
    asked = {"elastic_voxels": 2.0, "thick_probability": 1.0}
    plain = vary(heads, SCANNERS, torch.Generator().manual_seed(1))
    for name, value in asked.items():
        on = vary(heads, SCANNERS.model_copy(update={name: value}), torch.Generator().manual_seed(1))
        assert on.shape == heads.shape
        assert np.abs(on - plain).max() > 0.01, name


def test_thick_slices_are_smoother() -> None:
    still = SCANNERS.model_copy(
        update={
            "rotation_deg": 0.0, "scale": 0.0, "shift_voxels": 0.0, "noise_sd": 0.0, "sharpness": 0.0, "log_gamma": 0.0,
            "flip_probability": 0.0, "thick_probability": 1.0,
        }
    )  # fmt: skip
    heads = tensors()
    thick = vary(heads, still, torch.Generator().manual_seed(1))[:, 2:-2, 2:-2, 2:-2]
    assert thick.std() < 0.6 * heads[:, 2:-2, 2:-2, 2:-2].std()


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_blurring_is_a_convolution_with_a_quarter_a_half_and_a_quarter(axis: int) -> None:
    images = torch.rand((2, 1, 4, 5, 6), generator=torch.Generator().manual_seed(3))
    shape, padding = [1, 1, 1, 1, 1], [0, 0, 0]
    shape[axis], padding[axis - 2] = 3, 1
    kernel = torch.tensor([0.25, 0.5, 0.25]).view(shape)
    torch.testing.assert_close(blurred_along(images, axis), torch.nn.functional.conv3d(images, kernel, padding=padding))
