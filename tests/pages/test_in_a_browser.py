"""What people do on the pages, in a real browser on the whole service: from a file in a folder to a verdict on a number."""

import http.server
import re
import threading
from contextlib import contextmanager

import pytest

from med3d_client.results import ResultsClient
from pages.browsing import ANSWER_TIMEOUT_MS, Person, few_slices, scripted_head
from rig.processes.embedded import write_small_head

MARKUP = "<script>alert(1)</script>"
PAGES = ("/ui/today", "/ui/worklist", "/ui/review", "/ui/upload", "/ui/account")
SHOWN = re.compile("Review|Accepted")


def sent(person, folder, **fields):
    """Choose a folder's files on the page of uploads; the row that follows them."""
    person.page.goto("/ui/upload")
    for label, value in fields.items():
        person.page.locator("main").get_by_label(label).fill(value)
    person.page.locator("#files").set_input_files(sorted(folder.iterdir()))
    return person.page.locator(".uploads li").first


def test_who_signs_in_at_the_hospital_comes_back_to_the_page_that_was_wanted(person, provider):
    provider.person = {"sub": "u-1", "name": "Dr. A. Reader", "roles": ["operator", "clinical"]}
    person.page.goto("/ui/worklist?show=review")
    person.page.get_by_role("link", name="Sign in at your hospital").click()
    person.page.wait_for_url("/ui/worklist?show=review")
    person.see("operator")
    person.page.goto("/ui/account")
    person.page.get_by_role("button", name="Sign out", exact=True).click()
    person.page.wait_for_url("**/ui/sign-in**")
    person.page.goto("/ui/worklist")
    person.page.wait_for_url("**/ui/sign-in**")


@pytest.fixture(scope="module")
def answered(browser, hospital, tmp_path_factory):
    """The id of a run with a number, sent on a page and followed to it; its series is described by a script."""
    person = Person(browser, hospital).enter()
    row = sent(person, scripted_head(tmp_path_factory.mktemp("head"), MARKUP), Pseudonym=MARKUP, Age="44")
    row.locator(".badge").filter(has_text=SHOWN).wait_for(timeout=ANSWER_TIMEOUT_MS)
    assert re.search(r"\d+\.\d", row.inner_text())
    run_id = row.get_by_role("link").get_attribute("href").split("/")[-1]
    assert person.complaints == []
    person.close()
    return run_id


@pytest.fixture(scope="module")
def refused(browser, hospital, tmp_path_factory):
    person = Person(browser, hospital).enter()
    row = sent(person, few_slices(tmp_path_factory.mktemp("few")))
    row.locator(".badge").filter(has_text="Refused").wait_for(timeout=ANSWER_TIMEOUT_MS)
    run_id = row.get_by_role("link").get_attribute("href").split("/")[-1]
    person.close()
    return run_id


def test_a_link_opens_the_pages_once(browser, hospital, person):
    link = hospital.clinical.sign_in_link("/ui/worklist")
    person.page.goto(link)
    person.page.wait_for_url("/ui/worklist")
    stranger = Person(browser, hospital)
    stranger.page.goto(link)
    stranger.see("used before")
    stranger.page.goto("/")
    stranger.page.wait_for_url("**/ui/sign-in?*")
    stranger.page.get_by_label("API key").fill(hospital.key("viewer"))
    stranger.page.get_by_role("button", name="Sign in").click()
    stranger.page.wait_for_url("/ui/today")
    assert "m3d_" not in stranger.page.url
    assert stranger.page.get_by_role("link", name="Upload").count() == 0, "a viewer sends nothing"
    stranger.close()


def test_a_file_that_is_chosen_again_is_sent_again_and_each_row_speaks_the_page_s_language(browser, hospital, tmp_path):
    (tmp_path / "empty.nii.gz").touch()
    person = Person(browser, hospital, locale="de-DE").enter(to="/ui/upload")
    rows = person.page.locator(".uploads li")
    for count in (1, 2):
        person.page.locator("#files").set_input_files(tmp_path / "empty.nii.gz")
        rows.filter(has_text="kopieren Sie sie neu").nth(count - 1).wait_for()
    assert rows.count() == 2
    person.close()


