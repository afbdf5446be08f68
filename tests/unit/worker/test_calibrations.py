"""Which calibrations a process loads, and that its answers say so."""

import base64
import hashlib
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from med3d_contract.calibrations import CalibrationFile
from med3d_pipeline.bundle.bundle_signature import make_signing_key, read_signing_key
from med3d_pipeline.calibration.files import REVOKED, write_calibration
from med3d_pipeline.calibration.refusals import CalibrationRefused
from med3d_pipeline.calibration.site_calibration import BundleName, CalibratedSite
from med3d_worker.analysis import Analyser, Stated
from med3d_worker.model.calibrations import CalibrationShelf, load_calibrations
from med3d_worker.settings import BundleSettings
from rig.science.calibrations import CREATED, DIGEST, calibration
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import latent_space, predictor, tensors


class ABundle:
    digest = DIGEST

    def predictor(self):
        return predictor()


@pytest.fixture
def key(tmp_path):
    make_signing_key(tmp_path / "hospital.pem")
    return read_signing_key(tmp_path / "hospital.pem")


def load(place, keys=None, **settings):
    return load_calibrations(BundleSettings(calibration=place, calibration_keys=keys, **settings), ABundle())


def of_another_bundle():
    return calibration().model_copy(update={"bundle": BundleName(name="b", version="2", digest="e" * 64)})


def test_without_a_setting_there_is_none():
    assert load(None) == ()


def test_a_signed_file_is_loaded_with_its_digest(tmp_path, key):
    write_calibration(tmp_path / "site.json", calibration(), key)
    (found,) = load(tmp_path / "site.json", tmp_path)
    assert found.calibrated_for == "Ward 3"
    assert len(found.calibration_digest) == 64


def test_with_no_trusted_key_nothing_is_loaded_unless_that_is_allowed(tmp_path):
    write_calibration(tmp_path / "site.json", calibration(), None)
    with pytest.raises(CalibrationRefused, match=r"calibration_unsigned: .*MED3D_CALIBRATION_KEYS"):
        load(tmp_path / "site.json")
    assert len(load(tmp_path / "site.json", allow_untrusted_calibration=True)) == 1


@pytest.mark.parametrize("name", ["calibration", "calibration_keys", "bundle", "bundle_keys"])
def test_a_setting_that_is_empty_is_not_the_folder_that_the_process_is_in(name):
    with pytest.raises(ValueError, match="it is empty, as where a variable is not set"):
        BundleSettings(**{name: ""})


def test_a_file_of_another_model_is_refused_and_in_a_folder_passed_over(tmp_path, key):
    folder = tmp_path / "calibrations"
    folder.mkdir()
    write_calibration(folder / "old.json", of_another_bundle(), key)
    with pytest.raises(CalibrationRefused, match="calibration_other_bundle"):
        load(folder / "old.json", tmp_path)
    assert load(folder, tmp_path) == ()
    write_calibration(folder / "a.json", calibration(site="A"), key)
    write_calibration(folder / "b.json", calibration(site="B"), key)
    assert [site.calibrated_for for site in load(folder, tmp_path)] == ["A", "B"]


def test_of_a_folder_s_the_one_made_later_goes_before(tmp_path, key):
    folder = tmp_path / "calibrations"
    folder.mkdir()
    for days, site in enumerate(("A", "B", "C")):
        made = calibration(site=site).model_copy(update={"created": CREATED + timedelta(days=days)})
        write_calibration(folder / f"{site}.json", made, key)
    write_calibration(folder / "D.json", calibration(site="D"), key)
    assert [site.calibrated_for for site in load(folder, tmp_path)] == ["C", "B", "A", "D"]


def test_an_empty_folder_is_no_calibration(tmp_path):
    with pytest.raises(CalibrationRefused, match="no calibration"):
        load(tmp_path, allow_untrusted_calibration=True)


def test_an_answer_says_whose_calibration_it_has(tmp_path):
    write_small_series(tmp_path)
    site = CalibratedSite(calibration(), latent_space(), digest="c" * 64)
    model = loaded_model(CannedPreprocessor(tensors([0.2, 0, 0, 0])[0]), calibrations=(site,))
    analyse = Analyser(model, allow_demonstration_heads=False)
    stated, other = (analyse(tmp_path, Stated(site=name)).report.result for name in ("Ward 3", None))
    assert (stated.assessment.calibrated_for, stated.assessment.calibration_digest) == ("Ward 3", "c" * 64)
    assert stated.brain_age.estimate == pytest.approx(46.0, abs=0.01)
    assert other.assessment.calibrated_for is None
    assert other.brain_age.estimate == pytest.approx(52.0)
    assert analyse.sites == ("Ward 3",)


def sent(key, made=None):
    """A calibration as it comes with a claim."""
    content = (made or calibration()).to_json().encode()
    parts = (base64.b64encode(part) for part in (content, key.sign(content)))
    return CalibrationFile(
        digest=hashlib.sha256(content).hexdigest(), **dict(zip(("file", "signature"), parts, strict=True))
    )


def shelf(keys=None, **settings):
    return CalibrationShelf(BundleSettings(calibration_keys=keys, **settings), DIGEST, latent_space())


def test_a_calibration_that_came_with_a_run_is_opened_once(tmp_path, key):
    opens, one = shelf(tmp_path), sent(key)
    first, again = opens([one]), opens([one])
    assert first[one.digest] is again[one.digest]
    assert (first[one.digest].calibrated_for, first[one.digest].calibration_digest) == ("Ward 3", one.digest)


def test_one_that_no_key_here_vouches_for_is_left_out_and_logged(tmp_path, key):
    one = sent(key)
    (tmp_path / "other").mkdir()
    make_signing_key(tmp_path / "other" / "stranger.pem")
    with capture_logs() as logs:
        assert shelf()([one]) == {}
        assert shelf(tmp_path / "other")([one]) == {}
        assert shelf(tmp_path)([sent(key, of_another_bundle())]) == {}
    assert [log["event"] for log in logs] == ["calibration_not_used"] * 3
    assert len(shelf(allow_untrusted_calibration=True)([one])) == 1


def with_signature(one, signature):
    return CalibrationFile(digest=one.digest, file=base64.b64encode(one.file), signature=base64.b64encode(signature))


def test_the_right_signature_serves_after_a_wrong_one_and_beside_it(tmp_path, key):
    opens, right = shelf(tmp_path), sent(key)
    wrong = with_signature(right, bytes(64))
    assert opens([wrong]) == {}
    assert set(opens([right])) == {right.digest}
    for both in ([wrong, right], [right, wrong]):
        assert set(opens(both)) == {right.digest}
    assert opens([wrong]) == {}


def test_one_that_was_left_out_is_tried_again(tmp_path, key):
    opens, one = shelf(tmp_path), sent(key)
    withdrawn = tmp_path / REVOKED
    withdrawn.write_text("which one?\n")
    with capture_logs() as logs:
        assert opens([one]) == {}
    assert "Line 1 of revoked.txt" in logs[0]["because"]
    withdrawn.unlink()
    assert set(opens([one])) == {one.digest}
