"""docs/pacs.md as its reader follows it: Debian's Orthanc as it comes, every command and file of the page as written."""

import io
import json
import re
import textwrap
import time
import tomllib

import pydicom
import pytest
import yaml

from med3d_service.network.listener.own_titles import load_own_titles
from med3d_service.network.peers import load_peers
from med3d_service.results.delivery.destinations import load_destinations, load_digests
from med3d_service.results.delivery.webhook import signature
from med3d_service.settings import Settings
from med3d_service.studies.own_objects import is_own
from rig.peers import dcmtk
from rig.processes.debian_host import DebianHost, changed_configuration
from rig.processes.embedded import write_small_head
from rig.processes.pages import ROOT, blocks
from rig.processes.waiting import wait_until

pytestmark = [pytest.mark.realdata, pytest.mark.timeout(420)]
IN, OUT = "docs/pacs.md", "docs/results-out.md"
ORTHANC = "http://127.0.0.1:8042"
SERVE = "med3d serve\n"


def sh(heading, word=""):
    (block,) = (one.text for one in blocks(IN, "sh") if one.heading == heading and word in one.text)
    return block


class Ward:
    """The host on which the page was followed; the service runs."""

    def __init__(self, host):
        self.host = host
        self.key = self.clinical_key = ""

    def send(self, variant, called, port, **header):
        """A head as a study of its own, by C-STORE; its StudyInstanceUID."""
        folder = write_small_head(self.host.folder / f"head-{variant}", variant)
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            for name, value in header.items():
                setattr(dataset, name, value)
            dataset.save_as(path)
        self.host.shell(f"/usr/bin/storescu -aet ORTHANC -aec {called} +sd 127.0.0.1 {port} {folder}")
        return pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True).StudyInstanceUID

    def in_orthanc(self, study_uid):
        """Its id of a study, once it has it."""
        found = self.host.shell(f"curl -sS {ORTHANC}/tools/lookup -d {study_uid}")
        return next(one["ID"] for one in json.loads(found) if one["Type"] == "Study")

    def reports(self, study_uid):
        """Our objects beside a study in Orthanc."""
        held = json.loads(self.host.shell(f"curl -sS {ORTHANC}/studies/{self.in_orthanc(study_uid)}/instances"))
        tags = [(one["ID"], one["MainDicomTags"]["SOPInstanceUID"]) for one in held]
        return [orthanc_id for orthanc_id, uid in tags if is_own(uid)]

    def api(self, path):
        return json.loads(
            self.host.shell(f'curl -sS -H "Authorization: Bearer {self.key}" http://127.0.0.1:8000{path}')
        )


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    host = DebianHost(tmp_path_factory.mktemp("ward"))
    made = Ward(host)
    try:
        assert [changed_configuration(one) for one in ("orthanc", "orthanc-dicomweb")] == [[], []]
        first, serve, rest = sh("An Orthanc beside the PACS", "orthanc-config").partition(SERVE)
        assert rest == ""
        exports = "".join(line for line in first.splitlines(keepends=True) if line.startswith("export "))
        host.shell(first)
        host.says(f"curl -sS {ORTHANC}/system", "Orthanc's start")
        host.begin(f"{exports}{serve}", "serve.log")
        host.says("curl -sSf http://127.0.0.1:8000/healthz", "the start of the service", 120)
        made.key = host.says("cat .local/share/med3d/api.key", "the API key", 60)
        made.clinical_key = host.says("cat .local/share/med3d/clinical.key", "the clinical key", 60)
        yield made
    finally:
        host.close()


def test_debians_orthanc_unmodified_gets_an_answer_beside_its_images(ward):
    study_uid = ward.send(1, "ORTHANC", 4242)
    reports = wait_until(lambda: ward.reports(study_uid), "the report in Orthanc", 240, every_s=2)
    file = ward.host.folder / "report.dcm"
    ward.host.shell(f"curl -sS {ORTHANC}/instances/{reports[0]}/file -o {file}")
    assert pydicom.dcmread(io.BytesIO(file.read_bytes())).Modality == "SR"
    (pull,) = [one for one in ward.api("/pulls")["items"] if one["studies"] and one["studies"][0]["run_id"]][-1:]
    assert pull["origin"] == "hook"


def test_the_helper_called_again_changes_nothing(ward):
    assert "is as it should be" in ward.host.shell("med3d pacs orthanc-config /etc/orthanc --write")
    difference = ward.host.shell("diff /etc/orthanc/orthanc.json.before-med3d /etc/orthanc/orthanc.json || true")
    assert re.findall(r"^[<>].*", difference, re.MULTILINE) == [
        '<   "LuaScripts" : [',
        '>   "LuaScripts" : [ "/etc/orthanc/med3d.lua"',
    ]
    assert ward.host.shell("stat -c %a:%U /etc/orthanc/med3d.env /etc/med3d/hook.secret").split() == ["600:root"] * 2