def test_a_study_is_followed_to_its_number_and_read(person, answered):
    person.enter(to=f"/ui/runs/{answered}")
    page = person.page
    assert "44.0" in page.locator(".figures").inner_text()
    page.get_by_text("brain age").first.wait_for()
    for plane in ("axial", "coronal", "sagittal"):
        picture = page.get_by_role("img", name=re.compile(plane))
        picture.scroll_into_view_if_needed()
        page.wait_for_function("one => one.complete && one.naturalWidth > 50", arg=picture.element_handle())
    for name in ("JSON", "PDF", "DICOM SR", "FHIR"):
        address = page.get_by_role("link", name=name, exact=True).get_attribute("href")
        assert page.request.get(address).ok, name


def test_what_a_sender_or_reader_wrote_does_nothing(person, answered):
    person.enter(to=f"/ui/runs/{answered}")
    page = person.page
    assert MARKUP in page.locator("#main").inner_text()
    page.get_by_label("Comment only").check()
    page.get_by_label("Why").fill(f"{MARKUP}<img src=x onerror=alert(2)>")
    page.get_by_role("button", name="Give the verdict").click()
    person.see("onerror=alert(2)")
    for path in ("/ui/worklist", f"/ui/worklist?q={MARKUP}"):
        page.goto(path)
        person.see(MARKUP)
    assert page.locator("main script").count() == 0


def test_what_was_typed_survives_a_session_that_is_over_for_the_same_person_alone(person, hospital, answered):
    run = f"/ui/runs/{answered}"
    why, first = person.page.get_by_label("Why"), hospital.clinical._http.get(f"/runs/{answered}/verdicts").json()
    for client, found in ((hospital.clinical, "Moved; Roe\nlook again"), (hospital.service.client, "")):
        person.enter(to=run)
        why.fill("Moved; Roe\nlook again")
        person.page.get_by_label("Reject the answer").check()
        person.context.clear_cookies()
        person.page.get_by_role("button", name="Give the verdict").click()
        person.see("What you typed stays in this tab")
        assert "Roe" not in person.page.content() + person.page.url
        person.enter(client, to=run)
        assert why.input_value() == found
        assert person.page.get_by_label("Reject the answer").is_checked() is bool(found)
        assert person.page.evaluate("sessionStorage.length") == 0
    assert hospital.clinical._http.get(f"/runs/{answered}/verdicts").json() == first, "nothing was sent by itself"


def test_what_was_typed_survives_a_session_that_was_begun_anew_in_another_tab(person, hospital, answered):
    run, page = f"/ui/runs/{answered}", person.page
    person.enter(to=run)
    page.get_by_label("Why").fill("Moved; Roe")
    page.get_by_label("Comment only").check()
    other = person.context.new_page()
    other.goto(hospital.clinical.sign_in_link("/ui/account").removeprefix(hospital.url))
    other.wait_for_url("/ui/account")
    page.get_by_role("button", name="Give the verdict").click()
    person.see("What you typed stays in this tab")
    assert "Roe" not in page.content() + page.url
    page.get_by_role("link", name="Open the page anew").click()
    page.wait_for_url(run)
    assert page.get_by_label("Why").input_value() == "Moved; Roe"
    assert ["403" in said for said in person.complaints] == [True]
    person.complaints.clear()


def test_what_was_typed_survives_a_refusal_and_is_said_in_the_readers_language(browser, hospital):
    administrator = ResultsClient(hospital.url, hospital.key("admin", "--clinical"))
    person = Person(browser, hospital, locale="de-DE").enter(administrator, to="/ui/admin")
    page, form = person.page, person.page.locator("form[action='/ui/admin/keys']")
    form.locator("[name=name]").fill("Archiv 2")
    form.locator("[name=days]").fill("9999")
    form.evaluate("form => form.noValidate = true")  # an older browser, or a rule that only the service knows
    form.locator("button").click()
    person.see("ein Haus angeben")
    page.get_by_role("link", name="Die Seite neu öffnen").click()
    page.wait_for_url("/ui/admin")
    assert form.locator("[name=name]").input_value() == "Archiv 2"
    assert form.locator("[name=days]").input_value() == "9999"
    person.see("Dies wurde nicht gesendet")
    page.goto("/ui/today")
    page.goto("/ui/admin")
    assert form.locator("[name=name]").input_value() == ""
    assert ["422" in said for said in person.complaints] == [True]
    person.close()
    administrator.close()


