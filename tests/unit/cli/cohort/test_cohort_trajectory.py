"""`med3d cohort trajectory`: the picture has the form that its file's ending names."""

import httpx
import pytest

from med3d_cli.cohort.cohort_trajectory import trajectory
from med3d_cli.errors import CommandError
from med3d_client.cohorts import CohortsClient
from med3d_service.api.routes.examples import TRAJECTORY


def answer(request):
    if request.url.path == "/subjects":
        return httpx.Response(200, json={"subject_id": TRAJECTORY["subject_id"]})
    form = request.url.params.get("format")
    return httpx.Response(200, json=TRAJECTORY) if form is None else httpx.Response(200, content=form.encode())


@pytest.fixture(autouse=True)
def service(monkeypatch):
    client = CohortsClient("http://med3d", "key", transport=httpx.MockTransport(answer))
    monkeypatch.setattr("med3d_cli.cohort.cohort_trajectory.connect_to_cohorts", lambda: client)


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_a_figure_is_asked_for_in_the_form_of_its_ending(tmp_path, form):
    trajectory("P-2", figure=tmp_path / f"visits.{form}")
    assert (tmp_path / f"visits.{form}").read_text() == form


def test_another_ending_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"ends in none of .png, .pdf, .svg"):
        trajectory("P-2", figure=tmp_path / "visits.jpg")
