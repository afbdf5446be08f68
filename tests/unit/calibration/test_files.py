"""A calibration on disk: signed, withdrawn, altered, of another model."""

import hashlib
import json
import math
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from med3d_pipeline.bundle.bundle_signature import TrustedKeys, make_signing_key, read_signing_key
from med3d_pipeline.calibration.files import (
    REVOKED,
    read_calibration,
    read_revoked,
    require_bundle,
    write_calibration,
)
from med3d_pipeline.calibration.refusals import CalibrationCode, CalibrationRefused
from rig.science.calibrations import DIGEST, calibration


@pytest.fixture
def keys(tmp_path):
    """A hospital's private key, and the folder of public keys that it trusts."""
    folder = tmp_path / "keys"
    folder.mkdir()
    make_signing_key(folder / "hospital.pem")
    return read_signing_key(folder / "hospital.pem"), folder


@pytest.fixture
def written(tmp_path, keys):
    path = tmp_path / "site_calibration.json"
    write_calibration(path, calibration(), keys[0])
    return path


def code(path, folder, revoked=()):
    with pytest.raises(CalibrationRefused) as found:
        read_calibration(path, TrustedKeys.read(folder), revoked)
    return found.value.code


def test_a_signed_calibration_is_read_as_it_was_written(written, keys):
    found = read_calibration(written, TrustedKeys.read(keys[1]))
    assert found.calibration == calibration()
    assert found.signed_by == "hospital"
    assert found.digest == hashlib.sha256(written.read_bytes()).hexdigest()


def test_openssl_agrees_with_the_signature(written, keys):
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", keys[1] / "hospital.pub.pem",
         "-in", written, "-sigfile", f"{written}.sig"],
        check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_changed_number_is_not_believed(written, keys):
    values = json.loads(written.read_text())
    values["age"]["offset"] = 0.0
    written.write_text(json.dumps(values))
    assert code(written, keys[1]) == CalibrationCode.SIGNATURE_INVALID


def test_another_key_s_signature_is_not_believed(written, keys, tmp_path):
    make_signing_key(tmp_path / "stranger.pem")
    write_calibration(written, calibration(), read_signing_key(tmp_path / "stranger.pem"))
    assert code(written, keys[1]) == CalibrationCode.SIGNATURE_INVALID


def test_without_a_key_none_is_left_of_the_file_before(written, keys):
    write_calibration(written, calibration(), None)
    assert code(written, keys[1]) == CalibrationCode.UNSIGNED
    assert read_calibration(written, None).signed_by is None


def test_a_withdrawn_calibration_is_refused_by_its_digest(written, keys):
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert read_revoked(keys[1]) == frozenset()
    (keys[1] / REVOKED).write_text(f"# after the coil was changed\n\n{digest.upper()}  # ward 3\n")
    assert code(written, keys[1], read_revoked(keys[1])) == CalibrationCode.REVOKED
    assert read_revoked(keys[1] / "hospital.pub.pem") == {digest}
    assert read_revoked(None) == frozenset()


def test_a_list_of_the_withdrawn_that_cannot_be_read_stops_all(keys):
    (keys[1] / REVOKED).write_bytes(b"\xff\xfe")
    with pytest.raises(CalibrationRefused, match="calibration_unreadable"):
        read_revoked(keys[1])


@pytest.mark.parametrize(
    "line",
    ["{digest}  site_calibration.json\n", "{digest} *site.json\r\n", "{digest} after the coil was changed",
     "sha256:{digest}", "SHA256:{digest}\t# ward 3", "\ufeff{digest}\n", "\ufeff# withdrawn\n  {digest}"],
)  # fmt: skip
def test_a_digest_withdraws_however_its_line_is_written(written, keys, line):
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    (keys[1] / REVOKED).write_bytes(line.format(digest=digest).encode())
    assert code(written, keys[1], read_revoked(keys[1])) == CalibrationCode.REVOKED


@pytest.mark.parametrize("line", ["{short}", "ward_3.json  {digest}", "SHA256 (ward_3.json) = {digest}", "{digest}0"])
def test_a_line_that_begins_with_no_digest_stops_all_and_is_named_by_its_number(keys, line):
    text = line.format(digest="ab" * 32, short="ab" * 6)
    (keys[1] / REVOKED).write_text(f"# withdrawn\n\n{'cd' * 32}\n{text}\n")
    with pytest.raises(CalibrationRefused, match=r"^calibration_unreadable: Line 4 of revoked\.txt") as found:
        read_revoked(keys[1])
    assert text not in found.value.reason


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 5_000_000])
def test_what_is_no_calibration_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationRefused, match="calibration_unreadable"):
        read_calibration(path, None)
    with pytest.raises(CalibrationRefused, match="cannot be read"):
        read_calibration(tmp_path / "none.json", None)


@pytest.mark.parametrize(
    ("part", "value"),
    [("residuals_years", [3.0, 1.0] * 10), ("residuals_years", [1.0]), ("site", "<script>"), ("heads", 19), ("x", 1),
     ("age_range_years", [-1, 60]), ("age_range_years", [20, 121]), ("age_range_years", [60, 20]),
     ("age_range_years", [math.nan, 60]), ("created", "9999-12-30")],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(tmp_path, part, value):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(json.loads(calibration().to_json()) | {part: value}))
    with pytest.raises(CalibrationRefused, match=f"calibration_unreadable: .*{part}"):
        read_calibration(path, None)


@pytest.mark.parametrize("line", ["age", "gap_bias"])
@pytest.mark.parametrize(
    "value", [{"lowest": 61.0, "highest": 60.0}, {"offset": 120.5}, {"offset": -1e6}, {"slope": 11.0}, {"slope": -11.0}]
)
def test_a_line_that_no_heads_could_give_is_refused(tmp_path, line, value):
    written = json.loads(calibration().to_json())
    written[line] |= value
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(written))
    with pytest.raises(CalibrationRefused, match=f"calibration_unreadable: .*{line}"):
        read_calibration(path, None)


def test_a_clock_that_is_a_day_ahead_made_a_calibration_still(tmp_path):
    path = tmp_path / "site.json"
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    write_calibration(path, calibration().model_copy(update={"created": tomorrow}), None)
    assert read_calibration(path, None).calibration.created == tomorrow


def test_a_calibration_ends_with_its_model():
    require_bundle(calibration(), DIGEST)
    with pytest.raises(CalibrationRefused, match=r"calibration_other_bundle: .*bundle 1"):
        require_bundle(calibration(), "e" * 64)
