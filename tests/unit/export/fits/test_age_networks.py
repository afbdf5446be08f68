"""The age networks' plan, varied copies and fits, on heads of 16^3 voxels that mean nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from med3d_export.age_codes import AgeCodes
from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.age_network.copies import COPIES, make_room, read_copies, vary_head
from med3d_export.age_network.members import AgeNetworksDiffer, member_file
from med3d_export.age_network.network import AgeNetwork, within
from med3d_export.age_network.plan import AgeFit, AgePlan
from med3d_export.age_network.run import fit_missing

HEADS = 8
CONFIG = AgeNetworkConfig(members=2, copies=3, margin=(2, 0, 4), channels=(4, 4, 4), steps=3, batch=2)

pytestmark = pytest.mark.export


@pytest.fixture
def plan():
    tensors = np.random.default_rng(1).random((HEADS, 16, 16, 16)).astype(np.float16)
    rows = np.arange(HEADS)
    fits = (AgeFit("everyone", 7, rows, rows % 2), AgeFit("fold", 8, rows[:6], rows[:6] % 2))
    return AgePlan(CONFIG, tensors, 20.0 + 5.0 * rows, np.array(["a"] * 5 + ["b"] * 3), fits)


def test_the_copies_of_a_head_are_the_same_in_whatever_order_heads_are_varied(plan, tmp_path):
    found = []
    for name, order in (("a", range(HEADS)), ("b", reversed(range(HEADS)))):
        make_room(plan, tmp_path / name)
        for row in order:
            vary_head(plan, row, "cpu", tmp_path / name)
        found.append(np.array(read_copies(tmp_path / name)))
    np.testing.assert_array_equal(*found)
    assert found[0].shape == (HEADS, CONFIG.copies, 12, 16, 8)
    assert len({copy.tobytes() for head in found[0] for copy in head}) == HEADS * CONFIG.copies


def test_a_network_does_not_see_the_margin():
    network = AgeNetwork(CONFIG).eval()
    tensor = torch.rand(1, 1, 16, 16, 16)
    years = network(tensor)
    inner = within(tensor, CONFIG.margin)
    assert inner.shape[2:] == (12, 16, 8)
    inner += 1.0  # a view: within is what the network sees
    assert network(tensor) != years
    tensor[:, :, :2], tensor[..., :4], years = 9.0, 9.0, network(tensor)
    tensor[:, :, -2:], tensor[..., -4:] = 9.0, 9.0
    assert network(tensor) == years


def test_a_run_that_was_stopped_goes_on_and_leaves_only_the_members(plan, tmp_path):
    path, folder = tmp_path / "plan.npz", tmp_path / "members"
    plan.save(path)

    class StoppedError(Exception):
        pass

    def stop_at_the_second(done, count):
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit_missing(path, folder, "cpu", 1, stop_at_the_second)
    first = member_file(folder, "everyone", 0).read_bytes()
    assert (folder / COPIES).is_file()
    said = []
    fit_missing(path, folder, "cpu", 1, lambda *done: said.append(done))
    assert said == [(1, 2), (2, 2)]
    assert member_file(folder, "everyone", 0).read_bytes() == first
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        member_file(folder, fit.name, member).name for fit in plan.fits for member in range(2)
    )


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_members_fitted_side_by_side_are_those_fitted_one_after_the_other(plan, tmp_path):
    path = tmp_path / "plan.npz"
    plan.save(path)
    for jobs in (1, 2):
        fit_missing(path, tmp_path / str(jobs), "cpu", jobs, lambda *_: None)
    names = [member_file(tmp_path, fit.name, member).name for fit in plan.fits for member in range(2)]
    for name in names:
        with np.load(tmp_path / "1" / name) as one, np.load(tmp_path / "2" / name) as two:
            for key in one.files:
                np.testing.assert_array_equal(one[key], two[key])


def of_other_ages(plan):
    return replace(plan, ages=plan.ages + np.eye(HEADS)[3])


def of_other_steps(plan):
    return replace(plan, config=CONFIG.model_copy(update={"steps": 4}))


def of_heads_in_another_order(plan):
    return replace(plan, tensors=plan.tensors[::-1].copy())


@pytest.mark.parametrize("other", [of_other_ages, of_other_steps, of_heads_in_another_order])
def test_members_of_another_plan_are_not_taken_for_this_ones(plan, tmp_path, other):
    path, folder = tmp_path / "plan.npz", tmp_path / "members"
    plan.save(path)
    fit_missing(path, folder, "cpu", 1, lambda *_: None)
    member_file(folder, "fold", 1).unlink()
    other(plan).save(path)
    with pytest.raises(AgeNetworksDiffer, match=r"everyone-member-1.npz was fitted to other heads, ages or rows"):
        fit_missing(path, folder, "cpu", 1, lambda *_: pytest.fail("a member of another plan was fitted beside"))
    weighed = replace(plan, config=CONFIG.model_copy(update={"code_weight": 5.0}))  # the networks do not know it
    weighed.save(path)
    fit_missing(path, folder, "cpu", 1, lambda *_: None)
    assert member_file(folder, "fold", 1).is_file()


def test_copies_that_a_stopped_run_of_another_plan_left_are_made_again(plan, tmp_path):
    path, folder = tmp_path / "plan.npz", tmp_path / "members"
    plan.save(path)

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    other = replace(plan, tensors=plan.tensors[::-1].copy())
    for left, where in ((plan, folder), (other, folder), (other, tmp_path / "anew")):
        left.save(path)
        with pytest.raises(StoppedError):
            fit_missing(path, where, "cpu", 1, stop)
        for name in ("everyone", "fold"):
            for member in range(2):
                member_file(where, name, member).unlink(missing_ok=True)
    np.testing.assert_array_equal(read_copies(folder / COPIES), read_copies(tmp_path / "anew" / COPIES))


def test_codes_of_other_members_are_not_read(tmp_path):
    codes = AgeCodes(np.ones((4, 1), np.float32), np.ones((2, 3, 1), np.float32), np.ones((2, 1, 1), np.float32))
    assert AgeCodes.load(tmp_path / "codes.npz", "these") is None
    codes.save(tmp_path / "codes.npz", "these")
    found = AgeCodes.load(tmp_path / "codes.npz", "these")
    assert found is not None
    np.testing.assert_array_equal(found.copies, codes.copies)
    assert AgeCodes.load(tmp_path / "codes.npz", "others") is None
