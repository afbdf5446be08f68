"""What `med3d analyse --html` leaves in its folder."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from med3d_cli.errors import CommandError
from med3d_cli.studies.analysis_batch import Question
from med3d_cli.studies.html_report import ANSWERS, INDEX, keep_pages, write_index
from med3d_contract.results import Refusal, RunStatus
from med3d_worker.analysis import AnalysedInput, Analysis
from rig.service.work import BUNDLE

REFUSED = AnalysedInput(input="x", status=RunStatus.REFUSED, refusal=Refusal(code="not_a_head", reason="A fruit."))


@dataclass
class OpenedModel:
    model = BUNDLE
    cohort = None
    template = None


def test_a_name_that_is_no_text_has_its_page_and_its_answer(tmp_path):
    question = Question(1, Path(os.fsdecode(b"b\xff.nii.gz")), None, None, None, None, basis="0" * 64)
    keep_pages(tmp_path, question, Analysis(REFUSED, None), OpenedModel())
    write_index(tmp_path, [question], {})
    assert len(list((tmp_path / ANSWERS).iterdir())) == 1


def test_a_page_that_cannot_be_put_in_place_leaves_nothing_beside_it(tmp_path):
    (tmp_path / INDEX).mkdir()
    with pytest.raises(CommandError, match="cannot be written: Is a directory"):
        write_index(tmp_path, [], {})
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]
