"""ContrastBolusAgent must mean to the pipeline what it means to the service that cuts it down."""

import pytest

from med3d_pipeline.reading.agent_words import denies_agent
from med3d_service.studies.working_copy.vocabulary import known_agent

NONE = [
    "", "NO", "None", "n/a", "NO CONTRAST", "none given", "Not given", "without contrast", "w/o", "UNKNOWN", "OFF", "-", "?", "N",
    "ohne", "ohne KM", "keine", "sans", "sans injection", "pas d'injection de gadolinium", "non inject\u00e9", "0 ml", "0",
    "0.0", "0,0 mmol/kg", "Gadovist 0 ml", "nil", "NaCl", "N.A.", "no Gd",
]  # fmt: skip
SOME = [
    "Gadovist", "GADOVIST 7.5 ml", "Dotarem 10ml", "Gd-DTPA", "contrast", "Y", "YES", "CONTRAST AGENT", "IV", "unknown 7.5 ml",
    "w contrast", "w/ contrast", "\u0413\u0430\u0434\u043e\u0432\u0438\u0441\u0442", "Magnevist, no reaction", "not Gadovist but Dotarem", "given by Dr X", "7.5", "MultiHance 0,1 mmol/kg 15 ml",
]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_no_agent_is_understood_before_and_after_the_text_is_cut_down(text):
    assert denies_agent(text)
    assert known_agent(text) == ""


@pytest.mark.parametrize("text", SOME)
def test_an_agent_is_told_before_and_after_the_text_is_cut_down(text):
    assert not denies_agent(text)
    assert known_agent(text) in {"AGENT", "GADOLINIUM"}
    assert not denies_agent(known_agent(text))