def test_orthanc_pushes_as_the_page_says(ward):
    study_uid = ward.send(2, "ORTHANC", 4242)
    said = ward.host.shell(sh("An Orthanc beside the PACS", "stow"), KEY=ward.key, STUDY=ward.in_orthanc(study_uid))
    assert "HttpStatus" not in said, said  # of an error


def test_a_study_is_said_to_be_complete_as_the_page_says(ward):
    ward.send(3, "MED3D", 11112, StudyInstanceUID="1.2.840.99.1")
    answer = json.loads(ward.host.shell(sh("C-STORE"), KEY=ward.key))
    assert answer["study_id"]
    assert answer["run_id"]


def test_a_study_is_pulled_as_the_page_says(ward):
    ward.send(4, "ORTHANC", 4242, AccessionNumber="A-2026-0042")
    pull = json.loads(ward.host.shell(sh("Pull"), KEY=ward.clinical_key))["pull_id"]
    wait_until(lambda: ward.api(f"/pulls/{pull}")["status"] == "done", "the pull", 60, every_s=1)


def test_stow_rs_from_python_as_the_page_says(ward):
    write_small_head(ward.host.folder / "head-5", 5)
    (snippet,) = (block.text for block in blocks(IN, "python"))
    script = f"""
        from pathlib import Path
        import pydicom
        key = {ward.key!r}
        datasets = [pydicom.dcmread(path) for path in sorted(Path("head-5").iterdir())]
    """
    (ward.host.folder / "stow.py").write_text(f"{textwrap.dedent(script)}\n{snippet}\n")
    ward.host.shell("python stow.py")


def test_a_folder_is_watched_as_the_page_says(ward):
    (ward.host.folder / "client.key").write_text(ward.key)
    ward.host.shell("mkdir /srv/incoming")
    ward.host.begin(sh("Watched folder"), "watch.log")
    write_small_head(ward.host.folder / "head-6", 6)
    ward.host.shell(f"mv {ward.host.folder}/head-6 /srv/incoming/")
    ward.host.says("test -d /srv/incoming/done/head-6 && echo done", "the end of the watched study", 60)


# --- files of both pages ---


@pytest.fixture
def as_named(tmp_path, monkeypatch):
    """A folder with the secrets and certificates that the pages' files name."""
    certificates = dcmtk.certificates(tmp_path / "made")
    for name, made in (("hospital-ca.pem", "ca.pem"), ("med3d.pem", "listener.pem"), ("med3d.key", "listener.key")):
        (tmp_path / name).write_bytes((certificates / made).read_bytes())
    for name in ("ward.password", "hook.secret", "his.secret", "fhir.token"):
        (tmp_path / name).write_text("a-secret-of-forty-characters-or-more-0123\n")
    return tmp_path


def test_the_files_of_the_pages_are_taken(as_named):
    (peers, titles), (deliveries,) = blocks(IN, "toml"), blocks(OUT, "toml")
    (rules,) = blocks("docs/routing-rules.md", "toml")
    (as_named / "peers.toml").write_text(peers.text)
    (as_named / "deliveries.toml").write_text(deliveries.text)
    assert set(load_peers(as_named / "peers.toml").dicomweb) == {"ward"}
    settings = Settings(
        data_dir=as_named, peers_file=as_named / "peers.toml", deliveries_file=as_named / "deliveries.toml"
    )
    assert len(load_destinations(settings)) == len(tomllib.loads(deliveries.text)) - 1 == 4
    assert set(load_digests(settings)) == {"radiology", "office"}
    (as_named / "titles.toml").write_text(titles.text)
    (as_named / "stroke.toml").write_text(rules.text)
    own = load_own_titles(settings.model_copy(update={"ae_titles_file": as_named / "titles.toml"}))
    assert (set(own.titles), own.otherwise) == ({"STROKE", "MED3D"}, None)


def test_every_process_that_reads_peers_or_deliveries_has_them_with_compose():
    compose, more = (
        yaml.safe_load((ROOT / "deploy" / name).read_text()) for name in ("compose.yaml", "compose.pacs.yaml")
    )
    processes = ROOT / "service" / "med3d_service" / "processes"
    reads = {"migrate"}
    for path in processes.glob("*.py"):
        if re.search("load_peers|load_destinations", path.read_text()):
            reads.add(path.stem)
    assert reads - {"__init__"} == set(more["services"]) <= set(compose["services"])
    for service in more["services"].values():
        assert set(service["environment"]) == {"MED3D_PEERS_FILE", "MED3D_DELIVERIES_FILE"}
        assert service["volumes"] == ["/etc/med3d:/etc/med3d:ro"]


def test_the_webhooks_check_of_the_page_knows_our_signature():
    (snippet,) = (block.text for block in blocks(OUT, "python"))
    found = {}
    exec(snippet, found)
    secret, body = b"a-secret-of-forty-characters-or-more-0123", b'{"event": 1}'
    header = signature(secret, int(time.time()), body)
    assert found["is_ours"](secret, header, body)
    assert not found["is_ours"](secret, header, body + b" ")
