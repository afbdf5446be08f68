"""The demonstration's head: the average head of the pydeface wheel or of the bundle, written as a classic MR series.

Source: mean_reg2mean.nii.gz of pydeface (MIT licence), a T1-weighted average with skull and face. Its timing parameters
are made up, because an average has none, and the series says so; scanner and field strength stay unstated.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.bundle.reference_case import FOLDER
from med3d_pipeline.volume import Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
GREATEST_STORED_VALUE = 4095


def average_head(wheel: str = "pydeface") -> Volume:
    """Return the head at 1 mm where the wheel is installed, else the bundle's reference case at 2 mm."""
    spec = find_spec(wheel)
    if spec is None or not spec.submodule_search_locations:
        image = nib.load(Bundle.default_path() / FOLDER / "input.nii.gz")
    else:
        image = nib.load(Path(spec.submodule_search_locations[0]) / "data" / "mean_reg2mean.nii.gz")
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def write_mr_series(volume: Volume, folder: Path) -> None:
    """Write ``volume`` as sagittal slices, one file each; its first voxel axis is the one from left to right.

    Rows are stored from top to bottom and columns from front to back, as scanners store sagittal slices. UIDs follow
    from the content: the same volume is the same study, however often it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = _stored_values(volume.voxels)
    content = hashlib.sha256(stored.tobytes() + volume.affine.tobytes()).hexdigest()
    for number in range(volume.shape[0]):
        dataset = _instance(content, number)
        _place(dataset, volume, number)
        pixels = np.ascontiguousarray(stored[number, ::-1, ::-1].T)  # (rows, columns): from the top, from the front
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _stored_values(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    scaled = voxels * (GREATEST_STORED_VALUE / float(voxels.max()))
    stored: npt.NDArray[np.uint16] = np.clip(np.rint(scaled), 0, GREATEST_STORED_VALUE).astype("<u2")
    return stored


def _instance(content: str, number: int) -> Dataset:
    """Return one MR image (PS3.3 A.4) without its pixels and its place."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[content, "instance", str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[content, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[content, "series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[content, "frame of reference"])
    dataset.Modality, dataset.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M"]
    dataset.PatientName, dataset.PatientID = "Demonstration^Average head", "DEMO"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = dataset.Manufacturer = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number + 1
    dataset.SeriesDescription = "T1w average head, demonstration"
    dataset.ImageComments = "Average of many heads (pydeface). TR, TE, TI and flip angle are made up."
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = ["GR", "IR"], ["SP", "MP"], ""
    dataset.MRAcquisitionType, dataset.EchoTrainLength = "3D", 1
    dataset.RepetitionTime, dataset.EchoTime, dataset.InversionTime, dataset.FlipAngle = 2300, 3, 900, 9
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    return dataset


def _place(dataset: Dataset, volume: Volume, number: int) -> None:
    """Return image plane module (PS3.3 C.7.6.2): direction and position in LPS mm, from the affine in RAS mm."""
    _, y_count, z_count = volume.shape
    directions = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    row_direction, column_direction = RAS_TO_LPS @ -directions[:, 1], RAS_TO_LPS @ -directions[:, 2]
    first_voxel = volume.affine @ np.array([number, y_count - 1, z_count - 1, 1.0])
    x_mm, y_mm, z_mm = volume.spacing_mm
    dataset.ImageOrientationPatient = [_decimal(value) for value in (*row_direction, *column_direction)]
    dataset.ImagePositionPatient = [_decimal(value) for value in RAS_TO_LPS @ first_voxel[:3]]
    dataset.PixelSpacing = [_decimal(z_mm), _decimal(y_mm)]
    dataset.SliceThickness = _decimal(x_mm)


def _decimal(value: float) -> str:
    """Return a DICOM decimal string: at most 16 characters."""
    return f"{value:.9g}"
