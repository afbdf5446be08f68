import math

import pytest
import torch

from med3d_export.objectives import LatentBank, maximum_mean_discrepancy
from med3d_export.objectives.kernels import KERNELS, GaussianKernel, Kernel, squared_distances

DIMENSION = 512
kernels = pytest.mark.parametrize("kernel", KERNELS.values(), ids=list(KERNELS))


class ReferenceKernel:
    """The kernel that circulates with InfoVAE code, exp(-|x - y|^2 / d^2), with its exact expectations over the prior."""

    def between(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.exp(-squared_distances(left, right) / left.shape[1] ** 2)

    def with_prior(self, latents: torch.Tensor) -> torch.Tensor:
        return GaussianKernel((latents.shape[1] / 2,)).with_prior(latents)

    def within_prior(self, dimension: int) -> float:
        return GaussianKernel((dimension / 2,)).within_prior(dimension)


def draws(count: int, seed: int, width: float = 1.0, dimension: int = DIMENSION) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return width * torch.randn(count, dimension, generator=generator, dtype=torch.float64)


def discrepancy(latents: torch.Tensor, kernel: Kernel) -> float:
    return float(maximum_mean_discrepancy(latents, latents[:0], kernel))


def noise(kernel: Kernel, count: int) -> torch.Tensor:
    """What the estimate gives where there is nothing to find."""
    return torch.tensor([discrepancy(draws(count, seed), kernel) for seed in range(40)])


@kernels
def test_collapse_and_half_width_at_512_dimensions_stand_far_above_the_noise_of_a_batch_of_8(kernel):
    nothing = noise(kernel, 8)
    for width in (0.0, 0.5):
        assert discrepancy(draws(8, 99, width), kernel) > nothing.mean() + 10 * nothing.std()


def test_the_reference_kernel_sees_neither():
    nothing = noise(ReferenceKernel(), 8)
    for width in (0.0, 0.5):
        assert abs(discrepancy(draws(8, 99, width), ReferenceKernel()) - nothing.mean()) < 2 * nothing.std()


def test_nor_does_the_reference_kernels_gradient_keep_a_posterior_from_collapsing():
    def outward_pull(kernel: Kernel) -> float:
        """Along the latents, per unit of their length; below 0 the loss falls as they spread."""
        latents = draws(8, 5, width=0.5).requires_grad_()
        maximum_mean_discrepancy(latents, latents[:0].detach(), kernel).backward()
        return float((latents.grad * latents.detach()).sum())

    reference = outward_pull(ReferenceKernel())
    for kernel in KERNELS.values():
        assert outward_pull(kernel) < 0
        assert abs(outward_pull(kernel)) > 1000 * abs(reference)


@kernels
@pytest.mark.parametrize("dimension", [2, 32, 512])
def test_expectations_over_the_prior_agree_with_draws(kernel, dimension):
    prior = draws(8_000, 1, dimension=dimension)
    for width in (0.0, 0.5, 1.0, 3.0):
        latents = draws(5, 2, width, dimension)
        found = kernel.with_prior(latents)
        torch.testing.assert_close(found, kernel.between(latents, prior).mean(1), rtol=0.02, atol=1e-3)
    pairs = kernel.between(prior[:2000], prior[2000:4000]).mean()
    assert kernel.within_prior(dimension) == pytest.approx(float(pairs), rel=0.02)


@kernels
def test_a_kernel_is_one_for_equal_latents_and_falls_with_distance(kernel):
    latents = draws(3, 5)
    torch.testing.assert_close(kernel.between(latents, latents).diagonal(), torch.ones(3).double())
    far = kernel.between(torch.zeros(1, DIMENSION), torch.full((1, DIMENSION), 10.0))
    assert float(far) < float(kernel.between(latents, latents)[0, 1])


@kernels
def test_the_estimate_is_unbiased(kernel):
    nothing = noise(kernel, 16)
    assert abs(nothing.mean()) < 4 * nothing.std() / math.sqrt(len(nothing))


@kernels
def test_with_a_bank_of_the_prior_the_prior_is_at_rest(kernel):
    """The loss must not pull a batch that is already right inwards: pairs with the bank move at one end only."""
    pulls = []
    for seed in range(20):
        latents = draws(8, seed).requires_grad_()
        maximum_mean_discrepancy(latents, draws(128, 100 + seed), kernel).backward()
        pulls.append(float((latents.grad * latents.detach()).sum()))
    mean, spread = torch.tensor(pulls).mean(), torch.tensor(pulls).std()
    assert abs(mean) < 4 * spread / math.sqrt(len(pulls))


@kernels
def test_a_batch_of_one_learns_from_the_bank_and_only_itself_gets_a_gradient(kernel):
    latent = draws(1, 7, width=0.1).requires_grad_()
    banked = draws(32, 8, width=0.1).requires_grad_()
    bank = LatentBank(64, DIMENSION)
    bank.push(banked)
    maximum_mean_discrepancy(latent, bank.latents, kernel).backward()
    assert latent.grad.abs().sum() > 0
    assert banked.grad is None


@kernels
def test_a_batch_of_one_with_an_empty_bank_is_finite(kernel):
    assert math.isfinite(discrepancy(draws(1, 1), kernel))


def test_the_bank_forgets_the_oldest():
    bank = LatentBank(3, 1)
    bank.push(torch.tensor([[1.0], [2.0]]))
    bank.push(torch.tensor([[3.0], [4.0]]))
    assert bank.latents.flatten().tolist() == [2.0, 3.0, 4.0]
    empty = LatentBank(0, 1)
    empty.push(torch.ones(2, 1))
    assert len(empty.latents) == 0
