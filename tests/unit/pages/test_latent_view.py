"""The map of the latent space: each reference head in its place and shade, this run among them, and none where it is private."""

from types import SimpleNamespace

import pytest

from med3d_contract.pictures import ReferenceCohort
from med3d_pages.latent_view import MOST_HEADS, SIDE, latent_place
from rig.service.work import result


def case(points, ages, *, latent=True):
    cohort = ReferenceCohort(name="IXI", ages=ages, brain_ages=ages, pls_age=points)
    found = result() if latent else result().model_copy(update={"latent": None})
    return SimpleNamespace(listed=SimpleNamespace(run=SimpleNamespace(result=found)), cohort=cohort)


def test_heads_keep_their_places_and_the_run_stands_among_them():
    place = latent_place(case(((0.0, 0.0), (4.0, 6.0)), (20.0, 80.0)))  # the run lies at (2, 3)
    (low, high), here = place.heads, place.here
    assert low.x < here[0] < high.x
    assert low.y > here[1] > high.y, "up on the page"
    assert here == (SIDE / 2, SIDE / 2)
    assert low.band < high.band
    assert all(0 <= one <= SIDE for head in place.heads for one in (head.x, head.y))


def test_shades_are_quarters_of_the_heads_by_age():
    ages = tuple(float(age) for age in range(20, 100))
    place = latent_place(case(tuple((age, age) for age in ages), ages))
    assert [sum(head.band == band for head in place.heads) for band in range(4)] == pytest.approx([20] * 4, abs=1)
    assert place.bands[0][0] == 20.0
    assert place.bands[-1][1] == 99.0


def test_many_heads_are_thinned_and_equal_ones_divide_by_nothing():
    count = 5 * MOST_HEADS
    place = latent_place(case(((2.0, 3.0),) * count, (50.0,) * count))
    assert len(place.heads) == MOST_HEADS
    assert place.people == count
    assert place.here == (SIDE / 2, SIDE / 2)


def test_without_coordinates_or_a_latent_there_is_no_map():
    assert latent_place(case((), (20.0,))) is None
    assert latent_place(case(((0.0, 0.0),), (20.0,), latent=False)) is None
