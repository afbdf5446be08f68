"""From a template and its values to an answer: escaped, of one language, with the headers that a page needs."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from med3d_pages.addresses import DOCUMENTS, PREFIX
from med3d_pages.clock import zone
from med3d_pages.documents import SITE, has_documents
from med3d_pages.files import asset_url, integrity_of
from med3d_pages.texts import Catalogue, catalogue, languages, preferred
from med3d_service.studies.finding import readable_name
from med3d_service.trust.access import Caller, Role
from med3d_service.trust.access.own_pages import SAFE_METHODS

WRITTEN = ("years", "signed", "plain", "brief", "interval", "percent", "size")
LANGUAGE_COOKIE = "med3d_language"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with none at all, browsers would not say which site a form is sent from
    "Cache-Control": "private, no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template. It finds texts under ``t``, who looks under ``caller`` (None: nobody is signed in)."""
    texts = texts_for(request)
    state = request.scope.get("state", {})
    caller: Caller | None = state.get("caller")
    given = {
        "t": texts,
        "caller": caller,
        "may": may_of(caller),
        "form_token": state.get("form_token", ""),
        "here": request.url.path,
        "other_languages": [catalogue(one) for one in languages() if one != texts.language],
        "back_to": request.url.path if request.method == "GET" else PREFIX,
        "refresh_s": None,
        "follow": None,
        "is_refused_form": False,
        **values,
    }
    if request.method not in SAFE_METHODS:  # brought up to date, it would lose what is to be mended, or send it again
        given["refresh_s"] = None
    return HTMLResponse(environment().get_template(template).render(given), status, HEADERS)


def is_page(path: str) -> bool:
    """Tell whether an address is one of a page, or of a file of the pages."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def texts_for(request: Request) -> Catalogue:
    """Choose the language of an answer: what the person chose, else what the browser says."""
    return preferred(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE_COOKIE))


class May:
    """What the caller may do, as templates ask: ``may.submit``."""

    def __init__(self, caller: Caller | None) -> None:
        self._caller = caller
        self.submit = self._covers(Role.SUBMITTER)
        self.operate = self._covers(Role.OPERATOR)
        self.administer = self._covers(Role.ADMIN)
        self.administer_all = self.administer and caller is not None and caller.every_site
        self.identify = caller is not None and caller.clinical

    def _covers(self, wanted: Role) -> bool:
        return self._caller is not None and self._caller.role.covers(wanted)


def may_of(caller: Caller | None) -> May:
    """Say what a caller may do."""
    return May(caller)


@lru_cache
def environment() -> Environment:
    """Make the templates' environment. A value that is missing is an error."""
    made = Environment(
        loader=PackageLoader("med3d_pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"asset": asset_url, "integrity": integrity_of, "ui": PREFIX, "nav_names": nav_names, "zone": zone}
    made.globals["documents"] = DOCUMENTS if has_documents(SITE) else None
    made.filters |= {
        **{name: _number_filter(name) for name in WRITTEN},
        "moment": moment,
        "second": second,
        "day": day,
        "person": person,
        "listed": listed,
        "short": short_id,
        "brief_provider": brief_provider,
        "key_of": key_of,
        "ago": _number_filter("duration"),
    }
    return made


def _number_filter(name: str) -> Callable[..., str]:
    """Make a filter that writes numbers in the page's language."""

    @pass_context
    def write(context: Context, *given: Any, **options: Any) -> str:
        return str(getattr(context["t"].numbers, name)(*given, **options))

    return write


def moment(at: datetime | None) -> str:
    """Write a time on the service's clock, such as 2026-01-05 09:30."""
    return "\N{EN DASH}" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def second(at: datetime) -> str:
    """Write a time to the second."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def day(text: str) -> str:
    """Write a DICOM date (PS3.5 6.2 DA) with its dashes; what is none stays as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdecimal() else text


def person(name: str) -> str:
    """Write a DICOM name (PS3.5 6.2 PN) as "Family, Given"."""
    return readable_name(name)


def listed(values: Mapping[str, str]) -> str:
    """Write names with their values on one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def nav_names(may: May) -> tuple[str, ...]:
    """Name the pages that the caller's role has."""
    submitters, administrators = ("upload",) if may.submit else (), ("admin",) if may.administer else ()
    return ("today", "worklist", "review", *submitters, "cohorts", "model", "pacs", *administrators, "api")


def key_of(actor: str) -> str:
    """Write the prefix of the key of who called, such as session:3f2a.91, as the trail names them."""
    return actor.partition(":")[2].partition(".")[0] or actor


def brief_provider(name: str) -> str:
    """Name what computes as people do: ONNX Runtime says OpenVINOExecutionProvider."""
    return name.removesuffix("ExecutionProvider")


def short_id(text: str) -> str:
    """Write the beginning of an id of ours, enough to tell it by."""
    return text[:8]
