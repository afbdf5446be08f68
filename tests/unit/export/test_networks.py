import importlib

import numpy as np
import onnxruntime
import pytest
import torch
from monai.networks.nets import VarAutoEncoder
from pydantic import ValidationError
from torch import nn

from med3d_export.networks import (
    HeadStatistics,
    NetworkConfig,
    SymmetricMean,
    build_decoder,
    build_encoder,
    spell_out_group_norms,
)
from med3d_export.networks.residual import ResizeDecoder

GRID = (32, 32, 16)
SECTIONS = {
    "residual": {"encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8], "linear_rank": 0},
    "residual with a linear path": {"encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8], "linear_rank": 4},
    "residual with both linear paths": {
        "encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8], "linear_rank": 4, "linear_decoder_rank": 3,
    },
    "with codes": {
        "encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8], "linear_rank": 4, "local_codes": 6,
        "cube_voxels": 10, "cube_step": 8,
    },
    "trilinear": {"encoder_channels": [4, 8], "decoder_channels": [4, 8], "resize": "trilinear"},
    "recomputed": {
        "encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8], "linear_rank": 4, "checkpointing": "activations",
    },
    "monai": {"backbone": "monai", "encoder_channels": [4, 8, 16], "decoder_channels": [4, 8, 16]},
}  # fmt: skip
every_network = pytest.mark.parametrize("section", SECTIONS.values(), ids=list(SECTIONS))


def config(section: dict, **changed: object) -> NetworkConfig:
    return NetworkConfig.model_validate({"latent": 12, **section, **changed})


def images(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, *GRID, generator=torch.Generator().manual_seed(seed))


def built(section: dict, **changed: object) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    heads = HeadStatistics.of(images())
    made = config(section, **changed)
    return build_encoder(made, heads), build_decoder(made, heads)


@every_network
def test_every_backbone_goes_from_heads_to_posteriors_and_back(section):
    encoder, decoder = built(section)
    mean, log_variance = encoder(images())
    assert mean.shape == log_variance.shape == (3, 12)
    assert decoder(mean).shape == (3, 1, *GRID)


@every_network
def test_a_batch_of_one_is_seen_as_in_a_batch_of_three(section):
    encoder, decoder = (network.train() for network in built(section))
    mean, _ = encoder(images())
    torch.testing.assert_close(encoder(images()[:1])[0], mean[:1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(decoder(mean[:1]), decoder(mean)[:1], atol=1e-4, rtol=1e-4)


@every_network
def test_the_released_latent_is_the_mean_of_both_mirror_images_and_draws_nothing(section):
    encoder, _ = built(section)
    released = SymmetricMean(encoder.eval())
    expected = 0.5 * (encoder(images())[0] + encoder(images().flip(2))[0])
    # Codes of single cubes tell left from right and are not averaged.
    both = slice(0, section["linear_rank"] if "local_codes" in section else None)
    torch.testing.assert_close(released(images())[:, both], expected[:, both], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(released(images().flip(2))[:, both], expected[:, both], atol=1e-5, rtol=1e-4)
    assert torch.equal(released(images()), released(images()))


def test_monais_own_eval_mode_would_add_the_deviation_to_the_mean():
    """Why the backbone is taken apart: this is what its forward gives without being told otherwise."""
    torch.manual_seed(2)
    whole = VarAutoEncoder(3, (1, *GRID), 1, latent_size=4, channels=(4, 8), strides=(2, 2)).eval()
    _, mean, log_variance, latent = whole(images())
    torch.testing.assert_close(latent, mean + (0.5 * log_variance).exp())


@every_network
def test_gradients_reach_every_weight(section):
    encoder, decoder = built(section)
    with torch.no_grad():
        # Beside a linear path the convolutions start at zero, where the layers before the last get no gradient yet.
        nn.init.normal_(encoder.to_mean.weight, std=0.01)
        nn.init.normal_(encoder.to_log_variance.weight, std=0.01)
        for weight in decoder.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.01)
    mean, log_variance = encoder(images())
    (decoder(mean + (0.5 * log_variance).exp()) - images()).square().sum().backward()
    for network in (encoder, decoder):
        silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert silent == []


def test_activations_that_are_computed_twice_give_the_same_gradients():
    section = SECTIONS["residual with a linear path"]
    gradients = []
    for checkpointing in ("none", "activations"):
        encoder, decoder = built(section, checkpointing=checkpointing)
        decoder(encoder(images())[0]).square().sum().backward()
        gradients.append([p.grad for n in (encoder, decoder) for p in n.parameters() if p.grad is not None])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


def test_the_linear_path_starts_at_the_principal_components_of_the_training_heads():
    encoder, _ = built(SECTIONS["residual with a linear path"])
    heads = images(6, seed=3)
    encoder.start_from(heads, images(0))
    encoder.eval()
    latents = SymmetricMean(encoder)(heads)
    views = encoder.linear.contrast(heads)
    singular = torch.linalg.svdvals((views - views.mean(0)).detach())[:4]
    found = torch.linalg.svdvals((latents - latents.mean(0)).detach())[:4]
    torch.testing.assert_close(found / found[0], singular / singular[0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("section", ["residual with a linear path", "with codes"])
def test_a_head_and_its_mirror_image_are_the_same_to_what_sees_the_whole_head(section):
    encoder, _ = built(SECTIONS[section])
    encoder.start_from(images(6, seed=3), images(0))
    view = encoder.linear.contrast
    torch.testing.assert_close(view(images().flip(2)), view(images()))


def pattern_of(decoder: nn.Module) -> float:
    """How much the middle of an image varies that is made of the same coarse features everywhere."""
    features = torch.linspace(-1, 1, 8).reshape(1, 8, 1, 1, 1).expand(1, 8, 16, 16, 16)
    image = (decoder.image if isinstance(decoder, ResizeDecoder) else decoder.decode)(features)
    middle = image[..., 28:36, 28:36, 28:36]
    return float((middle.std() / image.abs().max()).detach())


@pytest.mark.parametrize("resize", ["subpixel", "trilinear"])
def test_the_decoder_starts_without_the_checkerboard_of_transposed_convolutions(resize):
    torch.manual_seed(0)
    heads = HeadStatistics(torch.zeros(GRID), 1.0)
    channels = {"encoder_channels": [4, 8], "decoder_channels": [4, 8]}
    assert pattern_of(build_decoder(config(channels, resize=resize), heads)) < 1e-5
    assert pattern_of(build_decoder(config(channels, backbone="monai"), heads)) > 1e-2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decoder_channels": [2, 4]}, "one length"),
        ({"backbone": "monai"}, "has the encoder's channels"),
        ({"backbone": "unet"}, "residual"),
        ({"latent": 1}, "latent"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_by_the_recipe(changed, said):
    with pytest.raises(ValidationError, match=said):
        config(SECTIONS["residual"], **changed)


@every_network
def test_a_grid_that_cannot_be_halved_often_enough_is_refused(section):
    heads = HeadStatistics(torch.rand(32, 32, 18), 1.0)
    with pytest.raises(ValueError, match=r"multiple of (4|8), not \(32, 32, 18\)"):
        build_encoder(config(section), heads)
    with pytest.raises(ValueError, match=r"multiple of (4|8), not \(32, 32, 18\)"):
        build_decoder(config(section), heads)


@every_network
def test_group_norms_spelt_out_give_the_same_values_and_leave_the_original_alone(section):
    encoder, decoder = (network.eval() for network in built(section))
    with torch.no_grad():
        latent = encoder(images())[0]
        for network, given in ((SymmetricMean(encoder), images()), (decoder, latent)):
            spelt = spell_out_group_norms(network)
            assert not any(isinstance(module, nn.GroupNorm) for module in spelt.modules())
            assert any(isinstance(module, nn.GroupNorm) for module in network.modules())
            torch.testing.assert_close(spelt(given), network(given), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.*Constant folding:UserWarning")
@every_network
def test_every_backbone_can_be_exported_with_any_batch_and_agrees_with_torch(section, tmp_path):
    encoder, decoder = (network.eval() for network in built(section))
    latent = torch.randn(2, 12, generator=torch.Generator().manual_seed(4))
    for network, example, given in (
        (SymmetricMean(encoder), images(2), images(3, seed=5)),
        (decoder, latent, latent[:1]),
    ):
        path = tmp_path / "network.onnx"
        torch.onnx.export(
            spell_out_group_norms(network), (example,), str(path), input_names=["taken"], output_names=["given"],
            dynamic_axes={"taken": {0: "batch"}, "given": {0: "batch"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
        (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
            None, {"taken": given.numpy()}
        )
        with torch.no_grad():
            expected = network(given).numpy()
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
        assert b"InstanceNormalization" not in path.read_bytes()


@pytest.mark.parametrize("backbone", ["residual", "monai"])
def test_the_papers_grid_has_a_profile(backbone):
    """128^3 at 1.4 mm, five halvings, flat 512-d latent: shapes only, on torch's meta device."""
    channels = [16, 32, 64, 128, 256]
    made = config(
        {"backbone": backbone, "encoder_channels": channels, "decoder_channels": channels}, latent=512, linear_rank=0
    )
    heads = HeadStatistics(torch.zeros(128, 128, 128), 1.0)
    with torch.device("meta"):
        encoder, decoder = build_encoder(made, heads), build_decoder(made, heads)
        mean, log_variance = encoder.to("meta")(torch.empty(2, 1, 128, 128, 128))
        assert mean.shape == log_variance.shape == (2, 512)
        assert decoder.to("meta")(mean).shape == (2, 1, 128, 128, 128)


def test_the_benchmark_of_the_encoder_still_finds_what_it_measures():
    importlib.import_module("bench.bench_encoder")
