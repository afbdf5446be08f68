"""What goes wrong under /ui is shown as a page; who is not signed in is asked to."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_pages.addresses import PREFIX
from med3d_pages.forms import own_target
from med3d_pages.rendering import is_page, render, texts_for
from med3d_pages.texts import Catalogue
from med3d_service.api.held_answers import hold_answers
from med3d_service.problems import CATALOGUE, MEDIA_TYPE, ServiceError
from med3d_service.trust.access.own_pages import SAFE_METHODS, require_own_origin

KEPT = ("allow", "connection", "retry-after")
"""Headers of a problem that hold for its page, too."""


def with_problem_pages(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``: problem+json under /ui becomes a page of the same status. What programs ask for stays as it is."""
    return hold_answers(app, to=lambda scope: is_page(scope["path"]), begin=_is_problem, anew=_answer_by_page)


async def _answer_by_page(scope: Scope, receive: Receive, send: Send, start: Message, body: bytes) -> None:
    answer = _page(Request(scope), start["status"], json.loads(body))
    said = Headers(raw=start["headers"])
    answer.headers.update({name: said[name] for name in KEPT if name in said})
    await answer(scope, receive, send)


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith(MEDIA_TYPE)


def _page(request: Request, status: int, problem: Mapping[str, Any]) -> Response:
    if status == 401:
        over = "&over=1" if problem["code"] == "session_over" else ""
        unsent = "" if request.method in SAFE_METHODS else "&unsent=1"
        target = quote(_wanted(request), safe="")
        return RedirectResponse(f"{PREFIX}/sign-in?to={target}{over}{unsent}", 303, {"Cache-Control": "no-store"})
    if status == 405 and request.method == "GET":  # a form's address that was opened by hand: its page stands above it
        return RedirectResponse(own_target(request.url.path.rpartition("/")[0]), 303, {"Cache-Control": "no-store"})
    said, helps = words_of(texts_for(request), problem)
    is_refused_form = request.method not in SAFE_METHODS and _is_of_our_page(request)
    back = _wanted(request) if is_refused_form else None
    values = {"problem": problem, "said": said, "help": helps, "is_refused_form": is_refused_form, "back": back}
    return render(request, "problem.html", status=status, **values)


def _is_of_our_page(request: Request) -> bool:
    """Tell whether a page of ours asks: where a form's token does not fit, one of an earlier session."""
    try:
        require_own_origin(request.headers)
    except ServiceError:
        return False
    return request.scope.get("state", {}).get("caller") is not None


def words_of(texts: Catalogue, problem: Mapping[str, Any]) -> tuple[str, str]:
    """Say to a person at a page what went wrong and what helps; the API's own words are for programs, and name routes.

    A detail of this very request, such as the row of a table, is worth more than what is said of all with its code.
    """
    code, detail = problem["code"], problem["detail"]
    if code == "wrong_scope":  # the detail names roles as programs do, and keys where a person has none
        return texts(f"problem.said.{code}"), texts(f"problem.help.{code}")
    usual = CATALOGUE[code][1] if code in CATALOGUE else None
    said = texts.maybe(f"problem.said.{code}") if detail == usual else None
    return said or detail, texts.maybe(f"problem.help.{code}") or problem["remedy"]


def _wanted(request: Request) -> str:
    """Name the page to go on with: the one that was asked for, or the one whose form was sent."""
    if request.method not in SAFE_METHODS:
        whole = request.headers.get("referer", "")
        return own_target(whole.removeprefix(str(request.base_url).rstrip("/")))
    query = request.url.query
    return own_target(request.url.path + (f"?{query}" if query else ""))
