"""The operators' pages do what they say: each line of their ``sh`` blocks is run by a shell, in the pages' order.

A study was taken on one machine and is backed up; `med3d serve` goes on from its backup on another, an earlier schema under
it. A line that is new in a page is run without a word here; what a page leaves to its reader (RUN, PREFIX, ...) is filled in.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command as alembic
from sqlalchemy import text

from med3d_contract.results import RunStatus
from med3d_service.runs.bundles import read_bundle_dir, register_bundles
from med3d_service.settings import Settings
from med3d_service.storage.database import Database, alembic_config
from med3d_service.trust.access import Role
from med3d_worker.settings import WorkerSettings
from rig.peers import dcmtk
from rig.peers.receivers import syslog_over_tls
from rig.processes.embedded import Service, write_small_head
from rig.processes.pages import (
    ALL,
    OPERATORS,
    ROOT,
    blocks,
    commands,
    mentioned_commands,
    mentioned_metrics,
    mentioned_settings,
    text_of,
    unknown_words,
)
from rig.processes.waiting import family, wait_until_gone
from rig.service.api import empty_api

pytestmark = pytest.mark.timeout(240)
BUNDLE = ROOT / "model_export/bundles/infovae-two-sites"
COMMANDS = [one for page in OPERATORS for one in commands(page)]
SERVE, RESTORE = "med3d serve --data-dir DATA", "Restore"
LOSES = "med3d restore BACKUPS --data-dir DATA --objects"
OF_THE_CLIENT = {"MED3D_URL", "MED3D_API_KEY", "MED3D_API_KEY_FILE"}
OF_ORTHANC = {"MED3D_HOOK_SECRET"}
OF_THE_TESTS = {"MED3D_TEST_DATA", "MED3D_FIELD_CASES"}
OF_GPU_CHECK = set(re.findall(r"\$\{(MED3D_\w+)", (Path(__file__).parents[2] / "deploy" / "gpu-check").read_text()))


class Site:
    """The machines of a site, and what its operator would fill in for the pages' placeholders."""

    def __init__(self, folder):
        self.first, self.second = folder / "first", folder / "second"
        self.at = self.first
        for machine in (self.first, self.second):
            machine.mkdir()
        self.study, self.run = take_a_study(self.first / "DATA", write_small_head(folder / "head"))
        shutil.copytree(BUNDLE, self.first / "BUNDLE")
        self.service = Service(folder, self.second / "DATA")
        self.said = {}

    def shell(self, line, **environment):
        """Run one line as whoever sits at this machine would."""
        found = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MED3D_DATA_DIR": str(self.at / "DATA"),
            "URL": self.url if self.service.data_dir.address_file.exists() else "",
            "STUDY": self.study,
            "COLUMNS": "160",
        }
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.at, env=found | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @property
    def url(self):
        return self.service.data_dir.address_file.read_text().strip()

    def database(self):
        return Database(Settings(data_dir=self.at / "DATA").database)

    def prefix(self):
        """Of the key that the page has made before."""
        return self.said['med3d keys create --role submitter --name "ward 7" --expires 365d'].split("_")[1]

    def end_of_the_trail(self):
        return re.search(r"end: (\S+)", self.said["med3d audit verify"])[1]

    def end(self):
        self.service.end()


def take_a_study(data_dir, folder):
    """By the API, when no worker is there yet; the study's and the run's id."""
    api = empty_api(data_dir)
    with api.service.database.write() as session:
        register_bundles(session, [read_bundle_dir(BUNDLE)])
    files = [("files", (path.name, path.read_bytes())) for path in sorted(folder.iterdir())]
    taken = api.request("POST", "/studies", api.key(Role.SUBMITTER), files=files).json()
    api.close()
    return taken["study_id"], taken["run_id"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    made = Site(tmp_path_factory.mktemp("site"))
    yield made
    made.end()


def move_to_the_second_machine(site):
    """Its keys and backups at hand, nothing else."""
    if site.at == site.first:
        shutil.copy(site.first / "DATA" / "site.key", site.second)
        for name in ("BACKUPS", "BUNDLE"):
            (site.second / name).symlink_to(site.first / name)
        site.at = site.second


def start_on_the_second_machine(site):
    """The restored database, of an earlier schema, is brought forward by the start, and the run that waited is done."""
    database = site.database()
    with database.engine.connect() as connection:
        alembic.downgrade(alembic_config(connection), "-1")
    database.close()
    site.service.start()
    assert site.service.wait_for_end(site.run).status is RunStatus.COMPLETED
    site.shell("med3d ledger --data-dir DATA --digests")


def fail_a_run(site):
    database = site.database()
    with database.write() as session:
        values = {"failed": RunStatus.FAILED, "id": site.run}
        session.execute(text("UPDATE runs SET status = :failed, result = NULL WHERE id = :id"), values)
    database.close()


def lose_an_object(site):
    for original in list((site.at / "DATA" / "store" / "originals").iterdir())[:1]:
        original.unlink()
    ledger = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "ledger", "--data-dir", site.at / "DATA"], capture_output=True, check=False
    )
    assert ledger.returncode == 5


