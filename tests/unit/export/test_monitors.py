from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from med3d_export.monitors import PosteriorMonitors, observe_posterior
from med3d_export.objectives import Posterior
from med3d_export.report.monitor_figures import monitor_figures
from med3d_export.training import EpochReport

SUBJECTS, DIMENSION = 64, 16


@dataclass(frozen=True)
class Coder:
    """A made-up fit: the posterior that is given, and heads that are their latent's first value everywhere."""

    mean: np.ndarray
    log_variance: float

    @property
    def encoder(self):
        return self

    @property
    def mean_head(self):
        return torch.full((1, 1, 2, 2, 2), 0.5)

    def posterior(self, tensors):
        mean = torch.from_numpy(self.mean).float()
        return Posterior(mean, torch.full_like(mean, self.log_variance))

    def reconstruct(self, latents):
        return np.broadcast_to(latents[:, :1, None, None], (len(latents), 2, 2, 2))


def monitors_of(width: float = 1.0, active: int = DIMENSION, log_variance: float = -10.0) -> PosteriorMonitors:
    mean = width * np.random.default_rng(1).standard_normal((SUBJECTS, DIMENSION))
    mean[:, active:] = 0.0
    heads = np.broadcast_to(mean[:, :1, None, None], (SUBJECTS, 2, 2, 2)).astype(np.float32)
    return observe_posterior(Coder(mean, log_variance), heads, seed=3)


def test_a_posterior_that_is_the_prior_is_not_told_from_it():
    found = monitors_of().numbers()
    for kernel in ("gaussian", "inverse-multiquadric"):
        assert found[f"mmd_{kernel}"] < found[f"mmd_{kernel}_of_the_prior_95"]
    assert found["active_units"] == DIMENSION
    assert found["effective_dimensions"] == pytest.approx(found["prior_effective_dimensions"], rel=0.1)


@pytest.mark.parametrize("width", [0.0, 0.5, 2.0])
def test_a_posterior_of_another_width_is(width):
    found = monitors_of(width).numbers()
    for kernel in ("gaussian", "inverse-multiquadric"):
        assert found[f"mmd_{kernel}"] > 3 * found[f"mmd_{kernel}_of_the_prior_95"]
    assert found["aggregated_variance"] == pytest.approx(width**2, rel=0.15, abs=0.01)


def test_units_that_do_not_vary_are_not_active_and_carry_nothing():
    found = monitors_of(active=5, log_variance=0.0)
    assert found.active_units == 5
    assert (found.kl_nats[:5] > 0.3).all()
    assert (found.kl_nats[5:] == 0.0).all()


def test_noise_in_the_latent_costs_reconstruction_from_a_draw_alone():
    quiet, noisy = monitors_of(log_variance=-10.0).numbers(), monitors_of(log_variance=0.0).numbers()
    assert quiet["error_share_from_mean"] == noisy["error_share_from_mean"] == pytest.approx(0.0, abs=1e-6)
    assert quiet["error_share_from_draw"] < 0.01
    assert noisy["error_share_from_draw"] > 0.2


def test_one_subject_has_no_spectrum():
    with pytest.raises(ValueError, match="at least 2"):
        observe_posterior(Coder(np.zeros((1, 4)), 0.0), np.zeros((1, 2, 2, 2), np.float32), seed=1)


def test_monitors_come_back_from_their_file_and_are_drawn(tmp_path):
    found = monitors_of()
    found.save(tmp_path / "monitors.npz")
    assert PosteriorMonitors.load(tmp_path / "monitors.npz").numbers() == found.numbers()
    curve = [EpochReport(n, 1.0 / (n + 1), {"kl": 2.0}, {"total": 1.5, "kl": 2.5}) for n in range(3)]
    pictures = monitor_figures(found, curve, tmp_path)
    assert [path.name for path in pictures] == ["monitors.png", "loss.png"]
    for path in pictures:
        with Image.open(path) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
