import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from med3d_export.objectives import InfoVae, Objective, ObjectiveConfig, Posterior, Seen, judge
from med3d_export.objectives.beta_tc_vae import total_correlation_nats
from med3d_export.objectives.image_terms import ImageTermsConfig, edge_error, structural_dissimilarity
from med3d_export.objectives.interface import reconstruction_nats

SECTIONS = {
    "infovae": {"a": 0.5, "l": 10.0},
    "autoencoder": {},
    "vae": {},
    "beta-vae": {"beta": 4.0},
    "beta-tc-vae": {"beta": 6.0},
    "wae-mmd": {"l": 10.0},
    "rae-l2": {"beta": 1e-2, "decoder_l2": 1e-4},
}
every_kind = pytest.mark.parametrize("kind", SECTIONS)
VOXELS = 8**3


def objective(kind: str, **changed: float | str) -> Objective:
    section = {"kind": kind, "decoder_sd": 0.5, **SECTIONS[kind], **changed}
    return TypeAdapter(ObjectiveConfig).validate_python(section)


def seen(count: int = 4, dimension: int = 6, seed: int = 0, banked: int = 0) -> Seen:
    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    generator = torch.Generator().manual_seed(seed)
    posterior = Posterior(drawn(count, dimension).requires_grad_(), -1.0 + 0.1 * drawn(count, dimension))
    image = drawn(count, 1, 8, 8, 8)
    latent = posterior.mean + (0.5 * posterior.log_variance).exp() * drawn(count, dimension)
    reconstructed = (image + 0.1).requires_grad_()
    return Seen(image, reconstructed, posterior, latent, drawn(banked, dimension), (torch.ones(3, 2),))


def total(kind: str, batch: Seen, **changed: float | str) -> float:
    return float(judge(objective(kind, **changed), batch).total.detach())


@every_kind
def test_every_objective_judges_a_batch_and_a_batch_of_one(kind):
    for count in (1, 4):
        batch = seen(count)
        judged = judge(objective(kind), batch)
        assert math.isfinite(float(judged.total.detach()))
        assert {"reconstruction"} <= judged.terms.keys()
        judged.total.backward()


@every_kind
def test_the_total_is_the_weighted_sum_per_voxel(kind):
    batch, variant = seen(banked=3), objective(kind)
    judged = judge(variant, batch)
    expected = judged.terms["reconstruction"] + sum(p.weight * p.value for p in variant.penalties(batch))
    assert float(judged.total.detach()) == pytest.approx(float(expected.detach()) / VOXELS, rel=1e-5)


@every_kind
def test_a_section_survives_being_written_and_read_and_refuses_what_it_does_not_know(kind):
    adapter = TypeAdapter(ObjectiveConfig)
    assert adapter.validate_python(adapter.dump_python(objective(kind))) == objective(kind)
    with pytest.raises(ValidationError, match="no_such_key"):
        objective(kind, no_such_key=1.0)
    with pytest.raises(ValidationError, match="decoder_sd"):
        objective(kind, decoder_sd=0.0)


def test_an_objective_without_a_kind_is_infovae_and_an_unknown_kind_lists_what_there_is():
    adapter = TypeAdapter(ObjectiveConfig)
    assert isinstance(adapter.validate_python({"a": 0.5, "l": 1.0, "decoder_sd": 0.1}), InfoVae)
    with pytest.raises(ValidationError, match="beta-tc-vae"):
        adapter.validate_python({"kind": "vq-vae"})


@pytest.mark.parametrize(("a", "l"), [(0.0, 0.5), (0.5, 0.4), (1.0, -0.1)])
def test_weights_that_would_reward_leaving_the_prior_are_refused(a, l):  # noqa: E741
    with pytest.raises(ValidationError, match="at least 1"):
        objective("infovae", a=a, l=l)


def test_the_reductions_are_sums_over_voxels_and_dimensions_and_means_over_the_batch():
    tensor = torch.zeros(2, 1, 2, 2, 2)
    assert float(reconstruction_nats(tensor, tensor + 0.2, decoder_sd=0.1)) == pytest.approx(8 * 0.04 / 0.02)
    assert float(Posterior(torch.ones(2, 4), torch.zeros(2, 4)).kl_nats()) == pytest.approx(2.0)


def test_the_variants_meet_where_theory_says():
    batch = seen(banked=5)
    vae = total("vae", batch)
    assert total("infovae", batch, a=0.0, l=1.0) == pytest.approx(vae)
    assert total("beta-vae", batch, beta=1.0) == pytest.approx(vae)
    assert total("beta-tc-vae", batch, beta=1.0) == pytest.approx(vae)
    assert total("infovae", batch, a=1.0, l=7.0) == pytest.approx(total("wae-mmd", batch, l=7.0))
    plain = total("autoencoder", batch)
    assert total("beta-vae", batch, beta=0.0) == pytest.approx(plain)
    assert total("rae-l2", batch, beta=0.0, decoder_l2=0.0) == pytest.approx(plain)


def test_only_the_variational_ones_draw():
    posterior = Posterior(torch.zeros(2, 3), torch.zeros(2, 3))
    steady = {kind for kind in SECTIONS if torch.equal(objective(kind).latent_of(posterior), posterior.mean)}
    assert steady == {"autoencoder", "wae-mmd", "rae-l2"}


def test_rae_counts_half_the_latents_squared_length_and_the_decoders_squared_weights():
    terms = judge(objective("rae-l2"), seen()).terms
    assert float(terms["latent_l2"]) == pytest.approx(0.5 * float(seen().latent.detach().square().sum()) / 4)
    assert float(terms["decoder_l2"]) == 6.0


def test_the_total_correlation_is_nothing_for_one_subject_and_grows_where_dimensions_say_the_same():
    def correlation(mean: torch.Tensor) -> float:
        posterior = Posterior(mean, torch.full_like(mean, -3.0))
        return float(total_correlation_nats(posterior, posterior.draw()))

    torch.manual_seed(1)
    one, other = torch.randn(256, 1), torch.randn(256, 1)
    apart, together = correlation(torch.cat([one, other], 1)), correlation(torch.cat([one, one], 1))
    assert correlation(one[:1]) == 0.0
    assert together > apart + 0.5
    # Two equal unit Gaussians, each seen with variance e^-3: exactly -log(1 - r^2) / 2.
    r = 1 / (1 + math.exp(-3))
    assert together == pytest.approx(-0.5 * math.log(1 - r**2), abs=0.25)


def test_image_terms_are_none_by_default_and_nothing_for_a_perfect_reconstruction():
    assert ImageTermsConfig().penalties(seen()) == ()
    image = torch.rand(2, 1, 16, 16, 16)
    assert float(structural_dissimilarity(image, image)) == pytest.approx(0.0, abs=1e-5)
    assert float(edge_error(image, image + 1.0)) == pytest.approx(0.0, abs=1e-6)


def test_blur_costs_structure_and_edges():
    image = torch.rand(1, 1, 16, 16, 16)
    blurred = torch.nn.functional.avg_pool3d(image, 3, stride=1, padding=1)
    assert float(structural_dissimilarity(image, blurred)) > 0.2
    assert float(edge_error(image, blurred)) > 0.1
    weighted = judge(objective("autoencoder"), seen(), ImageTermsConfig(gradient_weight=2.0).penalties(seen()))
    assert "gradient" in weighted.terms