def see_it_completed(site):
    site.run = re.search(r"run (\S+) in its place", site.said["med3d requeue RUN"])[1]
    assert site.service.wait_for_end(site.run).status is RunStatus.COMPLETED


BEFORE = {LOSES: lose_an_object, "med3d requeue RUN": fail_a_run}
AFTER = {"med3d requeue RUN": see_it_completed}
SAYS = {
    "med3d ledger --data-dir DATA": "The ledger balances: 1 study, 1 run",
    "med3d ledger --data-dir DATA --json": '"digests_verified": false',
    "med3d restore BACKUPS --data-dir DATA": "The ledger balances: 1 study, 1 run",
    LOSES: "put back 1 object",
    "med3d bundle verify BUNDLE": "reference case within tolerances",
    "med3d replay RUN --data-dir DATA": "Made by the same input, preprocessing, bundle, software and provider.",
    "med3d keys list": "ward 7",
    "med3d audit verify": "all as they were written",
    "med3d audit verify --noted SEQ:MAC": "all as they were written",
    "MED3D_RETAIN_INPUT_DAYS=90 med3d retention --data-dir DATA --dry-run": "Dry run: nothing was removed.",
    "MED3D_RETAIN_INPUT_DAYS=90 med3d retention --data-dir DATA": "Removed: nothing.",
}


def filled_in(site, line):
    line = re.sub(r"\bRUN\b", site.run, line)
    line = line.replace("PREFIX", site.prefix()) if "PREFIX" in line else line
    return line.replace("SEQ:MAC", site.end_of_the_trail()) if "SEQ:MAC" in line else line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: f"{Path(one.page).stem}: {one.text}")
def test_a_line_of_a_page_does_what_the_page_says(site, command):
    if command.heading == RESTORE:
        move_to_the_second_machine(site)
    BEFORE.get(command.text, lambda _site: None)(site)
    if command.text == SERVE:
        start_on_the_second_machine(site)
    elif "--syslog" in command.text:
        certificates = dcmtk.certificates(site.at / "certificates")
        with syslog_over_tls(certificates) as (port, received):
            line = command.text.replace("arr.example.org:6514", f"127.0.0.1:{port}")
            site.shell(line, MED3D_AUDIT_SYSLOG_CA_FILE=str(certificates / "ca.pem"))
        assert b"DICOM+RFC3881" in received
    else:
        site.said[command.text] = site.shell(filled_in(site, command.text))
        assert SAYS.get(command.text, "") in site.said[command.text]
    AFTER.get(command.text, lambda _site: None)(site)


def test_the_metrics_that_pages_mention_are_there(site):
    shown = site.shell('curl -s -H "Authorization: Bearer $(cat DATA/api.key)" "$URL/metrics"')
    missing = {name for page in ALL for name in mentioned_metrics(page) if name not in shown}
    assert missing == set()


def test_with_the_service_stopped_the_identifiers_get_a_new_key_and_all_balances(site):
    everyone = family(site.service.process.pid)
    site.service.stop()
    wait_until_gone(everyone)
    assert "sealed anew under the new key" in site.shell("med3d identifier-key rotate")
    assert "The ledger balances" in site.shell("med3d ledger --digests")


RUN_ELSEWHERE = {"docs/pacs.md": "tests/e2e/test_pacs_pages.py"}
NOT_RUN = {
    "docker compose -f compose.yaml -f compose.pacs.yaml --profile pacs up --detach": "it needs a container engine: "
    "tests/e2e/test_pacs_pages.py holds both files against the processes that read peers and deliveries",
}
OF_HOSPITALS = ("docs/pacs.md", "docs/results-out.md", "docs/routing-rules.md", "docs/conformance.md", "docs/ihe.md")


@pytest.mark.parametrize("page", OF_HOSPITALS)
def test_each_block_of_commands_mentions_a_test_that_runs_it_or_why_none_does(page):
    run = (ROOT / RUN_ELSEWHERE[page]).read_text() if page in RUN_ELSEWHERE else ""
    headings = [one.heading for one in blocks(page, "sh") if one.text.strip() not in NOT_RUN]
    assert [run.count(f'sh("{heading}"') for heading in headings] == [headings.count(one) for one in headings]
    unmarked = re.findall(r"^```\n(?:med3d|docker|curl|python|export|apt-get) ", text_of(page), re.MULTILINE)
    assert unmarked == []


@pytest.mark.parametrize("page", ALL)
def test_the_commands_that_a_page_mentions_exist_with_their_options(page):
    unknown = {command: words for command in mentioned_commands(page) if (words := unknown_words(command))}
    assert unknown == {}


@pytest.mark.parametrize("page", ALL)
def test_the_settings_that_a_page_mentions_exist(page):
    fields = {*Settings.model_fields, *WorkerSettings.model_fields}
    known = {f"MED3D_{name.upper()}{suffix}" for name in fields for suffix in ("", "_FILE")}
    assert set(mentioned_settings(page)) - known - OF_THE_CLIENT - OF_ORTHANC - OF_GPU_CHECK - OF_THE_TESTS == set()
