"""The simulator against queues whose waits are known in closed form, and against what holds for every queue."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_cli.capacity.simulation import Job, Step, quantile, simulate

COUNT = 40_000
SERVED_S = 1.0


def poisson(rate, seconds, priorities=(0,), count=COUNT, seed=7):
    """Jobs that come at random; ``seconds`` draws how long one takes.

    The gaps are the quantiles of their distribution in random order, so that their mean is no matter of luck.
    """
    draw, now, jobs = random.Random(seed), 0.0, []
    gaps = [-math.log(1 - (number + 0.5) / count) / rate for number in range(count)]
    draw.shuffle(gaps)
    for gap in gaps:
        now += gap
        jobs.append(Job(now, draw.choice(priorities), (Step("p", seconds(draw)),)))
    return jobs


def mean_wait(jobs, servers, priority=None):
    waits = simulate(jobs, {"p": servers}).waited_s("p", priority)
    return sum(waits) / len(waits)


def erlang_c_wait(rate, servers):
    """Mean wait of M/M/c with a mean service of 1 (Erlang 1917)."""
    offered = rate * SERVED_S
    idle = sum(offered**k / math.factorial(k) for k in range(servers))
    full = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return full / (idle + full) / (servers - offered)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_server_with_constant_service_waits_as_pollaczek_and_khinchine_say(load):
    expected = load * SERVED_S / (2 * (1 - load))
    assert mean_wait(poisson(load, lambda _: SERVED_S), 1) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("servers", [2, 5])
def test_several_servers_with_exponential_service_wait_as_erlang_says(servers):
    rate = 0.75 * servers
    found = mean_wait(poisson(rate, lambda draw: draw.expovariate(1 / SERVED_S)), servers)
    assert found == pytest.approx(erlang_c_wait(rate, servers), rel=0.08)


@pytest.mark.parametrize("servers", [2, 5])
def test_several_servers_with_constant_service_wait_as_cosmetatos_approximates(servers):
    load = 0.75
    shape = 1 + (1 - load) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * load * servers)
    expected = 0.5 * shape * erlang_c_wait(load * servers, servers)
    assert mean_wait(poisson(load * servers, lambda _: SERVED_S), servers) == pytest.approx(expected, rel=0.08)


def test_what_is_urgent_waits_as_cobham_says_and_so_does_what_is_not():
    load = 0.8
    jobs = poisson(load, lambda _: SERVED_S, priorities=(0, 1, 1, 1))
    rest, urgent = load * SERVED_S**2 / 2, load / 4
    assert mean_wait(jobs, 1, priority=0) == pytest.approx(rest / (1 - urgent), rel=0.06)
    assert mean_wait(jobs, 1, priority=1) == pytest.approx(rest / ((1 - urgent) * (1 - load)), rel=0.08)


def test_regular_arrivals_below_capacity_never_wait():
    jobs = [Job(number * 0.5, 0, (Step("p", 1.0),)) for number in range(1000)]
    assert simulate(jobs, {"p": 2}).waited_s("p")[-1] == 0


def test_a_worker_goes_on_with_a_study_before_it_takes_the_next_unless_that_is_urgent():
    steps = (Step("p", 2.0), Step("p", 1.0))
    found = simulate([Job(0.0, 1, steps), Job(0.0, 1, steps), Job(1.0, 0, steps)], {"p": 1})
    assert found.starts_s == [[0.0, 5.0], [6.0, 8.0], [2.0, 4.0]]


def test_a_step_without_a_pool_only_takes_time():
    found = simulate([Job(0.0, 0, (Step(None, 3.0), Step("p", 1.0)))] * 2, {"p": 1})
    assert found.starts_s == [[0.0, 3.0], [0.0, 4.0]]
    assert found.most_waiting == {"p": 1}


def test_jobs_out_of_order_are_no_day():
    with pytest.raises(ValueError, match="sorted"):
        simulate([Job(1.0, 0, ()), Job(0.0, 0, ())], {})


def test_a_quantile_is_a_value_that_was_there():
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1.0, 2.0, 4.0, 4.0]
    assert quantile([], 0.5) == 0


seconds = st.integers(1, 40).map(lambda tenths: tenths / 8)  # exact in binary, so that sums are
steps = st.lists(st.tuples(st.sampled_from(["p", "q", None]), seconds), min_size=1, max_size=3)
studies = st.lists(st.tuples(seconds, st.integers(0, 2), steps), min_size=1, max_size=25)


@given(studies, st.integers(1, 3), st.integers(1, 3))
def test_every_study_is_worked_off_once_in_order_by_no_more_servers_than_there_are_and_none_rests_while_one_waits(
    drawn, p, q
):
    jobs = [Job(at, rank, tuple(Step(*step) for step in todo)) for at, rank, todo in sorted(drawn, key=lambda d: d[0])]
    pools, found = {"p": p, "q": q}, simulate(jobs, {"p": p, "q": q})
    spans = {pool: [] for pool in pools}
    for job, starts, ends in zip(jobs, found.starts_s, found.ends_s, strict=True):
        ready = [job.arrival_s, *ends[:-1]]
        assert [end - start for start, end in zip(starts, ends, strict=True)] == [step.seconds for step in job.steps]
        assert all(start >= since for start, since in zip(starts, ready, strict=True))
        for step, since, start, end in zip(job.steps, ready, starts, ends, strict=True):
            if step.pool is not None:
                spans[step.pool].append((since, start, end))
            else:
                assert start == since
    for pool, servers in pools.items():
        for since, start, _ in spans[pool]:
            for moment in [start, *(other for _, other, _ in spans[pool] if since <= other < start)]:
                busy = sum(begun <= moment < ended for _, begun, ended in spans[pool])
                assert busy <= servers
                assert moment == start or busy == servers


@given(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=40), st.integers(1, 6))
def test_one_more_server_is_never_slower_for_anybody(drawn, servers):
    jobs = [Job(at, 0, (Step("p", took),)) for at, took in sorted(drawn)]
    few, more = (simulate(jobs, {"p": count}) for count in (servers, servers + 1))
    assert all(b[0] <= a[0] for a, b in zip(few.ends_s, more.ends_s, strict=True))
    assert few.last_end_s >= max(sum(took for _, took in drawn) / servers, *(at + took for at, took in drawn))
