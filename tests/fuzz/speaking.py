"""The code that what strangers say meets, in this process: the HTTP protocol with door and routes, multipart, HL7."""

import asyncio
import re
import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import uvicorn
from uvicorn.server import ServerState

from fuzz.inlets import LIMITS
from fuzz.spoken import hl7_stream, multipart_body, request
from med3d_service.api.door.connections import Room
from med3d_service.api.door.protocol import BoundedHttpProtocol, bounded_protocol
from med3d_service.network.hl7.acknowledging import acknowledge, not_hl7
from med3d_service.network.hl7.frames import FrameError, Frames
from med3d_service.network.hl7.messages import MessageRefused, read_header, read_updates
from med3d_service.problems import ServiceError
from med3d_service.studies.dicom_instances.instance_headers import HEAD_BYTES, InstanceRefused, read_headers
from med3d_service.studies.dicom_instances.related import (
    DamagedBodyError,
    NotRelatedError,
    OtherPartError,
    RelatedBody,
    TooManyPartsError,
)
from med3d_service.studies.uploads.form import StudyForm
from med3d_service.studies.uploads.limits import Meter
from med3d_service.trust.access import Role
from rig.service.api import open_api

ANSWER_S = 30.0
LONGEST_MESSAGE = 1024 * 1024
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class FaultError(AssertionError):
    """The service answered as no caller should ever be answered."""


class Wire(asyncio.Transport):
    """The other end of a connection in memory: keeps what the service writes."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 5), "sockname": ("192.0.2.1", 80)})
        self.said, self.ended = bytearray(), False

    def write(self, data: object) -> None:
        """Keep it."""
        self.said += bytes(data)  # type: ignore[call-overload]

    def is_closing(self) -> bool:
        """Tell whether the service has ended the connection."""
        return self.ended

    def close(self) -> None:
        """End it."""
        self.ended = True

    abort = close
    write_eof = close

    def can_write_eof(self) -> bool:
        """Say yes."""
        return True

    def pause_reading(self) -> None:
        """Do nothing: all has been said already."""

    resume_reading = pause_reading


class HttpTarget:
    """An API in memory and the protocol in front of it, as the process of the API joins them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="spoken-")
        self.api = open_api(Path(self._folder.name), failed_keys_per_minute=10**9, requests_per_minute=0)
        roles = (Role.ADMIN, Role.SUBMITTER, Role.WORKER)
        self.keys = [self.api.key(role, clinical=True) for role in roles]
        self.routes = sorted(
            (method.upper(), path.format(**self.api.ids))
            for path, methods in self.api.app.openapi()["paths"].items()
            for method in methods
            if not path.endswith("/events")  # an answer without an end
        )
        self._loop = asyncio.new_event_loop()
        self._faults: list[str] = []
        self._loop.set_exception_handler(lambda _loop, context: self._faults.append(str(context.get("exception"))))
        config = uvicorn.Config(self.api.app, log_config=None, access_log=False, ws="none", server_header=False)
        config.load()
        self._protocol = partial(bounded_protocol(self.api.settings, Room.of(self.api.settings)), config)

    def answer(self, data: bytes) -> list[int]:
        """The statuses of what the service answers. Raises FaultError, TimeoutError."""
        statuses = self._loop.run_until_complete(self._speak(data))
        if self._faults or 500 in statuses:
            raise FaultError(f"{statuses} {self._faults}")
        return statuses

    async def _speak(self, data: bytes) -> list[int]:
        state, wire = ServerState(), Wire()
        protocol = self._protocol(server_state=state, app_state={"front": None}, _loop=self._loop)
        protocol.connection_made(wire)
        for start in range(0, len(data), 65536):
            protocol.data_received(data[start : start + 65536])
            await asyncio.sleep(0)
        async with asyncio.timeout(ANSWER_S):
            await asyncio.sleep(0.001)
            if not wire.ended and not state.tasks:
                protocol.connection_lost(None)
            elif not wire.ended:
                await self._answered(protocol, state, wire)
                protocol.connection_lost(None)
            while state.tasks:
                await asyncio.wait(list(state.tasks))
        if wire.ended:
            protocol.connection_lost(None)
        return [int(status) for status in STATUS.findall(bytes(wire.said))]

    @staticmethod
    async def _answered(protocol: BoundedHttpProtocol, state: ServerState, wire: Wire) -> None:
        """Wait for the answer to what is whole, however busy the machine; what waits for the rest of a body gets a moment."""
        while True:
            await asyncio.wait(state.tasks, timeout=0.05)
            unanswered = state.tasks and not STATUS.search(bytes(wire.said))
            if not unanswered or protocol.cycle is None or protocol.cycle.more_body:
                return


