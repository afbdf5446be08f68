"""Attacks that a seed repeats, each against the service's own code: what they tried, and what held otherwise than it must."""

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import func, select, text

from attack.bodies import Bodies
from fuzz.speaking import SPOKEN
from med3d_service.storage.database import Database
from med3d_service.storage.sealed import ObjectName, SealBrokenError, SealedReader, SealedWriter
from med3d_service.trust.access import Role
from med3d_service.trust.access.api_keys import revoke_key, rotate_key
from med3d_service.trust.audit.tables import AuditRow
from rig.processes.floods import flood
from rig.processes.service import Processes
from rig.service.api import Api, open_api

OPEN = {"/healthz", "/readyz", "/hooks/orthanc"}
CLINICAL = "clinical"
BODY_WANTS_GRANT = {"POST /keys", "POST /pulls"}
"""A body may ask for what takes the clinical grant there: a key that has it, a pull by patient."""
ELSEWHERE = "another hospital"
CANARIES = {"patient_name": "CANARY^ZEBRA", "patient_id": "CANARY-4711", "accession_number": "CANARY-ACC"}
ANSWER_S = 2.0
ROWS = (
    *(("runs", "id", "run_id"), ("attempts", "run_id", "run_id"), ("run_events", "run_id", "run_id")),
    *(("verdicts", "run_id", "run_id"), ("reports", "run_id", "run_id"), ("deliveries", "id", "delivery_id")),
    *(("studies", "id", "study_id"), ("instances", "study_id", "study_id"), ("appraisals", "study_id", "study_id")),
    *(("pulls", "id", "pull_id"), ("cohorts", "id", "cohort"), ("cohort_members", "cohort_id", "cohort")),
    *(("calibrations", "digest", "calibration_digest"), ("api_keys", "prefix", "key_prefix")),
    *(("sessions", "id", "session_id"), ("saved_views", "id", "view_id")),
)
"""What the attacked site owns: table, column, and which of its ids stands there."""
KEY = b"a" * 32


@dataclass
class Report:
    """What was tried, by kind, and what was found."""

    tried: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def expect(self, holds: bool, finding: str) -> None:
        """Note a finding where something does not hold."""
        if not holds:
            self.findings.append(finding)


class Grounds:
    """An API in memory with studies of one site, keys of every kind, and hands that write to its database past it."""

    def __init__(self, folder: Path) -> None:
        self.api: Api = open_api(folder, failed_keys_per_minute=10**9, requests_per_minute=0)
        with self.api.service.database.write() as session:
            for kind, value in CANARIES.items():
                self.api.service.vault.keep(session, self.api.ids["study_id"], kind, value)
        self.past = Database(self.api.settings.database)
        self.keys = {
            (role, clinical): self.api.key(role, clinical=clinical) for role in Role for clinical in (False, True)
        }
        self.strange = {role: self.api.key(role, site=ELSEWHERE) for role in Role}
        self.document = self.api.app.openapi()
        self.routes = [
            (method.upper(), path, tuple(need for one in route.get("security", []) for need in one["HTTPBearer"]))
            for path, methods in self.document["paths"].items()
            for method, route in methods.items()
            if path not in OPEN
        ]

    def ended_keys(self) -> list[str]:
        """Keys that worked once: revoked, rotated, past their time; and what never was one."""
        revoked, rotated = (self.api.key(Role.ADMIN, clinical=True) for _ in range(2))
        expired = self.api.key(Role.ADMIN, valid_s=-1.0)
        with self.api.service.database.write() as session:
            revoke_key(session, revoked.split("_")[1])
            rotate_key(session, rotated.split("_")[1], overlap_s=0.0)
        return [revoked, rotated, expired, "m3d_00000000_guess", "eyJhbGciOiJub25lIn0.e30.", "'; --", "m3d_"]

    def ask(self, method: str, path: str, key: str | None, body: object = None) -> httpx.Response:
        """One request, with an empty body where it takes one and none is given."""
        takes_one = method in {"POST", "PUT", "PATCH"}
        return self.api.request(method, path.format(**self.api.ids), key, json=(body or {}) if takes_one else None)

    def draw_body(self, method: str, path: str, chance: random.Random) -> object:
        """Draw a body that the route takes, about what the attacked site owns; none where it takes no JSON."""
        content = self.document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        return Bodies(self.document, self.api.ids, chance).draw(schema) if schema else None

    def owned(self) -> dict[str, list[object]]:
        """Read every row that belongs to what the attacked site owns, by table."""
        with self.past.read() as session:
            return {
                table: list(
                    session.execute(text(f"SELECT * FROM {table} WHERE {column} = :id"), {"id": self.api.ids[name]})
                )
                for table, column, name in ROWS
            }

    def close(self) -> None:
        """End it."""
        self.past.close()
        self.api.close()