CLICKED_TWICE = """() => {
  const button = document.querySelector("form.verdict button");
  button.click();
  setTimeout(() => button.click(), 40);
}"""
"""As by a hand: of two clicks at once the browser itself sends one."""


def test_a_second_click_sends_nothing_twice(person, hospital, answered):
    before = len(hospital.clinical._http.get(f"/runs/{answered}/verdicts").json()["items"])
    person.enter(to=f"/ui/runs/{answered}")
    person.page.get_by_label("Comment only").check()
    person.page.get_by_label("Why").fill("Once")
    person.page.evaluate(CLICKED_TWICE)
    person.page.wait_for_url("**#verdicts")
    person.see("Once")
    assert len(hospital.clinical._http.get(f"/runs/{answered}/verdicts").json()["items"]) == before + 1


DROP = """([name, bytes]) => {
  const carried = new DataTransfer(), form = document.querySelector("form[data-drop]");
  carried.items.add(new File([new Uint8Array(bytes)], name));
  form.dispatchEvent(new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
}"""


def test_a_table_is_dropped_as_a_spreadsheet_wrote_it_and_one_that_is_too_large_is_told(person, hospital):
    made = hospital.clinical._http.post("/cohorts", json={"name": "dropped"}).raise_for_status().json()
    page = person.enter(to=f"/ui/cohorts/{made['cohort_id']}").page
    rows = page.locator("#rows")
    for content in ("study_id;site\nx;Köln".encode("cp1252"), b"\xff\xfe" + "study_id;site\nx;Köln".encode("utf-16le")):
        page.evaluate(DROP, ["table.csv", list(content)])
        page.wait_for_function("one => one.value.includes('Köln')", arg=rows.element_handle())
        rows.fill("typed")
    for content in (b"x" * 2_100_000, b"," * 1_000_000):  # in a form a comma is three letters
        page.evaluate(DROP, ["table.csv", list(content)])
        person.see("The file is larger than 2 MB")
        assert rows.input_value() == "typed"


def test_what_was_chosen_waits_for_a_session(person, hospital, tmp_path):
    page = person.enter(to="/ui/upload").page
    page.locator("#files").wait_for()
    person.context.clear_cookies()
    (tmp_path / "none.nii").write_bytes(b"none")
    page.locator("#files").set_input_files(tmp_path / "none.nii")
    person.see("Your session is over.")
    other = person.context.new_page()
    other.goto(hospital.clinical.sign_in_link("/ui/today"))
    other.locator("#main, main").first.wait_for()
    other.close()
    page.get_by_role("button", name="Go on").click()
    person.see("(no_images)")
    refused = ["401" in said or "422" in said for said in person.complaints]
    assert refused == [True, True], "what was sent without a session, and what was no image"
    person.complaints.clear()


def test_what_was_chosen_on_a_page_of_an_earlier_session_waits_and_goes_on(person, hospital, tmp_path):
    page = person.enter(to="/ui/upload").page
    other = person.context.new_page()
    other.goto(hospital.clinical.sign_in_link("/ui/account").removeprefix(hospital.url))
    other.wait_for_url("/ui/account")
    (tmp_path / "none.nii").write_bytes(b"none")
    page.locator("#files").set_input_files(tmp_path / "none.nii")
    person.see("Your session is over.")
    page.get_by_role("button", name="Go on").click()
    person.see("(no_images)")
    assert ["403" in said or "422" in said for said in person.complaints] == [True, True]
    person.complaints.clear()


def test_a_refusal_says_what_was_seen_and_what_would_help(person, refused):
    person.enter(to=f"/ui/runs/{refused}")
    person.see("Refused: no number")
    person.see("missing_slices")
    person.see("the complete series")
    person.see("Series that were looked at")


