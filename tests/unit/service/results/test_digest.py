"""The daily digest: what was refused, counted by site and code, told once a day to whom it is for."""

import socketserver
import threading
from datetime import datetime, timedelta

import pytest

from med3d_service.network.peers import ConfigurationError
from med3d_service.results.delivery.destinations import load_digests
from med3d_service.results.delivery.digest import PAUSE_S, Digests
from med3d_service.runs import transitions
from med3d_service.settings import Settings
from med3d_service.trust.audit import AuditTrail
from rig.peers.receivers import WebhookListener
from rig.service.parts import LEASES, add_run, completed, open_database, preprocessed, refused, worker

NOW = datetime.now().astimezone()
"""The answers of these tests are given in the hour that begins here, or in the next."""


@pytest.fixture
def database(tmp_path):
    made = open_database(tmp_path)
    yield made
    made.close()


class Clock:
    def __init__(self):
        self.at = NOW

    def __call__(self):
        return self.at.timestamp()


def answer(database, ending):
    run_id = add_run(database)
    with database.write() as session:
        run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
        transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
        (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, run_id, ending(run.attempt), LEASES)


def configured(tmp_path, text):
    (tmp_path / "secret").write_text("a-secret-of-forty-characters-or-more-0123")
    (tmp_path / "deliveries.toml").write_text(text)
    return load_digests(Settings(deliveries_file=tmp_path / "deliveries.toml"))


@pytest.fixture
def hook():
    made = WebhookListener()
    yield made
    made.stop()


def to_hook(tmp_path, hook, more=""):
    text = f'[webhooks.his]\nurl = "{hook.url}"\nsecret = {{file = "secret"}}\n[digests.ward]\nwebhook = "his"\nhour = {NOW.hour}\n{more}'
    return configured(tmp_path, text)


def digests(database, tables, clock):
    return Digests(database, AuditTrail(database, b"a" * 32), tables, clock)


def test_once_a_day_a_webhook_is_told_how_many_were_refused_and_why(tmp_path, database, hook):
    clock = Clock()
    told = digests(database, to_hook(tmp_path, hook), clock)
    assert told.send_due() == [], "a digest that was just configured does not tell the past"
    for ending in (completed, refused, refused):
        answer(database, ending)
    clock.at += timedelta(days=1)
    assert told.send_due() == ["ward"]
    assert told.send_due() == []
    assert digests(database, to_hook(tmp_path, hook), clock).send_due() == [], "another deliverer tells nothing twice"
    (event,) = hook.events()
    assert event["answered"] == {"default": 3}
    assert event["refused"] == [{"site": "default", "code": "not_a_head", "count": 2}]
    assert set(event) == {"event_id", "type", "from", "to", "answered", "refused"}
    clock.at += timedelta(days=1)
    assert told.send_due() == ["ward"]
    assert hook.events()[1]["refused"] == []


def test_what_fails_is_tried_again_after_a_pause(tmp_path, database, hook):
    clock = Clock()
    told = digests(database, to_hook(tmp_path, hook), clock)
    told.send_due()
    clock.at += timedelta(days=1)
    hook.statuses.append(503)
    assert told.send_due() == []
    assert told.send_due() == []
    assert len(hook.calls) == 1
    clock.at += timedelta(seconds=PAUSE_S)
    assert told.send_due() == ["ward"]


def test_only_the_sites_that_are_asked_for_count(tmp_path, database, hook):
    clock = Clock()
    told = digests(database, to_hook(tmp_path, hook, 'sites = ["north"]\n'), clock)
    told.send_due()
    answer(database, refused)
    clock.at += timedelta(days=1)
    told.send_due()
    assert hook.events()[0]["refused"] == []


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as takes one mail."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self):
        self.mails = []
        super().__init__(("127.0.0.1", 0), _Session)
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (line := self.rfile.readline()) != b".\r\n":
                    text += line
                self.server.mails.append(text.decode())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


def test_a_mail_has_counts_and_codes(tmp_path, database):
    server, clock = MailServer(), Clock()
    where = f'host = "127.0.0.1"\nport = {server.server_address[1]}\nstarttls = false'
    tables = configured(
        tmp_path,
        f'[digests.office]\nhour = {NOW.hour}\n[digests.office.mail]\n{where}\nsender = "med3d@example.org"\nto = ["mri@example.org"]\n',
    )
    told = digests(database, tables, clock)
    told.send_due()
    answer(database, refused)
    clock.at += timedelta(days=1)
    assert told.send_due() == ["office"]
    server.stop()
    (mail,) = server.mails
    assert "Subject: Brain age analysis: 1 refused" in mail
    assert "answered: 1, of them refused: 1" in mail
    assert "not_a_head" in mail


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[digests.x]", "either webhook"),
        ('[digests.x]\nwebhook = "his"', "does not have"),
        ('[digests.x]\nhour = 24\nwebhook = "his"', "hour"),
        ('[digests.x.mail]\nhost = "h"\nsender = "nobody"\nto = ["a@b.c"]', "sender"),
        ('[digests.x.mail]\nhost = "h"\nsender = "a@b.c"\nto = ["a@b.c"]\nuser = "u"', "go together"),
    ],
)
def test_what_is_wrong_is_told_when_a_process_starts(tmp_path, text, why):
    with pytest.raises(ConfigurationError, match=why):
        configured(tmp_path, text)
