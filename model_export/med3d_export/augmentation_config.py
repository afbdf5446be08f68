"""The recipe's section on how heads are varied."""

from pydantic import Field

from med3d_export.config_section import NotNegative, Section


class AugmentationConfig(Section):
    """Reaches of the uniform draws; 0 switches one off. ``log_`` reaches are of the natural logarithm.

    sharpness: share of the difference from a blurred head that is added or taken away. noise_varies: noise of any
    strength up to noise_sd, not of that alone. elastic_voxels: how far each of 8^3 control points of a smooth
    deformation is moved along an axis. thick_probability: how often a head is blurred along each axis (1 2 1), as
    thicker slices would.
    """

    flip_probability: float = Field(default=0.5, ge=0, le=1)
    rotation_deg: NotNegative = 4.0
    scale: NotNegative = 0.03
    shift_voxels: NotNegative = 1.0
    sharpness: NotNegative = 0.5
    log_gamma: NotNegative = 0.2
    log_gain: NotNegative = 0.1
    log_shading: NotNegative = 0.05
    noise_sd: NotNegative = 0.02
    noise_varies: bool = False
    elastic_voxels: NotNegative = 0.0
    thick_probability: float = Field(default=0.0, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0, le=1)
