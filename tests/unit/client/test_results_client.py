import json
from email.parser import BytesParser

import httpx
import pytest

from med3d_client.results import ExplanationLate, NoSuchRun, ResultsClient, StudyOptions, server_sent_events
from med3d_client.study_stream import open_study
from med3d_client.transport import ApiError, ApiUnavailable, Conflict
from med3d_contract.results import Priority, RunStatus, Sex
from rig.service.runs import run_view


class Api:
    """Remembers requests; answers by path, in turn where there are several."""

    def __init__(self, **answers):
        self.answers = {path.replace("__", "/"): list(found) for path, found in answers.items()}
        self.requests = []

    def __call__(self, request):
        request.read()
        self.requests.append(request)
        found = self.answers[request.url.path.strip("/")]
        answer = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(api):
    return ResultsClient("http://api", "secret", transport=httpx.MockTransport(api), sleep=lambda _: None)


def send(api, path, options):
    with open_study(path) as upload:
        return client(api).submit(upload, options)


def form_of(request):
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + request.content)
    return {
        part.get_param("name", header="content-disposition"): (part.get_filename(), part.get_payload(decode=True))
        for part in message.get_payload()
    }


ACCEPTED = {"study_id": "s", "run_id": "r", "status": "queued", "links": {}}


def test_a_study_is_sent_as_one_multipart_form(tmp_path):
    (tmp_path / "slice").write_bytes(b"pixels")
    api = Api(studies=[httpx.Response(202, json=ACCEPTED)])
    options = StudyOptions(63.4, Sex.F, "S-1", Priority.STAT, series="19")
    submitted = send(api, tmp_path, options)
    assert (submitted.run_id, submitted.status, submitted.known) == ("r", RunStatus.QUEUED, False)
    form = form_of(api.requests[0])
    assert form.pop("files")[0] == "study.tar"
    assert {name: value for name, (_, value) in form.items()} == {
        "age": b"63.4",
        "sex": b"F",
        "subject": b"S-1",
        "priority": b"stat",
        "series": b"19",
    }
    assert api.requests[0].headers["Authorization"] == "Bearer secret"


def test_what_is_not_said_is_not_sent(tmp_path):
    (tmp_path / "slice").write_bytes(b"pixels")
    api = Api(studies=[httpx.Response(200, json=ACCEPTED)])
    assert send(api, tmp_path, StudyOptions()).known
    assert form_of(api.requests[0]).keys() == {"files"}


def test_a_refused_upload_carries_the_services_words(tmp_path):
    (tmp_path / "slice").write_bytes(b"x")
    problem = {"code": "not_an_archive", "detail": "The file is neither an archive nor an image."}
    api = Api(studies=[httpx.Response(422, json=problem)])
    with pytest.raises(ApiError, match="neither an archive nor an image") as caught:
        send(api, tmp_path, StudyOptions())
    assert caught.value.code == "not_an_archive"


def test_a_conflict_is_a_refusal_with_the_services_words_like_any_other(tmp_path):
    problem = {"code": "state_changed", "detail": "The study has changed.", "remedy": "Read it again."}
    (tmp_path / "a.dcm").write_bytes(b"x")
    with pytest.raises(ApiError) as caught:
        send(Api(studies=[httpx.Response(409, json=problem)]), tmp_path / "a.dcm", StudyOptions())
    assert isinstance(caught.value, Conflict)
    assert (caught.value.code, caught.value.remedy) == ("state_changed", "Read it again.")


def test_runs_are_read_page_by_page():
    pages = [
        httpx.Response(200, json={"items": [run_view("a").model_dump(mode="json")], "next_cursor": "NDI"}),
        httpx.Response(200, json={"items": [run_view("b").model_dump(mode="json")], "next_cursor": None}),
    ]
    api = Api(runs=pages)
    assert [run.run_id for run in client(api).runs(status=RunStatus.COMPLETED, limit=5)] == ["a", "b"]
    assert dict(api.requests[1].url.params) == {"limit": "4", "status": "completed", "cursor": "NDI"}


