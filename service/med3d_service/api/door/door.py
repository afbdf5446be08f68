"""The layer in front of the routes: it finds out who calls, and whether they may, before any of a body is read."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import to_thread
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_service.api.door.bodies import IncomingBody, Pace
from med3d_service.api.door.marks import largest_body
from med3d_service.api.door.strangers import Strangers
from med3d_service.problem_answers import problem_response
from med3d_service.problems import ServiceError, database_problem
from med3d_service.settings import Settings
from med3d_service.trust.access.callers import Gate, needs_of, require
from med3d_service.trust.access.own_pages import require_paid_token
from med3d_service.trust.access.roles import SESSION, Caller
from med3d_service.trust.access.sessions import cookie_of

CONNECTION = "med3d.connection"
"""Name of the ASGI extension by which the door speaks to the connection that a request came over."""

REVOKED_MEANWHILE = "The key was revoked or ended while the body came, which was not taken."


class Connection(Protocol):
    """A connection as the door sees it."""

    def trust(self) -> None:
        """Let it keep its place until the request at hand has been answered: its caller is known."""

    def linger(self) -> None:
        """End it once the answer is sent, although more of the request is on its way."""

    def drop(self) -> None:
        """End it now: nobody takes the answer."""


@dataclass(frozen=True)
class Entrance:
    """What a route asks of who comes. ``needs``: None where anybody may; ``largest``: None where it reads itself."""

    route: APIRoute | None
    needs: tuple[str, ...] | None
    largest: int | None

    @property
    def marks(self) -> frozenset[object]:
        """What the route says of itself among its ``dependencies``."""
        return frozenset(one.dependency for one in self.route.dependencies) if self.route else frozenset()


NOWHERE = Entrance(None, (), None)
"""An address that no route has is shown to nobody without a key; whoever has one is told by the API that it is none."""


class Door:
    """Wraps the API. ``routes`` is asked when the first request comes, when all are there."""

    def __init__(self, settings: Settings, routes: Callable[[], Sequence[APIRoute]]) -> None:
        self._pace, self._stall_s = Pace.of(settings), settings.answer_stall_s
        self._routes, self._strangers = routes, Strangers()
        self._entrances: list[Entrance] | None = None

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Wrap ``app``."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            body = IncomingBody(scope, receive, self._pace)
            answer = self._answering(scope, body, send)
            try:
                await self._let_in(scope, body)
            except ServiceError as error:
                if _connection(scope) is not None and "caller" not in scope.get("state", {}):
                    await self._strangers.wait()
                await problem_response(error)(scope, receive, answer)
            except OperationalError as error:
                await problem_response(database_problem(error))(scope, receive, answer)
            except ClientDisconnect:
                return
            else:
                await app(scope, body.receive, answer)

        return watched

    async def _let_in(self, scope: Scope, body: IncomingBody) -> None:
        """Judge a request. Raises ServiceError, OperationalError, ClientDisconnect."""
        entrance = self._entrance(scope)
        if entrance.route is not None:
            scope["route"] = entrance.route  # for the audit trail and the metrics of whom we turn away
        if entrance.needs is not None:
            await _admit(scope, entrance.needs)
            body.ask_again(lambda: _require_still(scope))
            require_paid_token(scope, entrance.marks)
        body.require_plain()
        if entrance.largest is not None and not body.has_ended:
            await body.read_whole(entrance.largest)

    def _entrance(self, scope: Scope) -> Entrance:
        if self._entrances is None:
            self._entrances = [
                Entrance(route, needs_of(route.endpoint), largest_body(route.dependencies)) for route in self._routes()
            ]
        partly = NOWHERE
        for entrance in self._entrances:
            assert entrance.route is not None
            match, _ = entrance.route.matches(scope)
            if match is Match.FULL:
                return entrance
            if match is Match.PARTIAL and partly is NOWHERE:
                open_to_all = entrance.needs is None
                partly = Entrance(None, None if open_to_all else (), None)  # the API says which methods there are
        return partly

    def _answering(self, scope: Scope, body: IncomingBody, send: Send) -> Send:
        """Send an answer; who does not take it is not waited for, who was answered early does not go on sending."""
        connection = _connection(scope)
        if connection is None:
            return send

        async def sending(message: Message) -> None:
            is_early = message["type"] == "http.response.start" and not body.has_ended
            if is_early:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            try:
                async with asyncio.timeout(self._stall_s):
                    await send(message)
            except TimeoutError:
                connection.drop()
            if is_early:
                connection.linger()

        return sending


async def _admit(scope: Scope, needs: tuple[str, ...]) -> None:
    gate: Gate = scope["app"].state.gate
    try:
        caller = await _who_calls(gate, scope)
    except ServiceError as error:
        if error.status == 401:
            client = scope.get("client")
            gate.throttle.note_failure(client[0] if client else "local")
        raise
    if (connection := _connection(scope)) is not None:
        connection.trust()
    scope.setdefault("state", {})["caller"] = caller
    gate.throttle.admit(caller, scope)
    require(caller, needs)


async def _who_calls(gate: Gate, scope: Scope) -> Caller:
    """Find the caller. Who shows nothing is told so here, and not behind those whose key is looked up."""
    authorization = Headers(scope=scope).get("authorization", "")
    if not authorization and cookie_of(scope) is None:
        raise ServiceError("missing_key")
    return await to_thread.run_sync(gate.who_calls, scope, authorization)


async def _require_still(scope: Scope) -> None:
    """Raise ServiceError where a key was revoked while a body came; a token was good as it began."""
    kind = scope["state"]["caller"].kind
    if kind == "token":
        return
    gate: Gate = scope["app"].state.gate
    if not await to_thread.run_sync(gate.still_admits, scope, Headers(scope=scope).get("authorization", "")):
        raise ServiceError("session_over" if kind == SESSION else "invalid_key", REVOKED_MEANWHILE)


def _connection(scope: Scope) -> Connection | None:
    """Return it; None where requests do not come over the network, as in tests."""
    extensions: dict[str, dict[str, Any]] = scope.get("extensions") or {}
    connection: Connection | None = extensions.get(CONNECTION, {}).get("connection")
    return connection