def requests(grounds: Grounds, chance: random.Random, report: Report, count: int = 40) -> None:
    """Routes by credentials: who may not is told so by 401 or 403, another site's things do not exist, nothing breaks."""
    ended = grounds.ended_keys()
    for _ in range(count):
        method, path, needs = chance.choice(grounds.routes)
        where = f"{method} {path}"
        for key in (None, chance.choice(ended)):
            answer = grounds.ask(method, path, key)
            report.expect(answer.status_code == 401, f"{where} without a good key: {answer.status_code}")
            _silent(answer, where, report)
        role, clinical = chance.choice(list(grounds.keys))
        may = all(clinical if need == CLINICAL else role.covers(Role(need)) for need in needs)
        # What is erased cannot be attacked again, and a stream that may be heard has no end.
        if not (may and (method == "DELETE" or path.endswith("/events"))):
            answer = grounds.ask(method, path, grounds.keys[role, clinical], grounds.draw_body(method, path, chance))
            is_right = (answer.status_code != 403) is may or (may and not clinical and where in BODY_WANTS_GRANT)
            report.expect(is_right, f"{where} as {role}, {clinical}: {answer.status_code}")
            report.expect(answer.status_code < 500, f"{where} as {role}: {answer.status_code}")
            if not clinical:
                _silent(answer, where, report)
        _ask_from_elsewhere(grounds, (method, path), role, chance, report)
        report.tried["requests"] += 4
    report.tried["credentials"] = len(grounds.keys) + len(grounds.strange) + len(ended) + 1


def _ask_from_elsewhere(
    grounds: Grounds, route: tuple[str, str], role: Role, chance: random.Random, report: Report
) -> None:
    """Ask with another site's key and a body that names the attacked site's things: nothing of them is told or changed."""
    where, before = f"{' '.join(route)} of another site", grounds.owned()
    answer = grounds.ask(*route, grounds.strange[role], grounds.draw_body(*route, chance))
    report.expect(answer.status_code < 500, f"{where} as {role}: {answer.status_code}")
    _silent(answer, where, report)
    if any(f"{{{name}}}" in route[1] for name in ("run_id", "study_id", "cohort", "delivery_id", "pull_id")):
        report.expect(answer.status_code >= 400, f"{where} shows another site's: {answer.status_code}")
    for table, rows in grounds.owned().items():
        report.expect(rows == before[table], f"{where} as {role} changes rows of {table}")
    report.tried["requests of another site"] += 1


def _silent(answer: httpx.Response, where: str, report: Report) -> None:
    report.tried["answers searched for canaries"] += 1
    told = answer.text + str(answer.headers)
    report.expect(not any(canary in told for canary in CANARIES.values()), f"{where} names a patient")


FORGED = (
    "role = 'admin'",
    "clinical = 1",
    "site = '*'",
    "expires_at = 9e9",
    "seal = NULL",
    "name = 'boss'",
    "seal = seal || 'x'",
)


def forgeries(grounds: Grounds, chance: random.Random, report: Report, count: int = 6) -> None:
    """Rows of keys changed past the service: they open nothing, and an alert says so."""
    for _ in range(count):
        key = grounds.api.key(Role.VIEWER, site="here", valid_s=60.0)
        prefix, change = key.split("_")[1], chance.choice(FORGED)
        before = grounds.ask("GET", "/runs", key).status_code
        with grounds.past.write() as session:
            session.execute(text(f"UPDATE api_keys SET {change} WHERE prefix = :prefix"), {"prefix": prefix})
        after = grounds.ask("GET", "/runs", key).status_code
        report.expect((before, after) == (200, 401), f"a key with {change}: {before}, then {after}")
        with grounds.past.read() as session:
            told = select(func.count()).where(AuditRow.action == "alert", AuditRow.object_id == prefix)
            alerts = session.execute(told).scalar_one()
        report.expect(alerts == 1, f"a key with {change} left {alerts} alerts")
        report.tried["forgeries"] += 1