def test_a_verdict_is_given_with_the_keyboard_alone(person, answered):
    person.enter(to="/ui/review")
    page = person.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    tab_to(page, "a", "Open and give a verdict")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/runs/*")
    tab_to(page, "input[type=radio]")
    page.keyboard.press("ArrowDown")
    tab_to(page, "textarea")
    page.keyboard.type("It moved.")
    tab_to(page, "#reader")
    page.keyboard.type("Dr. Keys")
    page.keyboard.press("Enter")
    person.see("by Dr. Keys")
    person.see("Rejected")
    page.goto("/ui/review")
    assert answered not in page.content()


def tab_to(page, selector, text=""):
    """Press Tab until it has the focus, which can be seen."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(
            "([s, t]) => document.activeElement.matches(s) && document.activeElement.textContent.includes(t)",
            [selector, text],
        ):
            ring = page.evaluate(
                "getComputedStyle(document.activeElement.closest('.choice') ?? document.activeElement).outlineStyle"
            )
            assert ring != "none"
            return
    pytest.fail(f"no Tab leads to {selector} {text}")


@contextmanager
def other_site(content):
    """A page of somebody else, on the same machine: its cookies are the same, its origin is not."""

    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *said):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_page_of_another_origin_changes_nothing(browser, hospital, answered):
    victim = Person(browser, hospital).enter()
    before = hospital.clinical.run(answered).verdict
    action = f"{hospital.url}/ui/runs/{answered}/verdicts"
    form = f'<form method="post" action="{action}"><input name="verdict" value="accepted"><input name="token" value="x"></form>'
    with other_site(f"{form}<script>document.forms[0].submit()</script>") as evil:
        with victim.page.expect_response(action) as told:
            victim.page.goto(evil)
        assert told.value.status == 403
        victim.see("did not come from a page of this service")
    assert hospital.clinical.run(answered).verdict == before
    victim.close()


def test_who_was_signed_out_comes_back_to_where_they_were(browser, hospital, answered):
    person, elsewhere = (
        Person(browser, hospital).enter(to="/ui/account"),
        Person(browser, hospital).enter(to="/ui/account"),
    )
    elsewhere.page.get_by_role("button", name="Sign out everywhere").click()
    elsewhere.page.wait_for_url("**/ui/sign-in")
    person.page.get_by_role("link", name="Worklist").click()
    person.see("You have been signed out")
    person.page.get_by_label("API key").fill(hospital.service.data_dir.clinical_key_file.read_text().strip())
    person.page.get_by_role("button", name="Sign in").click()
    person.page.wait_for_url("/ui/worklist")
    person.close()
    elsewhere.close()


def test_two_sites_do_not_see_each_other(browser, hospital, answered):
    stranger = Person(browser, hospital)
    stranger.page.goto("/ui/sign-in")
    stranger.page.get_by_label("API key").fill(hospital.key("operator", "--clinical", "--site", "another hospital"))
    stranger.page.get_by_role("button", name="Sign in").click()
    stranger.page.wait_for_url("/ui/today")
    stranger.page.goto("/ui/worklist")
    stranger.see("Nothing has arrived yet")
    assert stranger.page.goto(f"/ui/runs/{answered}").status == 404
    assert stranger.page.goto(f"/runs/{answered}/pictures/axial").status == 404
    stranger.close()


def test_nothing_reaches_over_the_side_of_a_narrow_screen(browser, hospital, answered, refused):
    narrow = Person(browser, hospital, viewport={"width": 400, "height": 800}, color_scheme="light").enter()
    for path in (*PAGES, f"/ui/runs/{answered}", f"/ui/runs/{refused}", "/ui/nothing"):
        narrow.page.goto(path)
        assert narrow.page.evaluate("document.documentElement.scrollWidth") <= 400, path
        assert narrow.page.locator("h1").count() == 1, path
    narrow.close()


def test_pages_work_without_scripts(browser, hospital, tmp_path):
    plain = Person(browser, hospital, java_script_enabled=False)
    plain.page.goto(hospital.clinical.sign_in_link("/ui/upload"))
    plain.page.wait_for_url("/ui/upload")
    plain.page.locator("#files").set_input_files(sorted(write_small_head(tmp_path / "plain", 9).iterdir()))
    plain.page.get_by_role("button", name="Send as one study").click()
    plain.page.wait_for_url("**/ui/runs/*")
    plain.page.get_by_role("heading", level=1).locator(".badge").filter(has_text=SHOWN).wait_for(
        timeout=ANSWER_TIMEOUT_MS
    )
    plain.close()
