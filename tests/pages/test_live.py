"""A page keeps itself up to date through a proxy that cuts its connections."""

import socket
import socketserver
import threading
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from pages.browsing import Person, few_slices

PIECE = 65536


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Hands on bytes both ways, until it is told to cut all that it holds."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int) -> None:
        self.behind, self.held, self.cuts = port, [], 0
        super().__init__(("127.0.0.1", 0), _Handing)

    def cut(self) -> None:
        """Cut every connection, as a proxy does with those that seem idle."""
        self.cuts += 1
        held, self.held = self.held, []
        for one in held:
            with closing(one), suppress(OSError):  # some have ended by themselves
                one.shutdown(socket.SHUT_RDWR)


class _Handing(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.behind)) as behind:
            self.server.held += [self.request, behind]
            back = threading.Thread(target=_hand_on, args=(behind, self.request), daemon=True)
            back.start()
            _hand_on(self.request, behind)
            back.join()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def cutting_proxy(port):
    with CuttingProxy(port) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


@pytest.fixture
def proxy(hospital):
    with cutting_proxy(urlsplit(hospital.url).port) as made:
        yield made


def test_a_list_shows_what_comes_although_its_connections_are_cut(browser, hospital, proxy, tmp_path):
    from med3d_client.results import StudyOptions
    from med3d_client.study_stream import open_study

    person = Person(browser, hospital, base_url=f"http://127.0.0.1:{proxy.server_address[1]}")
    page = person.page
    streams = []
    page.on("request", lambda request: streams.append(request.url) if request.url.endswith("/events") else None)
    with page.expect_response("**/events"):  # before, the proxy may not hold the stream yet
        person.enter(to="/ui/worklist")
    with page.expect_request("**/events"):
        proxy.cut()
    with open_study(few_slices(tmp_path / "few")) as upload:
        run_id = hospital.service.client.submit(upload, StudyOptions(subject="S-live")).run_id
    row = page.locator("tr", has=page.locator(f'a[href="/ui/runs/{run_id}"]'))
    row.get_by_text("Refused").wait_for(timeout=45_000)  # the slow clock alone would take a minute
    assert (proxy.cuts, len(streams) > 1) == (1, True)
    person.close()
