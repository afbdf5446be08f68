import numpy as np

from med3d_service.cohorts.drift import DriftWatch

NOW, DAY = 1e9, 86400.0


def watched(recent_shift=0.0, recent=40, before=200, site="A"):
    draws = np.random.default_rng(1)
    watch = DriftWatch(NOW)
    for number in range(before + recent):
        is_recent = number >= before
        value = float(draws.normal(10 + recent_shift * is_recent, 1))
        received = NOW - (3 if is_recent else 90) * DAY
        watch.add(site, "scanner", received, {"signal_to_noise": value, "overlap": 0.9, "missing": None})
    return watch.found()


def test_scans_like_those_before_are_nothing_notable():
    (origin,) = watched()
    assert (origin.before, origin.recent) == (200, 40)
    (measure,) = origin.measures  # what does not vary has no shift, and what was not measured none either
    assert (measure.measure, measure.notable) == ("signal_to_noise", False)


def test_a_scanner_that_lost_signal_is_notable():
    (origin,) = watched(recent_shift=-2)
    assert origin.measures[0].notable
    assert -2.5 < origin.measures[0].shift < -1.5


def test_a_few_scans_say_nothing():
    (origin,) = watched(recent_shift=-5, recent=9)
    assert origin.measures == ()


def test_each_site_and_scanner_is_held_against_itself():
    watch = DriftWatch(NOW)
    for number in range(20):
        watch.add("A", "x", NOW - 90 * DAY, {"m": float(number)})
        watch.add("B", "x", NOW - DAY, {"m": float(number + 100)})
    assert [(one.scan_site, one.recent, one.measures) for one in watch.found()] == [("B", 20, ()), ("A", 0, ())]
