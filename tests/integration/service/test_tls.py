"""Each link under TLS with generated certificates: who trusts the authority gets through, who does not stays out."""

import os
import ssl
import subprocess
import sys

import httpx
import psycopg
import pytest

from med3d_client.worker import ApiUnavailable, RetryPolicy, WorkerClient
from med3d_contract.results import RunStatus
from med3d_contract.work import WorkerHello
from med3d_service.processes import ensure_api_key
from med3d_service.runs.queueing.dispatch import BrokerAwayError, CeleryBroker
from med3d_service.storage.database import Database
from rig.peers import dcmtk
from rig.processes.service import START_TIMEOUT_S, free_port, new_database, postgresql, valkey_server
from rig.processes.tls_front import tls_front
from rig.processes.waiting import wait_until
from rig.service.parts import migrated, worker


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = dcmtk.certificates(tmp_path_factory.mktemp("certificates"))
    dcmtk.certificates(made / "others")
    return made


@pytest.fixture(scope="module")
def api(certificates, tmp_path_factory):
    """The API's own process with a certificate; its address and a worker's key."""
    folder, port = tmp_path_factory.mktemp("tls-api"), free_port()
    settings = migrated(folder)
    ensure_api_key(settings, "worker", folder / "worker.key")
    said = {"CERT": certificates / "listener.pem", "KEY": certificates / "listener.key"}
    environment = {f"MED3D_TLS_{name}": str(path) for name, path in said.items()}
    environment |= {"MED3D_DATA_DIR": str(folder), "MED3D_PORT": str(port)}
    command = [sys.executable, "-P", "-m", "med3d_service", "api"]
    process = subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL)
    trusting = ssl.create_default_context(cafile=certificates / "ca.pem")

    def answers():
        assert process.poll() is None
        try:
            return httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trusting).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, "the API's start", START_TIMEOUT_S)
        yield f"127.0.0.1:{port}", (folder / "worker.key").read_text().strip()
    finally:
        process.terminate()
        process.wait(timeout=20)


def hello(url, key):
    client = WorkerClient(url, key, retries=RetryPolicy(attempts=1))
    try:
        client.hello(WorkerHello(worker=worker(), queues=()))
    finally:
        client.close()


def test_a_worker_speaks_to_an_api_whose_authority_it_is_told(api, certificates, monkeypatch):
    address, key = api
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    hello(f"https://{address}", key)


def test_a_worker_says_its_key_to_no_api_that_it_does_not_trust(api, certificates, monkeypatch):
    address, key = api
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "others" / "ca.pem"))
    with pytest.raises(ApiUnavailable):
        hello(f"https://{address}", key)


def test_an_api_with_a_certificate_takes_nothing_in_the_clear(api):
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{api[0]}/healthz")


def test_tasks_reach_redis_over_tls_and_only_one_that_is_trusted(broker_port, certificates):
    with tls_front(broker_port, certificates) as port:
        url, others = f"rediss://127.0.0.1:{port}/0", certificates / "others" / "ca.pem"
        trusting = CeleryBroker(f"{url}?ssl_cert_reqs=required&ssl_ca_certs={certificates / 'ca.pem'}")
        trusting.send("a-run", RunStatus.QUEUED, 3)
        assert trusting.queue_depth(RunStatus.QUEUED, 3) == 1
        trusting.close()
        for wrong in (f"{url}?ssl_ca_certs={others}", url):  # nobody has to ask for verification
            broker = CeleryBroker(wrong)
            with pytest.raises(BrokerAwayError):
                broker.check()
            broker.close()


@pytest.fixture
def broker_port(tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [valkey_server(), "--port", str(port), "--save", "", "--dir", tmp_path], stdout=subprocess.DEVNULL
    )
    broker = CeleryBroker(f"redis://127.0.0.1:{port}/0")

    def answers():
        try:
            broker.check()
        except BrokerAwayError:
            return False
        return True

    try:
        wait_until(answers, "the broker's start")
        broker.close()
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


def test_the_database_is_reached_over_tls_and_only_one_that_is_trusted(certificates, tmp_path):
    with postgresql(certificates) as server:
        verified = f"?sslmode=verify-full&sslrootcert={certificates / 'ca.pem'}"
        url = new_database(server)  # libpq prefers TLS by itself
        database = Database(migrated(tmp_path, database_url=url + verified).database)
        assert database.now() > 0
        database.close()
        strange = f"?sslmode=verify-full&sslrootcert={certificates / 'others' / 'ca.pem'}"
        for wrong, said in ((strange, "SSL error"), ("?sslmode=disable", "pg_hba.conf")):
            with pytest.raises(psycopg.OperationalError, match=said):
                psycopg.connect(url + wrong)
