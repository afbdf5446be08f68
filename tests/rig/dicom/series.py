"""DICOM series made from any volume: classic MR (one file per slice) and Enhanced MR (one file for all).

Geometry is written as a scanner would: ImageOrientationPatient, ImagePositionPatient and PixelSpacing from a RAS affine.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_MR = "1.2.840.10008.5.1.4.1.1.4.4"

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

MPRAGE: dict[str, Any] = {
    "Modality": "MR",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"],
    "SeriesNumber": 19,
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SP", "MP"],
    "MRAcquisitionType": "3D",
    "RepetitionTime": 2250,
    "EchoTime": 3.98,
    "InversionTime": 850,
    "FlipAngle": 9,
    "MagneticFieldStrength": 3,
    "Manufacturer": "MAKER",
    "ManufacturerModelName": "MODEL",
}
"""A T1-weighted three-dimensional acquisition; merge with what a test is about."""


def ras_affine(
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
    axes: np.ndarray | None = None,
) -> np.ndarray:
    """(4, 4) voxel -> RAS mm with the columns of ``axes`` (3, 3; default identity) scaled by ``spacing_mm``."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if axes is None else axes) * np.asarray(spacing_mm, dtype=float)
    affine[:3, 3] = origin_mm
    return affine


def slice_datasets(voxels: np.ndarray, affine: np.ndarray, **header: Any) -> list[Dataset]:
    """One classic MR data set per slice along the last axis of ``voxels`` (X columns, Y rows, Z slices; integer).

    ``header`` overrides MPRAGE; a value of None leaves the element out. ``series`` names the series (its UID follows).
    """
    series = header.pop("series", "series")
    across, down, step, origin = _lps(affine)
    datasets = []
    for index in range(voxels.shape[2]):
        dataset = _identified(MR, series, index)
        dataset.SpecificCharacterSet = "ISO_IR 192"  # headers may hold any letters
        _fill(dataset, MPRAGE | header)
        dataset.ImageOrientationPatient = _decimal([*_unit(across), *_unit(down)])
        dataset.ImagePositionPatient = _decimal(origin + index * step)
        dataset.PixelSpacing = _decimal([float(np.linalg.norm(down)), float(np.linalg.norm(across))])
        set_pixels(dataset, voxels[:, :, index])
        _fill(dataset, header)  # the test's word is the last one, on geometry and pixels too
        datasets.append(dataset)
    return datasets


def write_series(folder: Path, voxels: np.ndarray, affine: np.ndarray, **header: Any) -> list[Path]:
    """Write ``slice_datasets`` into ``folder`` and return the paths in slice order."""
    return save_all(folder, slice_datasets(voxels, affine, **header))


def save_all(folder: Path, datasets: Iterable[Dataset], prefix: str = "slice") -> list[Path]:
    """Write data sets as ``{prefix}000.dcm`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, dataset in enumerate(datasets):
        paths.append(folder / f"{prefix}{index:03d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def enhanced_dataset(
    volumes: Sequence[np.ndarray], affine: np.ndarray, frames: Sequence[dict[str, Any]] = (), **header: Any
) -> Dataset:
    """One Enhanced MR data set that holds ``volumes`` (each (X, Y, Z), integer) one after the other.

    ``frames`` may hold, per volume, what its frames say of themselves: EffectiveEchoTime, FrameType,
    ComplexImageComponent, RescaleSlope, RescaleIntercept, TemporalPositionIndex.
    """
    series = header.pop("series", "enhanced")
    across, down, step, origin = _lps(affine)
    dataset = _identified(ENHANCED_MR, series, 0)
    top = {name: value for name, value in (MPRAGE | header).items() if name not in _GROUPED}
    _fill(dataset, top | {"ScanningSequence": None, "SequenceVariant": None, "EchoPulseSequence": "GRADIENT"} | header)
    dataset.DimensionIndexSequence = Items(
        [_dimension("StackID"), _dimension("InStackPositionNumber"), _dimension("TemporalPositionIndex")]
    )
    values = MPRAGE | header
    timing = _item(RepetitionTime=values["RepetitionTime"], FlipAngle=values["FlipAngle"])
    modifier = _item(InversionRecovery="YES", InversionTimes=values["InversionTime"])
    orientation = _item(ImageOrientationPatient=_decimal([*_unit(across), *_unit(down)]))
    measures = _item(PixelSpacing=_decimal([float(np.linalg.norm(down)), float(np.linalg.norm(across))]))
    dataset.SharedFunctionalGroupsSequence = Items(
        [
            _item(
                MRTimingAndRelatedParametersSequence=Items([timing]),
                MRModifierSequence=Items([modifier]),
                PlaneOrientationSequence=Items([orientation]),
                PixelMeasuresSequence=Items([measures]),
            )
        ]
    )
    per_frame = []
    for number, volume in enumerate(volumes):
        own = {"EffectiveEchoTime": values["EchoTime"], "FrameType": values["ImageType"]}
        own |= frames[number] if frames else {}
        per_frame += [_frame(origin + index * step, index, number, own) for index in range(volume.shape[2])]
    dataset.PerFrameFunctionalGroupsSequence = Items(per_frame)
    dataset.NumberOfFrames = len(per_frame)
    stacked = np.concatenate([volume.transpose(2, 1, 0) for volume in volumes])
    set_pixels(dataset, stacked[0].T)
    dataset.PixelData = np.ascontiguousarray(stacked).tobytes()
    return dataset


def legacy_converted_dataset(voxels: np.ndarray, affine: np.ndarray, **header: Any) -> Dataset:
    """One Legacy Converted Enhanced MR data set, as archives make it of a classic series.

    What the classic images say of the sequence lies among the unassigned converted attributes: the echo time with each
    frame, all else shared.
    """
    values = MPRAGE | header
    top = {"Modality", "ImageType", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"}
    dataset = enhanced_dataset([voxels], affine, **header)
    for name in values.keys() - top - {"series"}:
        dataset.pop(name, None)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(LEGACY_CONVERTED_MR)
    dataset.pop("EchoPulseSequence", None)
    dataset.SeriesNumber = 1000 + values["SeriesNumber"]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    del shared.MRTimingAndRelatedParametersSequence
    del shared.MRModifierSequence
    own = {"EchoTime", "series"}
    converted = {name: value for name, value in values.items() if name not in top | own}
    shared.UnassignedSharedConvertedAttributesSequence = Items([_item(**converted)])
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.MREchoSequence
        frame.UnassignedPerFrameConvertedAttributesSequence = Items([_item(EchoTime=values["EchoTime"])])
    return dataset


def write_enhanced(path: Path, volumes: Sequence[np.ndarray], affine: np.ndarray, **header: Any) -> Path:
    """Write ``enhanced_dataset`` to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    enhanced_dataset(volumes, affine, **header).save_as(path, enforce_file_format=True)
    return path


