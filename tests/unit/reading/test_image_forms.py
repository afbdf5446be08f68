"""The ways in which an image arrives: gzipped DICOM, DICOMDIR, FreeSurfer's volumes, and kinds that are not read."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.study.study import load_series, read_study, select_series
from rig.dicom.series import head_like, ras_affine, write_enhanced, write_series
from rig.dicom.studies_on_disk import load_only, refusal_of_reading

SHAPE = (40, 44, 40)
AFFINE = ras_affine((2.5, 2.5, 2.5), (-50, -55, -50), np.eye(3)[:, [1, 2, 0]] * [1, -1, 1])


def gzipped(paths):
    for path in paths:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()


def test_gzipped_slices_are_the_series_that_they_hold(tmp_path):
    paths = write_series(tmp_path, head_like(SHAPE), AFFINE)
    plain = load_only(*paths)
    gzipped(paths)
    packed = load_only(tmp_path)
    assert packed.input_digest == plain.input_digest
    np.testing.assert_array_equal(packed.volume.voxels, plain.volume.voxels)


def test_a_gzipped_multiframe_object_is_read(tmp_path):
    gzipped([write_enhanced(tmp_path / "a.dcm", [head_like(SHAPE)], ras_affine((2.5, 2.5, 2.5)))])
    np.testing.assert_array_equal(load_only(tmp_path).volume.voxels, head_like(SHAPE))


def test_a_gzipped_slice_that_is_cut_short_is_unreadable(tmp_path):
    paths = write_series(tmp_path, head_like(SHAPE), AFFINE)[:1]
    gzipped(paths)
    packed = tmp_path / f"{paths[0].name}.gz"
    packed.write_bytes(packed.read_bytes()[:-400])
    assert read_study([tmp_path]).unreadable_files == 1


def test_a_gzip_bomb_is_no_slice(tmp_path):
    paths = write_series(tmp_path, head_like(SHAPE), AFFINE)[:1]
    (tmp_path / "bomb.dcm.gz").write_bytes(gzip.compress(paths[0].read_bytes() + bytes(80 * 2**20), 9))
    assert read_study([tmp_path]).unreadable_files == 1


def test_a_dicomdir_stands_for_its_folder(tmp_path):
    paths = write_series(tmp_path / "IMAGES", head_like(SHAPE), AFFINE)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0\2\0UI\x16\x001.2.840.10008.1.3.10\0")
    assert load_only(tmp_path / "DICOMDIR").input_digest == load_only(*paths).input_digest


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_freesurfers_volumes_are_read(tmp_path, suffix, dtype):
    voxels = head_like(SHAPE).astype(dtype)
    path = tmp_path / f"orig{suffix}"
    nib.MGHImage(voxels, AFFINE).to_filename(path)
    renamed = path.rename(tmp_path / "orig")
    for found in (load_only(renamed), load_only(renamed.rename(path))):
        np.testing.assert_array_equal(found.volume.voxels, voxels.astype(np.float32))
        np.testing.assert_allclose(found.volume.affine, AFFINE, atol=1e-3)


def test_freesurfers_volume_without_directions_is_refused(tmp_path):
    image = nib.MGHImage(head_like(SHAPE).astype("uint8"), AFFINE)
    image.to_filename(tmp_path / "orig.mgh")
    content = bytearray((tmp_path / "orig.mgh").read_bytes())
    content[28:30] = b"\0\0"
    (tmp_path / "orig.mgh").write_bytes(content)
    assert refusal_of_reading(tmp_path) == "nifti_no_affine"


@pytest.mark.parametrize("sides", [(40, 44, 40, 3), (2000, 2000, 2000, 1)])
def test_freesurfers_header_is_bounded(tmp_path, sides):
    nib.MGHImage(head_like(SHAPE).astype("uint8"), AFFINE).to_filename(tmp_path / "orig.mgh")
    content = bytearray((tmp_path / "orig.mgh").read_bytes())
    content[4:20] = np.array(sides, ">i4").tobytes()
    (tmp_path / "orig.mgz").write_bytes(gzip.compress(bytes(content)))
    (tmp_path / "orig.mgh").unlink()
    assert refusal_of_reading(tmp_path) in {"nifti_not_one_volume", "too_large"}


def test_freesurfers_aseg_is_a_label_image(tmp_path):
    labels = (head_like(SHAPE) > 60).astype("int32") * 17
    nib.MGHImage(labels, AFFINE).to_filename(tmp_path / "aseg.mgz")
    assert refusal_of_reading(tmp_path) == "label_image"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nrrd", b"NRRD0004\n", "NRRD"),
        ("head", b"NRRD0005\ntype: short", "NRRD"),
        ("a.mha", b"ObjectType = Image\n", "MetaImage"),
        ("a.nii.zst", b"\x28\xb5\x2f\xfd..", "Zstandard"),
        ("a.hdr", b"\x5c\x01\0\0" + bytes(344), "Analyze"),
        ("a.hdr", b"\0\0\x01\x5c" + bytes(344), "Analyze"),
        ("a.hdr", b"\x5c\x01\0\0" + bytes(340) + b"ni1\0", "NIfTI image in two files"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        ("a.png", b"\x89PNG\r\n", "picture"),
        ("a.tiff", b"II*\0\x08", "picture"),
        ("t1.mif", b"mrtrix image\ndim: 10,10,10\n", "MRtrix"),
        ("t1.mif.gz", gzip.compress(b"mrtrix image\ndim: 10,10,10\n", mtime=0), "MRtrix"),
        ("t1+orig.BRIK.gz", gzip.compress(bytes(1000), mtime=0), "AFNI"),
        ("t1.mnc.gz", gzip.compress(b"CDF\x01", mtime=0), "MINC"),
        ("IM1.dcm", b"/annex/objects/MD5E-s8713123--0c3.dcm", "git-annex"),
        ("IM1.dcm", b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_an_image_of_another_kind_is_refused_by_its_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "a.img").write_bytes(bytes(1000))
    with pytest.raises(InputRefused, match=r"^unsupported_format") as refused:
        read_study([tmp_path])
    assert words in refused.value.reason
    assert any(instead in refused.value.reason for instead in ("Send", "Unpack", "Fetch"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"/annex/objects/MD5E-s87--0c3.nii.gz\n", "git-annex"), (b"?", "no readable")],
)
def test_a_file_that_only_calls_itself_nifti_is_told_what_it_is(tmp_path, content, words):
    (tmp_path / "sub-01_T1w.nii.gz").write_bytes(content)
    with pytest.raises(InputRefused, match=r"^nifti_unreadable") as refused:
        select_series(read_study([tmp_path]))
    assert words in refused.value.reason


def test_a_damaged_header_of_a_nifti_in_one_file_is_not_called_a_pair(tmp_path):
    header = nib.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE).header
    header["scl_slope"], header["scl_inter"] = 1, np.nan
    (tmp_path / "t1.nii").write_bytes(header.binaryblock + bytes(4 + 2 * int(np.prod(SHAPE))))
    with pytest.raises(InputRefused, match=r"^nifti_unreadable: .*no readable NIfTI"):
        select_series(read_study([tmp_path]))


def test_other_kinds_beside_a_series_are_clutter(tmp_path):
    write_series(tmp_path, head_like(SHAPE), AFFINE)
    (tmp_path / "preview.png").write_bytes(b"\x89PNG\r\n")
    study = read_study([tmp_path])
    assert load_series(study, select_series(study).chosen).volume.shape == SHAPE


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("../.git/annex/objects/x/MD5E-s87--0c3.nii.gz", r"git-annex.*git annex get"),
        ("elsewhere.nii.gz", "link to a file that is not there"),
    ],
)
@pytest.mark.parametrize("as_folder", [True, False], ids=["folder", "file"])
def test_a_link_to_nothing_is_told_what_it_is(tmp_path, target, words, as_folder):
    link = tmp_path / "sub-01_T1w.nii.gz"
    link.symlink_to(target)
    with pytest.raises(InputRefused, match=rf"^unsupported_format: .*{words}") as refused:
        read_study([tmp_path if as_folder else link])
    assert "0c3" not in refused.value.reason
    write_series(tmp_path, head_like(SHAPE), AFFINE)
    assert read_study([tmp_path]).ignored_files == 1


def test_the_voxels_of_a_pair_without_their_header_are_told_what_they_are(tmp_path):
    (tmp_path / "x.img").write_bytes(bytes(1000))
    with pytest.raises(InputRefused, match=r"^unsupported_format: .*half of an Analyze or NIfTI pair.*Send"):
        read_study([tmp_path / "x.img"])
