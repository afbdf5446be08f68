"""What a page draws is what whoever looks at it may do: no link and no button answers that they may not."""

import html
import re
from pathlib import Path

import pytest

import med3d_pages
from med3d_pages import front
from med3d_service.trust.access import Role

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
