"""What `med3d analyse --site` says of a site that nothing is known of."""

from dataclasses import replace

import pytest

from med3d_cli.studies.analyse import site_without_effect
from med3d_pipeline.calibration.site_calibration import CalibratedSite
from med3d_worker.analysis import Analyser, Stated
from rig.science.calibrations import calibration
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import latent_space, tensors


@pytest.fixture
def said(tmp_path):
    """What is said of a site, with calibrations for these loaded; none of heads that name a scanner."""
    write_small_series(tmp_path)

    def of(site, *calibrated, **changed):
        made = [calibration(site=name).model_copy(update=changed) for name in calibrated]
        model = loaded_model(CannedPreprocessor(tensors([0.2, 0, 0, 0])[0]))
        sites = tuple(CalibratedSite(one, latent_space(), digest="c" * 64) for one in made)
        model = replace(model, calibrations=sites, predictor=model.predictor.calibrated(sites))
        analyser = Analyser(model, allow_demonstration_heads=False)
        return site_without_effect(site, analyser.sites, [analyser(tmp_path, Stated(site=site)).report])

    return of


def test_a_site_that_no_calibration_is_for_is_told_with_those_that_there_are(said):
    assert said("Ward 3 Prisma", "Ward 3", "Ward 5").endswith("so none was applied; there are: Ward 3, Ward 5")


def test_one_that_a_calibration_is_for_needs_no_word_and_one_that_it_was_not_applied_to_has_reasons(said):
    assert said(" ward  3", "Ward 3") is None
    assert said("Ward 3", "Ward 3", expires=calibration().created) is None


def test_without_calibrations_it_is_the_model_that_knows_no_sites(said):
    assert "this model corrects for no sites" in said("Ward 3")
