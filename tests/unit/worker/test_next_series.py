"""A study of several series: the next one where the first cannot be used, and two that contradict each other."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless

from med3d_pipeline.errors import InputRefused
from med3d_worker.heads.pictures import PictureStore
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.preparing.preparation import StudyPreparation, StudyRefused
from med3d_worker.stage_clock import StageClock
from rig.science.models import CannedPreprocessor, loaded_model, write_small_series
from rig.science.predictions import GRID
from rig.service.stores import MemoryStore

NO_HEAD = InputRefused("not_a_head", "This is no head. Send a head.")


class InTurn(CannedPreprocessor):
    """Each series gets what the test says: an overlap, a refusal, or a tensor's first value."""

    def __init__(self, *answers):
        super().__init__()
        self._answers = list(answers)

    def __call__(self, volume, on_stage=lambda _: None):
        answer = self._answers[self.calls]
        self.refusal = answer if isinstance(answer, InputRefused) else None
        self.overlap, years = answer if isinstance(answer, tuple) else (0.95, 50)
        self.tensor = np.zeros(GRID, np.float32)
        self.tensor.flat[0] = (years - 50) / 10  # what the predictor of rig.science.predictions makes an age of
        return super().__call__(volume, on_stage)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four series with the numbers 1 to 4, equal but for their UIDs and one pixel."""
    root = tmp_path_factory.mktemp("study")
    for number in (1, 2, 3, 4):
        write_small_series(root / str(number))
        uid = f"2.25.{number}"
        for path in (root / str(number)).iterdir():
            dataset = dcmread(path)
            dataset.SeriesInstanceUID, dataset.SeriesNumber = uid, number
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{dataset.InstanceNumber}"
            pixels = dataset.pixel_array.copy()
            pixels[0, 0] = number
            dataset.PixelData = pixels.tobytes()
            dataset.save_as(path)
    return root


def prepare(study, *answers, series=(1, 2), chosen=None, store=None):
    cache = None if store is None else TensorCache(store)
    pictures = None if store is None else PictureStore(store)
    paths = [study / str(number) for number in series]
    preparation = StudyPreparation(loaded_model(InTurn(*answers)), cache, pictures)
    return preparation(paths, chosen=chosen, clock=StageClock(), on_stage=lambda _: None)


def codes(prepared):
    return [reason.code for reason in prepared.review_reasons]


@pytest.mark.parametrize(("first", "code"), [(NO_HEAD, "not_a_head"), ((0.2, 50), "not_a_head")])
def test_where_the_first_series_is_refused_the_next_is_taken_and_both_verdicts_are_told(study, first, code):
    prepared = prepare(study, first, (0.95, 50))
    assert prepared.findings.series.chosen.startswith("series 2:")
    assert prepared.findings.quality.failed == ()
    assert codes(prepared) == ["earlier_series_unusable"]
    assert f"({code}; series 1: 3D T1w" in prepared.review_reasons[0].sentence
    refused = next(one for one in prepared.findings.series.candidates if one.label.startswith("series 1:"))
    assert refused.reasons[-1].startswith(f"cannot be used ({code})")


def test_a_series_that_cannot_be_decoded_gives_way_to_the_next(study, tmp_path):
    damaged = tmp_path / "1"
    damaged.mkdir()
    for path in (study / "1").iterdir():
        dataset = dcmread(path)
        if dataset.InstanceNumber == 30:
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
            dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\xff\x4f\xff\x51"
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.save_as(damaged / path.name)
    preparation = StudyPreparation(loaded_model())
    prepared = preparation([damaged, study / "2"], chosen=None, clock=StageClock(), on_stage=lambda _: None)
    assert prepared.findings.series.chosen.startswith("series 2:")
    assert "undecodable_pixel_data" in prepared.review_reasons[0].sentence


def test_three_series_are_taken_and_the_first_speaks_for_a_study_without_any(study):
    with pytest.raises(StudyRefused) as caught:
        prepare(study, (0.2, 50), NO_HEAD, NO_HEAD, (0.95, 50), series=(1, 2, 3, 4))
    refused = caught.value
    assert refused.findings.series.chosen.startswith("series 1:")
    assert refused.findings.quality.failed == ("template_overlap",)
    assert [tried["label"][:9] for tried in refused.refusal.details["also_tried"]] == ["series 2:", "series 3:"]
    tried, untried = "2 more cannot be used (not_a_head).", "There are further ones, which were not tried"
    assert f"{tried} {untried}: a person may choose one by its number." in refused.refusal.reason


def test_a_series_chosen_by_hand_is_the_only_one_that_is_taken(study):
    with pytest.raises(StudyRefused) as caught:
        prepare(study, (0.2, 50), (0.95, 50), chosen="1")
    assert "also_tried" not in caught.value.refusal.details
    assert "series_contradict" not in codes(prepare(study, (0.95, 50), (0.95, 90), chosen="1"))


def test_two_good_series_that_contradict_each_other_are_for_a_person_to_look_at(study):
    prepared = prepare(study, (0.95, 50), (0.95, 75))
    assert codes(prepared) == ["series_tie", "series_contradict"]
    assert "75.0 years" in prepared.review_reasons[1].sentence
    assert "series_contradict" not in {reason.code for reason in prepared.series_reasons}  # another model may differ


@pytest.mark.parametrize("second", [(0.95, 52), (0.2, 75), NO_HEAD])
def test_series_that_agree_or_are_not_good_contradict_nothing(study, second):
    prepared = prepare(study, (0.95, 50), second)
    assert prepared.findings.series.chosen.startswith("series 1:")
    assert codes(prepared) == ["series_tie"]


def test_only_what_is_answered_with_is_kept_in_the_store(study):
    store = MemoryStore()
    prepared = prepare(study, (0.2, 50), (0.95, 50), store=store)
    assert set(store.objects) == {prepared.stored.key, prepared.findings.pictures.key}


def test_a_refusal_keeps_the_pictures_of_the_series_that_speaks(study):
    store = MemoryStore()
    with pytest.raises(StudyRefused) as caught:
        prepare(study, (0.2, 50), (0.2, 50), store=store)
    assert set(store.objects) == {caught.value.findings.pictures.key}
