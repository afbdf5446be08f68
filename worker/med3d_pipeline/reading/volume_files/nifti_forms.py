"""Where a NIfTI header places its image: sform and qform, and what to believe where the two differ."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reasons import Reason, ReviewCode
from med3d_pipeline.volume import Affine

FORMS_TOLERANCE_MM = 1.0
MAX_SHEAR_DEG = 0.5
_NO_SFORM = (
    "The sform is marked as set, but is all zeros or holds no numbers, so that it places nothing; qform was taken. "
    "A script wrote it: check that the head lies as it should."
)
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}  # metre and micrometre; 2 is millimetre and 0 is unstated


@dataclass(frozen=True, eq=False)
class Placement:
    """affine: (4, 4) float64, voxel indices to RAS+ mm. remark: what a person should know of it, or None."""

    affine: Affine
    remark: Reason | None


def placement(header: Any) -> Placement:
    """Read sform, or qform where no sform is set.

    Where both are set and differ by a motion (a turn, a shift), sform is the newer one: coregistration and cropping
    write it and leave qform as scanned. What no motion explains (size, shear, a mirror) is ambiguous. A sform that is
    called set and holds nothing leaves qform.

    Raises InputRefused with nifti_no_affine, nifti_forms_disagree, invalid_geometry or gantry_tilt.
    """
    with np.errstate(invalid="ignore"):  # signalling NaNs: judged below
        forms = [
            np.asarray(form, dtype=np.float64)
            for form, code in (header.get_sform(coded=True), header.get_qform(coded=True))
            if code > 0
        ]
    if not forms:
        raise InputRefused(
            "nifti_no_affine",
            "Neither sform nor qform is set, so left and right, and front and back, are unknown. "
            "Convert the scan from DICOM again with a tool that writes the orientation (such as dcm2niix).",
        )
    to_mm = np.diag([*[_MM_PER_UNIT.get(int(header["xyzt_units"]) & 0x07, 1.0)] * 3, 1.0])
    sform, *qform = (to_mm @ form for form in forms)
    if qform and not _is_placement(sform):
        refuse_deformed(qform[0])
        return Placement(qform[0], Reason(ReviewCode.FORMS_DIFFER, _NO_SFORM))
    apart_mm = _farthest_mm(sform - qform[0], header.get_data_shape()) if qform else 0.0
    if apart_mm <= FORMS_TOLERANCE_MM:
        refuse_deformed(sform)
        return Placement(sform, None)
    _refuse_unless_moved(sform, qform[0], header.get_data_shape())
    sentence = (
        f"Sform and qform place the image up to {apart_mm:.0f} mm apart by a shift or turn, as coregistration or "
        "cropping leaves them; sform was taken."
    )
    return Placement(sform, Reason(ReviewCode.FORMS_DIFFER, sentence))


def refuse_deformed(affine: Affine) -> None:
    """Raise InputRefused where ``affine`` is not finite, flat, or shears by more than MAX_SHEAR_DEG."""
    if not _is_placement(affine):
        raise InputRefused(
            "invalid_geometry",
            "The header does not say where the image lies: its matrix of positions (the affine) is flat or holds no "
            "numbers. Convert the scan from DICOM again, with a tool such as dcm2niix.",
        )
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    shear_deg = float(np.degrees(np.arcsin(np.clip(np.abs(axes.T @ axes - np.eye(3)).max(), 0, 1))))
    if shear_deg > MAX_SHEAR_DEG:
        raise InputRefused(
            "gantry_tilt",
            f"The axes of the image are {shear_deg:.1f} degrees off a right angle (gantry tilt, or an affine "
            "registration written into the header). Send the image in the scanner's own coordinates.",
        )


def _is_placement(affine: Affine) -> bool:
    """Tell whether it is finite and spans a volume."""
    if not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(lengths.min() >= 1e-3 and abs(np.linalg.det(affine)) >= 1e-9)


def _farthest_mm(difference: Affine, shape: tuple[int, ...]) -> float:
    """Tell how far apart two affines with that difference place the corner where they agree least.

    Inf for no number.
    """
    corners = np.array([(i, j, k, 1) for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    apart = float(np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max())
    return apart if np.isfinite(apart) else float("inf")


def _refuse_unless_moved(sform: Affine, qform: Affine, shape: tuple[int, ...]) -> None:
    """Raise nifti_forms_disagree unless a rigid motion takes one form to the other, within FORMS_TOLERANCE_MM."""
    turns = np.isfinite(qform).all() and abs(np.linalg.det(qform)) > 1e-9
    between = sform[:3, :3] @ np.linalg.inv(qform[:3, :3]) if turns else -np.eye(3)
    left, _, right = np.linalg.svd(between)
    turned = np.zeros((4, 4))
    turned[:3, :3] = sform[:3, :3] - left @ right @ qform[:3, :3]
    left_over_mm = _farthest_mm(turned, shape)
    mirrored = np.linalg.det(left @ right) < 0
    if mirrored or left_over_mm > FORMS_TOLERANCE_MM:
        how = "one mirrors the other" if mirrored else f"size or shear differ by up to {left_over_mm:.1f} mm"
        raise InputRefused(
            "nifti_forms_disagree",
            f"Sform and qform contradict each other ({how}), so the image's true shape or side is ambiguous. "
            "Convert the scan from DICOM again, or set both to the scanner's coordinates.",
        )