def set_pixels(dataset: Dataset, columns_first: np.ndarray) -> None:
    """Put one (X columns, Y rows) integer image into ``dataset``, uncompressed."""
    pixels = np.ascontiguousarray(columns_first.T)
    bits = 8 * pixels.dtype.itemsize
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def head_like(shape: tuple[int, int, int] = (32, 40, 24), seed: int = 0, dtype: str = "uint16") -> np.ndarray:
    """Voxels that no axis flip or permutation leaves alone: a bright ellipsoid, a ramp and noise (synthetic)."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.8
    ramp = 100 + 40 * grid[0] + 25 * grid[1] + 12 * grid[2]
    return (inside * ramp + rng.uniform(0, 20, shape)).astype(dtype)


_GROUPED = {"RepetitionTime", "EchoTime", "InversionTime", "FlipAngle"}


def _lps(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    lps = LPS_FROM_RAS @ affine
    return lps[:3, 0], lps[:3, 1], lps[:3, 2], lps[:3, 3]


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector))


def _decimal(values: Iterable[float]) -> list[str]:
    """DICOM decimal strings: at most 16 characters."""
    return [f"{value:.9g}"[:16] for value in values]


def _identified(sop_class: str, series: str, index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = UID(sop_class)
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", series, str(index)])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", series])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber = 1  # never used for geometry, so it may as well mislead
    return dataset


def _fill(dataset: Dataset, header: dict[str, Any]) -> None:
    for keyword, value in header.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    _fill(item, elements)
    return item


def _dimension(keyword: str) -> Dataset:
    return _item(DimensionIndexPointer=Tag(keyword), FunctionalGroupPointer=Tag("FrameContentSequence"))


def _frame(position: np.ndarray, index: int, volume: int, own: dict[str, Any]) -> Dataset:
    temporal = own.get("TemporalPositionIndex", 1)
    content = _item(
        StackID="1",
        InStackPositionNumber=index + 1,
        TemporalPositionIndex=temporal,
        DimensionIndexValues=[1, index + 1, temporal],
        FrameAcquisitionNumber=1,
    )
    frame_type = {name: own[name] for name in ("FrameType", "ComplexImageComponent") if name in own}
    rescale = {name: own[name] for name in ("RescaleSlope", "RescaleIntercept") if name in own}
    return _item(
        FrameContentSequence=Items([content]),
        PlanePositionSequence=Items([_item(ImagePositionPatient=_decimal(position))]),
        MREchoSequence=Items([_item(EffectiveEchoTime=own["EffectiveEchoTime"])]),
        MRImageFrameTypeSequence=Items([_item(**frame_type)]),
        PixelValueTransformationSequence=Items([_item(**({"RescaleSlope": 1, "RescaleIntercept": 0} | rescale))]),
    )
