"""What is installed is what was locked, and what is deployed is bound: memory, passwords, network."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from med3d_pipeline.installing import install_command

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = {
    "api": ["service"],
    "worker-cpu": ["worker"],
    "worker-gpu": ["worker-gpu"],
    "demo": ["service", "worker"],
    "dev": ["dev"],
}
IMAGES = ("api", "worker-cpu", "worker-gpu")
WORKERS = [
    one
    for file in sorted((DEPLOY / "kustomize" / "workers").glob("*.yaml"))
    for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]


def asked_for(extras):
    """The requirements of some extras, of the extras that they name, and of the package itself."""
    found, left = [Requirement(one) for one in PROJECT["dependencies"]], list(extras)
    while left:
        for one in map(Requirement, PROJECT["optional-dependencies"][left.pop()]):
            if one.name == PROJECT["name"]:
                left += one.extras
            else:
                found.append(one)
    return found


def locked(name):
    text = (DEPLOY / "locks" / f"{name}.txt").read_text(encoding="utf-8")
    return re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n .*)*)", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_the_project_asks_for_with_digests(name):
    entries = locked(name)
    assert all("--hash=sha256:" in rest for _, _, rest in entries)
    versions = {}
    for package, version, _ in entries:
        versions.setdefault(canonicalize_name(package), []).append(version)
    for wanted in asked_for(LOCKS[name]):
        found = versions.get(canonicalize_name(wanted.name), [])
        assert any(wanted.specifier.contains(version) for version in found), f"deploy/lock: {wanted} in {name}"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_place_but_the_index(name):
    assert not re.search(
        r"file:|://|^-e|^/| @ ", (DEPLOY / "locks" / f"{name}.txt").read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("image", IMAGES)
def test_images_install_from_their_lock_alone_on_a_base_that_can_be_pinned(image):
    text = (DEPLOY / image / "Dockerfile").read_text(encoding="utf-8")
    assert f"--require-hashes -r deploy/locks/{image}.txt" in text
    assert all("--require-hashes" in line or "--no-deps" in line for line in text.splitlines() if "pip install" in line)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(bases)) == 1
    assert bases[0].startswith("${")


def test_every_image_that_is_not_ours_is_pinned_by_one_digest():
    files = [DEPLOY / "compose.yaml", *DEPLOY.glob("*/Dockerfile"), DEPLOY / "apptainer" / "med3d.def"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    pinned = dict(re.findall(r"([a-z/]+:[a-z0-9.-]+)@(sha256:[0-9a-f]{64})", text))
    assert {tag.split(":")[0] for tag in pinned} == {"python", "postgres", "redis", "nvidia/cuda"}
    assert not [tag for tag in pinned if len(set(re.findall(re.escape(tag) + r"(?:@(\S{71}))?", text))) > 1]
    assert re.findall(r"^From: (\S+)", text, re.MULTILINE) == [f"python@{pinned['python:3.11-slim-bookworm']}"]


def test_what_make_installs_is_locked():
    lines = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "$(INSTALL)" in line]
    for kind in ("demo", "dev"):
        assert any(f"--require-hashes -r deploy/locks/{kind}.txt" in line for line in lines)
    assert not any("-e '.[service,worker]'" in line or line.endswith("-e '.[dev]'") for line in lines)


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_of_compose_is_bound_in_memory_and_processes(name):
    described = COMPOSE["services"][name]
    assert re.fullmatch(r"\$\{MED3D_\w+:-\d+g\}", described["mem_limit"])
    assert 0 < described["pids_limit"] <= 512
    assert "no-new-privileges:true" in described["security_opt"]


def test_redis_is_spoken_to_by_password_and_tls_alone(tmp_path):
    assert COMPOSE["services"]["redis"]["command"] == ["redis-server", "/run/secrets/redis_conf"]
    for name, described in COMPOSE["services"].items():
        environment = described.get("environment", {})
        assert "MED3D_BROKER_URL" not in environment, "a URL with a password belongs into a file"
        if "MED3D_BROKER_URL_FILE" in environment:
            assert {"broker_url", "redis_ca"} <= set(described["secrets"]), name
            assert not {"redis_password", "redis_key", "redis_conf"} & set(described["secrets"]), name


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """What make-secrets leaves, without its last step, for which one must be root."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(DEPLOY / "make-secrets", folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "chown").write_text("#!/bin/sh\n")
    (folder / "bin" / "chown").chmod(0o755)
    for _ in range(2):  # what is there stays
        subprocess.run(
            [folder / "make-secrets"], check=True, env={"PATH": f"{folder / 'bin'}:/usr/local/bin:/usr/bin:/bin"}
        )
    return folder / "secrets"


def test_make_secrets_leaves_a_certificate_for_redis_that_its_authority_signed(secrets):
    told = [
        "openssl", "verify", "-verify_hostname", "redis",
        "-CAfile", secrets / "redis_ca", secrets / "redis_certificate",
    ]  # fmt: skip
    assert subprocess.run(told, capture_output=True, check=True).stdout.endswith(b": OK\n")
    password = (secrets / "redis_password").read_text()
    assert len(password) == 64
    conf = (secrets / "redis_conf").read_text().splitlines()
    assert {f"requirepass {password}", "port 0", "tls-port 6379", "appendonly yes"} <= set(conf)
    url = (secrets / "broker_url").read_text()
    assert url.startswith(f"rediss://:{password}@redis:6379/0?ssl_cert_reqs=required")
    assert not list(secrets.glob("*ca.key"))


def test_every_secret_of_compose_is_one_that_make_secrets_makes(secrets):
    assert {Path(one["file"]).name for one in COMPOSE["secrets"].values()} == {one.name for one in secrets.iterdir()}
    readable = {one.name for one in secrets.iterdir() if one.stat().st_mode & 0o077}
    assert readable == {"redis_ca", "redis_certificate"}


def of_kind(kind):
    return [one for one in WORKERS if one["kind"] == kind]


def test_workers_of_kubernetes_are_spoken_to_by_nobody_and_speak_to_few():
    (policy,) = of_kind("NetworkPolicy")
    named = policy["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert set(named) == {one["metadata"]["name"] for one in of_kind("Deployment")}
    assert (policy["spec"]["policyTypes"], policy["spec"]["ingress"]) == (["Ingress", "Egress"], [])
    assert {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]} == {53, 443, 6379}


def test_workers_of_kubernetes_have_a_filter_of_system_calls_no_token_and_leave_one_by_one():
    deployments = of_kind("Deployment")
    for one in deployments:
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert all("memory" in container["resources"]["limits"] for container in pod["containers"])
    budgets = {one["spec"]["selector"]["matchLabels"]["app"] for one in of_kind("PodDisruptionBudget")}
    assert budgets == {one["metadata"]["name"] for one in deployments}
    (made,) = of_kind("Kustomization")
    listed = {*made["resources"], "kustomization.yaml"}
    assert listed == {file.name for file in (DEPLOY / "kustomize" / "workers").glob("*.yaml")}


def test_no_document_installs_from_an_index_that_has_no_such_package():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy" / "systemd").iterdir()]
    code = [path for room in ("service", "worker", "model_export") for path in (ROOT / room).glob("med3d_*/**/*.py")]
    asked = re.compile(r"pip install [^`\n]*infovae-med3d")
    assert [page.name for page in [*pages, *code] if asked.search(page.read_text(encoding="utf-8"))] == []


def test_the_command_that_messages_name_is_readme_s():
    assert f"`{install_command('all').split(' in a checkout')[0]}` in a checkout" in (ROOT / "README.md").read_text()