def swaps(_grounds: Grounds, chance: random.Random, report: Report, count: int = 20) -> None:
    """Sealed objects swapped, cut, doubled or spoilt: none is read as what it is not."""
    with tempfile.TemporaryDirectory() as place:
        for number in range(count):
            names = [
                ObjectName("original", f"originals/{number}-{one}", site) for one, site in enumerate(("here", "there"))
            ]
            writers = []
            for name in names:
                writers.append(SealedWriter(Path(place) / name.key.replace("/", "-"), KEY, name))
                writers[-1].write(chance.randbytes(chance.choice((0, 1, 1000, 1_100_000))))
                writers[-1].close()
            first, second = (writer.path.read_bytes() for writer in writers)
            what, data = chance.choice(list(_altered(first, second, chance)))
            writers[0].path.write_bytes(data)
            for digest in (writers[0].sha256, None):
                read = _read(writers[0].path, names[0], digest)
                report.expect(
                    read is None, f"an object that was {what} is read{'' if digest else ' without its digest'}"
                )
                report.tried["swaps"] += 1


def _altered(first: bytes, second: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    at = chance.randrange(len(first))
    yield "swapped", second
    yield "cut", first[: max(1, at)]
    yield "spoilt", first[:at] + bytes([first[at] ^ (1 << chance.randrange(8))]) + first[at + 1 :]
    yield "lengthened", first + second[:16]
    yield "given the other's salt", second[:24] + first[24:]


def _read(path: Path, name: ObjectName, sha256: str | None) -> bytes | None:
    try:
        with SealedReader(path, KEY, name, sha256) as reader:
            return reader.readall()
    except SealBrokenError:
        return None


def spoken(_grounds: Grounds, chance: random.Random, report: Report, count: int = 15) -> None:
    """Spoilt requests, multipart bodies and HL7 messages, each answered as any is."""
    with tempfile.TemporaryDirectory() as place:
        for name, inlet in SPOKEN.items():
            for _ in range(count):
                number = chance.randrange(10**9)
                try:
                    inlet(number, Path(place))
                except Exception as error:  # noqa: BLE001 - whatever is not classified is what we look for
                    report.findings.append(f"{name} {number}: {type(error).__name__}")
                report.tried[f"spoilt {name}"] += 1


def escapes(_grounds: Grounds, _chance: random.Random, report: Report) -> None:
    """What a process that was taken over tries from inside its room: the test that holds it is run as it stands."""
    test = Path(__file__).parents[1] / "unit" / "test_shutting_in.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    ended = subprocess.run(command, capture_output=True, check=False, text=True)
    report.expect(ended.returncode == 0, "a process that shut itself in: " + ended.stdout[-300:])
    report.tried["rooms tried from inside"] += 1


def floods(_grounds: Grounds, chance: random.Random, report: Report, idle: int = 2000, flooding: int = 200) -> None:
    """Clients without a key that say nothing or never stop; who has one is answered within two seconds."""
    with tempfile.TemporaryDirectory() as place:
        service = Processes(Path(place), MED3D_HEAD_S="1.5").start("broker", "api")
        try:
            with flood(service.port, idle=idle, flooding=flooding):
                for number in range(5):
                    began = time.monotonic()
                    answer = service.client.post("/cohorts", json={"name": f"flooded-{chance.random()}-{number}"})
                    took_s = time.monotonic() - began
                    report.expect(answer.status_code == 201, f"under a flood: {answer.status_code}")
                    report.expect(took_s < ANSWER_S, f"under a flood: {took_s:.1f} s")
                    time.sleep(0.2)
        finally:
            service.close()
    report.tried["floods"] += 1
    report.tried["flooding clients"] += idle + flooding


EVERY_ROUND: tuple[Callable[[Grounds, random.Random, Report], None], ...] = (requests, forgeries, swaps, spoken)
ONCE: tuple[Callable[[Grounds, random.Random, Report], None], ...] = (escapes, floods)


def attack(seed: int, until_s: float, folder: Path, once: tuple[Callable[..., None], ...] = ONCE) -> tuple[Report, int]:
    """Attack by ``seed`` until the clock says so, at least one round; what came of it, and in how many rounds."""
    report, rounds = Report(), 0
    with closing(Grounds(folder)) as grounds:
        for attempt in once:
            attempt(grounds, random.Random(seed), report)
        while not rounds or time.monotonic() < until_s:
            for attempt in EVERY_ROUND:
                attempt(grounds, random.Random(f"{seed}.{rounds}.{attempt.__name__}"), report)
            rounds += 1
    return report, rounds
