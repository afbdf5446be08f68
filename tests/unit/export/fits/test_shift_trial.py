"""Cached results of spoilt heads belong to what was spoilt, not to where it lay."""

from med3d_export.shift_trial import AS_IT_IS, Trial


def test_another_scan_in_the_same_place_is_another_trial(tmp_path):
    head, study = tmp_path / "head.nii", tmp_path / "study"
    study.mkdir()
    before = []
    for content in (b"one", b"two"):
        head.write_bytes(content)
        (study / "1.dcm").write_bytes(content)
        before.append((Trial(head, "blur", 2).key, Trial(study, AS_IT_IS, 0).key))
    (first, second) = before
    assert not set(first) & set(second)
    moved = tmp_path / "moved"
    study.rename(moved)
    assert Trial(moved, AS_IT_IS, 0).key == second[1]
