"""A RIS and a FHIR server: each judges what it gets by an implementation that is not ours, and keeps it."""

import asyncio
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message

START, END = b"\x0b", b"\x1c\r"


class Ris:
    """An MLLP server (asyncio) that parses and validates with hl7apy; answers as ``answers`` say, then with AA.

    An answer is (code, condition); None closes the connection without a word.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = deque(answers)
        self.messages: list[Any] = []
        self.faults: list[str] = []
        self.wrong_id = False
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._started.set()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            frame = await reader.readuntil(END)
            assert frame.startswith(START)
            code, condition = self.answers.popleft() if self.answers else ("AA", "")
            if code is not None:
                writer.write(START + self._answer(frame[1 : -len(END)].decode(), code, condition).encode() + END)
                await writer.drain()
        finally:
            writer.close()

    def _answer(self, text: str, code: str, condition: str) -> str:
        message = parse_message(text)
        if not message.validate():
            self.faults.append("not valid")
        self.messages.append(message)
        control_id = "ANOTHER" if self.wrong_id else message.msh.msh_10.value
        head = f"MSH|^~\\&|RIS|HOSP|MED3D||20260105||ACK^R01^ACK|A-{len(self.messages)}|P|2.5.1"
        return "\r".join((head, f"MSA|{code}|{control_id}", *([f"ERR|||{condition}|E"] if condition else []), ""))

    def of(self, patient_id: str) -> list[Any]:
        """The messages on one patient, in their order."""
        return [one for one in self.messages if f"|{patient_id}^" in one.to_er7()]

    def stop(self) -> None:
        """Listen no more, and leave no connection open: the collector would complain of it in some later test."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        await asyncio.sleep(0)  # who has just come begins to be served, and is let go of below
        talks = asyncio.all_tasks() - {asyncio.current_task()}
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    @property
    def table(self) -> str:
        return f'host = "127.0.0.1"\nport = {self.port}\nreceiving_application = "RIS"\ntimeout_s = 5\n'


def observed(message: Any) -> dict[str, tuple[str, str]]:
    """Value and status (OBX-11) of a message's observations, by code; of several of one code the first."""
    found: dict[str, tuple[str, str]] = {}
    for line in message.to_er7().split("\r"):
        fields = line.split("|")
        if fields[0] == "OBX":
            found.setdefault(fields[3].split("^")[0], (fields[5], fields[11]))
    return found


class FhirStore:
    """A FHIR server that knows transactions, conditional create and conditional update; ``statuses`` come first.

    An answer of ``answers`` (status, headers, JSON) goes before all others, and nothing is taken.
    """

    def __init__(self, *statuses: int) -> None:
        self.statuses = deque(statuses)
        self.answers: deque[tuple[int, dict[str, str], Any]] = deque()
        self.resources: dict[tuple[str, str], Any] = {}
        self.versions: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                store.headers.append(dict(self.headers))
                status, headers, told = store.answer(body)
                answer = json.dumps(told).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/fhir+json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, body: bytes) -> tuple[int, dict[str, str], Any]:
        """What it says: status, headers, JSON."""
        if self.answers:
            return self.answers.popleft()
        status = self.statuses.popleft() if self.statuses else 200
        return status, {}, self.take(body) if status == 200 else {"resourceType": "OperationOutcome"}

    def take(self, body: bytes) -> Any:
        """Judge a transaction and do what it says."""
        Bundle.model_validate_json(body)
        entries = json.loads(body)["entry"]
        return {
            "resourceType": "Bundle",
            "type": "transaction-response",
            "entry": [{"response": {"status": self._kept(one)}} for one in entries],
        }

    def _kept(self, entry: Any) -> str:
        resource, request = entry["resource"], entry["request"]
        condition = request.get("ifNoneExist") or request["url"].partition("?")[2]
        system, _, value = condition.removeprefix("identifier=").partition("|")
        assert {"system": system, "value": value} in resource["identifier"]
        key = (resource["resourceType"], value)
        if key in self.resources and request["method"] == "POST":
            return "200 OK"
        status = "200 OK" if key in self.resources else "201 Created"
        self.resources[key] = resource
        self.versions.append((resource["resourceType"], resource.get("status", "")))
        return status

    def reports(self) -> list[Any]:
        return [one for (kind, _), one in self.resources.items() if kind == "DiagnosticReport"]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
