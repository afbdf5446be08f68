"""The recipe's section on the two networks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from med3d_export.config_section import Section


class NetworkConfig(Section):
    """Channels after each halving of the grid (decoder: the same backwards) and the latent's dimension.

    backbone: ``residual`` is ours, of MONAI's blocks; ``monai`` is MONAI's own VarAutoEncoder, whose decoder has the
    encoder's channels. linear_rank: directions of the encoder's linear path beside the convolutions; 0 leaves it out.
    linear_decoder_rank: directions of the decoder's own linear path; 0 leaves it out.
    local_codes: above 0, the latent starts otherwise: linear_rank whitened codes of the whole head first, then so many
    of single cubes (cube_voxels along an axis, every cube_step voxels), which the decoder starts from, too.
    start_copies: varied copies of each training head (the recipe's augmentation) that the cubes' codes take beside it.
    resize: how the decoder's grid is doubled. checkpointing: ``activations`` computes them twice instead of keeping
    them. half_weights: a bundle stores large weights as 16-bit floats.
    """

    backbone: Literal["residual", "monai"] = "residual"
    encoder_channels: tuple[int, ...] = Field(min_length=2)
    decoder_channels: tuple[int, ...] = Field(min_length=2)
    linear_rank: int = Field(default=128, ge=0)
    linear_decoder_rank: int = Field(default=0, ge=0)
    local_codes: int = Field(default=0, ge=0)
    cube_voxels: int = Field(default=20, ge=2)
    cube_step: int = Field(default=16, ge=1)
    start_copies: int = Field(default=0, ge=0)
    half_weights: bool = False
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

    @model_validator(mode="after")
    def _codes_fit_into_the_latent(self) -> Self:
        if not self.local_codes:
            return self
        if self.linear_rank + self.local_codes > self.latent:
            raise ValueError(f"linear_rank and local_codes together are at most the latent's {self.latent}")
        if not self.linear_rank or self.linear_decoder_rank:
            raise ValueError("local_codes go with linear_rank above 0 and without linear_decoder_rank")
        if not self.cube_voxels // 2 <= self.cube_step <= self.cube_voxels:
            raise ValueError("cube_step lies between half of cube_voxels and all of it: cubes overlap one neighbour")
        return self
