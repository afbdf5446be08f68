"""Windows of the night across changes of the clock (Berlin: 29 March and 25 October 2026)."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from med3d_contract.cohorts import NightSchedule
from med3d_service.cohorts.night import night_at

BERLIN = NightSchedule(time_zone="Europe/Berlin")
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "Pacific/Apia")


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_night_begins_in_the_evening_and_ends_in_the_morning():
    night = night_at(BERLIN, utc("2026-01-05T23:00"))
    assert (night.opens_at, night.closes_at) == (utc("2026-01-05T21:00"), utc("2026-01-06T05:00"))
    assert night.holds(utc("2026-01-06T04:59"))
    assert not night.holds(utc("2026-01-06T05:00"))


def test_by_day_the_next_night_is_named():
    assert night_at(BERLIN, utc("2026-01-05T12:00")).opens_at == utc("2026-01-05T21:00")


def test_a_window_may_lie_within_one_day():
    night = night_at(NightSchedule(start=time(1), end=time(5), time_zone="UTC"), utc("2026-01-05T02:00"))
    assert (night.opens_at, night.closes_at) == (utc("2026-01-05T01:00"), utc("2026-01-05T05:00"))


@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-03-28T22:00", 7), ("2026-10-24T22:00", 9), ("2026-10-25T22:00", 8)]
)
def test_the_night_of_a_clock_change_is_an_hour_shorter_or_longer(evening, hours):
    night = night_at(BERLIN, utc(evening))
    assert night.closes_at - night.opens_at == timedelta(hours=hours)


def test_an_hour_that_the_clock_shows_twice_does_not_open_a_window_again():
    half_past_two = NightSchedule(start=time(22), end=time(2, 30), time_zone="Europe/Berlin")
    ended = utc("2026-10-25T00:30")  # 2:30 summer time, and an hour later it is 2:30 again
    assert night_at(half_past_two, ended - timedelta(minutes=1)).closes_at == ended
    again_2_15 = utc("2026-10-25T01:15")
    assert not night_at(half_past_two, again_2_15).holds(again_2_15)


def test_a_time_that_the_clock_skips_still_begins_a_night():
    skipped = NightSchedule(start=time(2, 30), end=time(6), time_zone="Europe/Berlin")
    assert night_at(skipped, utc("2026-03-29T00:00")).opens_at == utc("2026-03-29T01:30")  # 3:30 summer time


def test_a_window_that_the_clock_skips_whole_is_no_night():
    skipped = NightSchedule(start=time(2, 10), end=time(3, 5), time_zone="Europe/Berlin")
    night = night_at(skipped, utc("2026-03-29T00:30"))
    assert night.opens_at < night.closes_at


@given(
    zone=st.sampled_from(ZONES),
    start=st.times(),
    end=st.times(),
    moment=st.integers(1_704_000_000, 1_798_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_there_is_always_one_night_that_is_or_comes_and_the_next_one_follows_it(zone, start, end, moment):
    if start == end:
        return
    schedule = NightSchedule(start=start, end=end, time_zone=zone)
    night = night_at(schedule, moment)
    assert moment < night.closes_at
    assert night.opens_at - moment <= timedelta(days=2)
    after = night_at(schedule, night.closes_at)
    assert after.opens_at >= night.closes_at
    assert after.opens_at - night.opens_at <= timedelta(days=2, hours=2)


@pytest.mark.parametrize(
    "wrong", [{"time_zone": "Berlin"}, {"time_zone": "../etc"}, {"start": "06:00", "time_zone": "UTC"}]
)
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(ValidationError):
        NightSchedule.model_validate(wrong)
