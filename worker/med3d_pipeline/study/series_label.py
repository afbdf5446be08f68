"""Our labels for series: series number and geometry, never a word or identifier of the sender."""

from collections import Counter
from collections.abc import Sequence

from med3d_pipeline.reading.dicom_plane import Plane
from med3d_pipeline.reading.stack_geometry import StackGeometry
from med3d_pipeline.reading.volume_files.nifti import NiftiFile


def stack_label(stack: Sequence[Plane], geometry: StackGeometry | None, is_t1_weighted: bool) -> str:
    """Write it such as ``series 19: 3D T1w 1.00 x 1.00 x 1.00 mm, 176 slices``."""
    number = stack[0].series_number
    kinds = {plane.facts.acquisition_type for plane in stack} & {"2D", "3D"}
    words = [kinds.pop()] if len(kinds) == 1 else []
    if is_t1_weighted:
        words.append("T1w")
    if geometry is not None:
        words.append(" x ".join(f"{spacing:.2f}" for spacing in geometry.spacing_mm) + " mm")
    else:
        words.append(f"{stack[0].columns} x {stack[0].rows} pixels")
    head = "series without number" if number is None else f"series {number}"
    return f"{head}: {' '.join(words)}, {len(stack)} slice{'s' if len(stack) > 1 else ''}"


def nifti_label(nifti: NiftiFile) -> str:
    """Write it such as ``volume: 1.00 x 1.00 x 1.00 mm, 176 x 256 x 256``."""
    if nifti.affine is None:
        return "volume: unreadable geometry" if 0 in nifti.shape else f"volume: {_times(nifti.shape)}"
    return f"volume: {' x '.join(f'{spacing:.2f}' for spacing in nifti.spacing_mm)} mm, {_times(nifti.shape)}"


def distinct_labels(labels: Sequence[str]) -> list[str]:
    """Return the labels in the same order, with ``(1 of 2)`` and so on where several are the same."""
    totals, seen = Counter(labels), Counter[str]()
    distinct = []
    for label in labels:
        seen[label] += 1
        distinct.append(label if totals[label] == 1 else f"{label} ({seen[label]} of {totals[label]})")
    return distinct


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)
