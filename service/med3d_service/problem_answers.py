"""Errors as HTTP answers (RFC 9457, application/problem+json); of what nobody expected the log has the kind alone."""

import errno
import math
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_service.problems import MEDIA_TYPE, ServiceError, database_problem, problem_body
from med3d_store.object_store import StoreError, StoreFullError

log = structlog.get_logger()


def problem_response(error: ServiceError, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    """Render the error as an HTTP answer."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(problem_body(error, errors), error.status, headers, media_type=MEDIA_TYPE)


def render_problems(app: FastAPI) -> None:
    """Let ``app`` answer every error as problem+json."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DataError, _unstorable_error)
    app.add_exception_handler(OperationalError, _database_error)
    app.add_exception_handler(OSError, _disk_error)
    app.add_exception_handler(StoreError, _store_error)
    app.add_exception_handler(Exception, _unexpected_error)


def with_unexpected_errors(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``: what nobody expected is answered here, and what stands around it treats that as any answer."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noting_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, noting_send)
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            answer = await _unexpected_error(Request(scope), error)
            await answer(scope, receive, send)

    return wrapped


async def _service_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return problem_response(error)


async def _unstorable_error(_request: Request, _error: Exception) -> JSONResponse:
    # A value that its type allows and the database does not, such as a NUL in a text on PostgreSQL.
    return problem_response(ServiceError("invalid_request"))


async def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Never the input itself: it may hold what identifies a patient.
    errors = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"], "kind": e["type"]} for e in error.errors()]
    return problem_response(ServiceError("invalid_request"), errors)


async def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    response = problem_response(ServiceError(codes.get(error.status_code, "invalid_request")))
    response.headers.update(error.headers or {})
    return response


async def _database_error(_request: Request, error: Exception) -> JSONResponse:
    return problem_response(database_problem(error))


async def _disk_error(_request: Request, error: Exception) -> JSONResponse:
    number = getattr(error, "errno", None)
    log.error("disk_error", kind=type(error).__name__, errno=number)
    return problem_response(ServiceError("disk_full" if number in {errno.ENOSPC, errno.EDQUOT} else "unavailable"))


async def _store_error(_request: Request, error: Exception) -> JSONResponse:
    log.error("store_error", kind=type(error).__name__)
    return problem_response(ServiceError("disk_full" if isinstance(error, StoreFullError) else "unavailable"))


async def _unexpected_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ClientDisconnect):  # within a body; nobody is there to read the answer
        log.info("sender_hung_up")
    else:
        log.error("unexpected_error", kind=type(error).__name__)
    return problem_response(ServiceError("internal_error"))
