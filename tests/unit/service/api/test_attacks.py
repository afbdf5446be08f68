"""The short form of `make attack`: one round of it, without the floods, which wait for nobody."""

import time

from attack.attacks import attack


def test_a_round_of_attacks_finds_nothing(tmp_path):
    report, rounds = attack(seed=1, until_s=time.monotonic(), folder=tmp_path, once=())
    assert (report.findings, rounds) == ([], 1)
    assert {"requests", "forgeries", "swaps", "spoilt http", "spoilt multipart", "spoilt hl7"} <= set(report.tried)