@cache
def target() -> HttpTarget:
    """One for each process."""
    return HttpTarget()


def by_http(number: int, _folder: Path) -> str:
    """A request to the API."""
    here = target()
    statuses = here.answer(request(here.routes, here.keys, number))
    return str(statuses[0]) if statuses else "no answer"


class _Received:
    """Takes the files of a related body, and reads the head of each as STOW-RS does."""

    def __init__(self) -> None:
        self._head = bytearray()

    def begin(self) -> None:
        self._head.clear()

    def write(self, data: bytes) -> None:
        self._head += data[: max(0, HEAD_BYTES - len(self._head))]

    def end(self) -> None:
        try:
            read_headers(bytes(self._head))
        except InstanceRefused:
            return


def by_multipart(number: int, folder: Path) -> str:
    """A form, or a body of STOW-RS."""
    warnings.simplefilter("ignore")
    kind, body = multipart_body(number)
    if kind.startswith("multipart/related"):
        try:
            related = RelatedBody(kind, _Received(), LIMITS.files)
            for start in range(0, len(body), 4096):
                related.write(body[start : start + 4096])
            related.finish()
        except (DamagedBodyError, NotRelatedError, OtherPartError, TooManyPartsError) as refused:
            return type(refused).__name__
        return "related: taken"
    form = None
    try:
        form = StudyForm(kind, folder, b"k" * 32, "default", Meter(LIMITS))
        for start in range(0, len(body), 4096):
            form.write(body[start : start + 4096])
        form.finish()
    except ServiceError as refused:
        return refused.code
    finally:
        if form is not None:
            form.discard()
    return "form: taken"


class Line:
    """A connection on which all has been said."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self.answers = data, 0, 0

    def settimeout(self, _within_s: float) -> None:
        """Do nothing: there is no waiting here."""

    def recv(self, size: int) -> bytes:
        """The next piece."""
        self._at += size
        return self._data[self._at - size : self._at]

    def sendall(self, data: bytes) -> None:
        """Hold an answer against the standard's outline."""
        if not (data.startswith(b"\x0bMSH") and data.endswith(b"\x1c\r") and b"\rMSA" in data and len(data) < 4096):
            raise FaultError(f"{data[:200]!r} is no acknowledgment")
        self.answers += 1


MOST_MESSAGES = 1_000
"""Of one connection: a stream said over and over is thousands of good messages, at three milliseconds each."""


def by_hl7(number: int, _folder: Path) -> str:
    """A connection of MLLP, up to the corrections that its messages make."""
    line = Line(hl7_stream(number))
    frames = Frames(line, LONGEST_MESSAGE, 10.0)  # type: ignore[arg-type]
    said = "nothing"
    try:
        for _ in range(MOST_MESSAGES):
            if (message := frames.receive(1.0)) is None:
                break
            said = _answered(message, frames)
    except FrameError as ended:
        return f"frame: {ended}"
    return said


def _answered(message: bytes, frames: Frames) -> str:
    try:
        header = read_header(message)
    except MessageRefused:
        frames.send(not_hl7())
        return "no header"
    try:
        read_updates(header, message)
    except MessageRefused as refused:
        frames.send(acknowledge(header, refused))
        return f"refused: {refused.condition}"
    frames.send(acknowledge(header))
    return "taken"


SPOKEN = {"http": by_http, "multipart": by_multipart, "hl7": by_hl7}
