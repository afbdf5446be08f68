import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.preparing.one_series import quality_report
from med3d_worker.preparing.preparation import (
    StudyPreparation,
    StudyRefused,
    acquisition_fields,
    acquisition_of_fields,
)
from med3d_worker.stage_clock import StageClock
from rig.science.models import LIMITS, CannedPreprocessor, loaded_model, write_small_series
from rig.service.stores import MemoryStore


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    write_small_series(folder)
    return folder


def prepare(model, path, cache=None, chosen=None, stages=None):
    heard = [] if stages is None else stages
    return StudyPreparation(model, cache)([path], chosen=chosen, clock=StageClock(), on_stage=heard.append)


def test_a_series_becomes_a_tensor_with_series_quality_and_provenance(series):
    stages = []
    study = prepare(loaded_model(), series, stages=stages)
    assert study.findings.series.chosen == study.findings.series.candidates[0].label
    assert study.findings.quality.measures["template_overlap"] == 0.95
    assert study.findings.quality.limits == {"template_overlap": (0.8, None)}
    assert study.findings.provenance.preprocessing_digest == "p" * 64
    assert stages == ["reading headers", "reading the series", "brain extraction"]
    assert study.findings.provenance.timings_s.keys() == set(stages)
    assert study.findings.provenance.timings_s["brain extraction"] == 1.25
    assert study.stored is None
    assert study.images is not None


def test_a_head_that_was_preprocessed_before_is_not_preprocessed_again(series):
    cache, preprocessor = TensorCache(MemoryStore()), CannedPreprocessor(np.full((2, 2, 1), 7, np.float32))
    model = loaded_model(preprocessor)
    first, second = prepare(model, series, cache), prepare(model, series, cache)
    assert preprocessor.calls == 1
    assert first.stored == second.stored
    np.testing.assert_array_equal(second.record.tensor, first.record.tensor)
    assert second.findings.quality == first.findings.quality


def test_another_preprocessing_does_not_reuse_the_tensor(series):
    cache, preprocessor = TensorCache(MemoryStore()), CannedPreprocessor()
    prepare(loaded_model(preprocessor, "a" * 64), series, cache)
    prepare(loaded_model(preprocessor, "b" * 64), series, cache)
    assert preprocessor.calls == 2


def test_a_cached_head_is_judged_by_todays_limits(series):
    cache, preprocessor = TensorCache(MemoryStore()), CannedPreprocessor(overlap=0.85)
    model = loaded_model(preprocessor)
    prepare(model, series, cache)
    stricter = LIMITS.model_copy(update={"refuse": {"template_overlap": (0.9, None)}})
    object.__setattr__(model, "quality_limits", stricter)
    with pytest.raises(StudyRefused) as caught:
        prepare(model, series, cache)
    assert caught.value.findings.quality.failed == ("template_overlap",)
    assert preprocessor.calls == 1


def test_a_quality_refusal_carries_series_quality_and_provenance(series):
    with pytest.raises(StudyRefused) as caught:
        prepare(loaded_model(CannedPreprocessor(overlap=0.2)), series)
    refused = caught.value
    assert refused.findings.quality.failed == ("template_overlap",)
    assert refused.findings.series.chosen is not None
    assert refused.findings.provenance.input_digest is not None


def test_a_measure_between_the_limits_is_for_review(series):
    study = prepare(loaded_model(CannedPreprocessor(overlap=0.85)), series)
    assert len(study.review_reasons) == 1
    assert study.findings.quality.failed == ()


def test_a_refusal_inside_preprocessing_keeps_its_code(series):
    refusal = InputRefused("no_brain", "There is no brain. Send a head.", {"voxels": 3})
    with pytest.raises(StudyRefused) as caught:
        prepare(loaded_model(CannedPreprocessor(refusal=refusal)), series)
    assert (caught.value.refusal.code, caught.value.refusal.details) == ("no_brain", {"voxels": 3})
    assert caught.value.findings.quality is None


def test_a_series_chosen_by_hand_that_does_not_exist_is_refused_with_the_candidates(series):
    with pytest.raises(StudyRefused) as caught:
        prepare(loaded_model(), series, chosen="series 99")
    assert caught.value.refusal.code == "unknown_series"
    assert len(caught.value.findings.series.candidates) == 1


def test_a_folder_without_images_is_refused_before_anything_is_known(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(StudyRefused) as caught:
        prepare(loaded_model(), tmp_path)
    assert (caught.value.refusal.code, caught.value.findings.series) == ("no_images", None)


def test_what_could_not_be_measured_is_null_in_json():
    quality = quality_report({"snr": float("nan"), "cnr": float("inf"), "overlap": 0.9}, {}, ())
    assert quality.measures == {"snr": None, "cnr": None, "overlap": 0.9}


def test_acquisitions_travel_without_loss_of_what_the_decision_needs(series):
    acquisition = prepare(loaded_model(), series).acquisition
    back = acquisition_of_fields(acquisition_fields(acquisition))
    assert (back.tr_ms, back.field_strength_t, back.manufacturer) == (2300, None, None)
