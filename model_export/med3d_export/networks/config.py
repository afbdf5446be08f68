"""The recipe's section on the two networks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from med3d_export.config_section import Section


class NetworkConfig(Section):
    """Channels after each halving of the grid (decoder: the same backwards) and the latent's dimension.

    backbone: ``residual`` is ours, of MONAI's blocks; ``monai`` is MONAI's own VarAutoEncoder, whose decoder has the
    encoder's channels. linear_rank: directions of the encoder's linear path beside the convolutions; 0 leaves it out.
    linear_decoder_rank: directions of the decoder's own linear path; 0 leaves it out. resize: how the decoder's grid is
    doubled. checkpointing: ``activations`` computes them twice instead of keeping them.
    """

    backbone: Literal["residual", "monai"] = "residual"
    encoder_channels: tuple[int, ...] = Field(min_length=2)
    decoder_channels: tuple[int, ...] = Field(min_length=2)
    linear_rank: int = Field(default=128, ge=0)
    linear_decoder_rank: int = Field(default=0, ge=0)
    latent: int = Field(default=512, ge=2)
    resize: Literal["subpixel", "trilinear"] = "subpixel"
    checkpointing: Literal["none", "activations"] = "none"

    @model_validator(mode="after")
    def _backbone_can_do_it(self) -> Self:
        if len(self.encoder_channels) != len(self.decoder_channels):
            raise ValueError("encoder_channels and decoder_channels must be of one length: a number per halving")
        if self.backbone == "monai" and self.encoder_channels != self.decoder_channels:
            raise ValueError("the monai backbone's decoder has the encoder's channels: make decoder_channels the same")
        return self
