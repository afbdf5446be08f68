"""What a page draws is what whoever looks at it may do: no link and no button answers that they may not."""

import html
import re
from pathlib import Path

import pytest

import med3d_pages
from med3d_pages import front
from med3d_service.storage.tables import RunRow
from med3d_service.trust.access import Role
from rig.service.answers_of_pages import answered

LINK = re.compile(r'<a [^>]*?href="(/ui[^"#]*)')
FORM = re.compile(r'<form [^>]*?method="post"[^>]*?action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
ENDS = ("/ui/sign-out", "/ui/language", "/ui/admin/")  # what ends this walk, or a key that another walk needs


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN])
def test_no_link_and_no_button_is_drawn_that_is_refused(api, browser, role):
    browser.sign_in(role)
    to_see, seen, forms = ["/ui/today", f"/ui/runs/{api.ids['run_id']}"], set(), {}
    while to_see:
        path = html.unescape(to_see.pop())
        plain = path.split("?")[0]
        if plain in seen or plain == "/ui" or plain.startswith(ENDS[:2]):
            continue
        seen.add(plain)
        answer = browser.get(path)
        assert answer.status_code == 200, path
        if "html" in answer.headers["content-type"]:
            to_see += LINK.findall(answer.text)
            forms |= dict(FORM.findall(answer.text))
    for action, inside in forms.items():
        if not action.startswith(ENDS):
            sent = browser.post(html.unescape(action), dict(HIDDEN.findall(inside)))
            assert sent.status_code != 403, action
    assert len(seen) > 10
    assert ("/ui/cohorts" in forms) is (role is not Role.VIEWER)
    assert ("/ui/admin/keys" in forms) is (role is Role.ADMIN)


def test_every_module_of_routes_is_mounted():
    there = {path.stem for path in (Path(med3d_pages.__file__).parent / "routes").glob("[a-z]*.py")}
    mounted = {route.endpoint.__module__.rpartition(".")[2] for one in front().routers for route in one.routes}
    assert there - mounted == set()


def test_no_page_tells_another_site_of_a_person(api):
    run_id = answered(api, patient_name="CANARY^ZEBRA", patient_id="CANARY-1", accession_number="CANARY-2")
    with api.service.database.read() as session:
        ids = api.ids | {"run_id": run_id, "study_id": session.query(RunRow).where(RunRow.id == run_id).one().study_id}
    ours, theirs = (api.key(Role.ADMIN, clinical=True, site=site) for site in ("default", "elsewhere"))
    paths = {route.path for one in front().routers for route in one.routes if "GET" in route.methods}
    asked = [path.format(**ids) for path in sorted(paths) if set(re.findall(r"{(\w+)", path)) <= ids.keys()]
    assert "CANARY" in api.request("GET", f"/ui/runs/{run_id}", ours).text
    for path in asked:
        strange = api.request("GET", path, theirs)
        assert "CANARY" not in strange.text, path
        assert run_id not in strange.text.replace(path, ""), path
        assert strange.status_code != 200 or not {run_id, ids["study_id"]} & set(path.split("/")), path