def test_events_are_followed_over_a_broken_connection_without_repeats():
    first = 'id: 1\nevent: run\ndata: {"status": "queued"}\n\n'
    second = 'id: 2\nevent: run\ndata: {"status": "completed"}\n\n'
    api = Api(
        runs__r__events=[httpx.Response(200, text=first), httpx.ReadError("broke"), httpx.Response(200, text=second)],
        runs__r=[
            httpx.Response(200, json=run_view("r", RunStatus.QUEUED).model_dump(mode="json")),
            httpx.Response(200, json=run_view("r", RunStatus.QUEUED).model_dump(mode="json")),
            httpx.Response(200, json=run_view("r").model_dump(mode="json")),
        ],
    )
    events = list(client(api).follow("r"))
    assert [event["data"]["status"] for event in events] == ["queued", "completed"]
    streams = [request for request in api.requests if request.url.path.endswith("/events")]
    assert [request.headers.get("Last-Event-ID") for request in streams] == [None, "1", "1"]


def test_events_that_never_come_end_in_a_message():
    api = Api(
        runs__r__events=[httpx.ConnectError("down")],
        runs__r=[httpx.Response(200, json=run_view("r", RunStatus.QUEUED).model_dump(mode="json"))],
    )
    with pytest.raises(ApiUnavailable, match="broke off"):
        list(client(api).follow("r"))


def test_server_sent_events_keep_ids_and_join_lines_and_skip_comments():
    lines = [": ping", "", "id: 7", "event: run", 'data: {"a":', "data: 1}", "", "data: 2", ""]
    assert list(server_sent_events(iter(lines))) == [
        {"event": "run", "id": "7", "data": {"a": 1}},
        {"event": "message", "data": 2},
    ]


def test_an_unfinished_event_is_not_given():
    assert list(server_sent_events(iter([f"data: {json.dumps('half')}"]))) == []


def test_a_sign_in_link_leads_on_to_a_page():
    def answer(request):
        assert (request.method, request.url.path) == ("POST", "/sign-in-links")
        return httpx.Response(201, json={"path": "/ui/enter?code=abc", "expires_at": "2026-01-05T10:00:00Z"})

    client = ResultsClient("http://med3d:8000", "key", transport=httpx.MockTransport(answer))
    assert client.sign_in_link() == "http://med3d:8000/ui/enter?code=abc"
    assert client.sign_in_link("/ui/runs/1?x=2") == "http://med3d:8000/ui/enter?code=abc&to=%2Fui%2Fruns%2F1%3Fx%3D2"
    client.close()


EXPLAINED = {"step_years": 10.0, "shares": None, "ventricles_ml": None, "sentence": "As the model believes."}


def test_an_explanation_is_asked_for_until_it_is_made():
    waits = httpx.Response(202, json={"status": "in_work"}, headers={"Retry-After": "1"})
    api = Api(runs__r__explanation=[waits, waits, httpx.Response(200, json=EXPLAINED)])
    assert client(api).explanation("r").sentence == "As the model believes."
    assert len(api.requests) == 3


def test_an_explanation_that_nobody_makes_is_given_up():
    api = Api(runs__r__explanation=[httpx.Response(202, json={}, headers={"Retry-After": "1"})])
    with pytest.raises(ExplanationLate, match="5 s"):
        client(api).explanation("r", patience_s=5.0)
    assert len(api.requests) == 6


def test_the_beginning_of_a_run_s_id_is_completed_and_a_whole_one_taken_as_it_is():
    found = run_view(run_id="0a1b2c3d-0000-4000-8000-000000000000").model_dump(mode="json")
    api = Api(runs=[httpx.Response(200, json={"items": [found], "next_cursor": None})])
    assert client(api).whole_run_id("0a1b2c") == found["run_id"]
    assert dict(api.requests[0].url.params) == {"id_begins": "0a1b2c", "limit": "2"}
    assert client(api).whole_run_id(found["run_id"]) == found["run_id"]
    assert len(api.requests) == 1


@pytest.mark.parametrize(("count", "said"), [(0, "no run's id begins with 0a1b"), (2, "several runs begin with 0a1b")])
def test_a_beginning_that_names_no_run_or_several_is_told(count, said):
    items = [run_view(run_id=f"0a1b-{number}").model_dump(mode="json") for number in range(count)]
    api = Api(runs=[httpx.Response(200, json={"items": items, "next_cursor": None})])
    with pytest.raises(NoSuchRun, match=said):
        client(api).whole_run_id("0a1b")
