"""What the deployed containers see: no worker holds a key of the service, or a folder that has one."""

from pathlib import Path, PurePosixPath

import pytest
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
OF_THE_SERVICE = {"site_key", "database_url", "postgres_password"}
WORKERS = [name for name in COMPOSE["services"] if name.startswith("worker")]
OWN = [name for name, one in COMPOSE["services"].items() if one.get("image") == "med3d-api"]


def mounts(service):
    """Source, folder within it and target of each volume."""
    for one in COMPOSE["services"][service].get("volumes", []):
        if isinstance(one, str):
            source, target, *_ = one.split(":")
            yield source, "", target
        else:
            yield one["source"], one.get("volume", {}).get("subpath", ""), one["target"]


def key_folders():
    """Where the service's processes keep keys, within the volume `data`."""
    command = COMPOSE["services"]["migrate"]["command"][-1]
    people, _workers = command.split(" keys ")[1].split()
    environment = COMPOSE["services"]["api"]["environment"]
    return {PurePosixPath(folder).relative_to("/var/lib/med3d") for folder in (people, environment["MED3D_DATA_DIR"])}


def test_there_are_workers_and_processes_of_the_service_to_look_at():
    assert WORKERS == ["worker", "worker-gpu"]
    assert {"api", "courier", "listener", "scheduler", "migrate"} <= set(OWN)


@pytest.mark.parametrize("worker", WORKERS)
def test_a_worker_of_compose_is_given_no_secret_and_no_folder_with_a_key_of_the_service(worker):
    described = COMPOSE["services"][worker]
    assert not OF_THE_SERVICE & set(described.get("secrets", []))
    seen = {(source, PurePosixPath(folder)) for source, folder, _ in mounts(worker)}
    assert seen == {("data", PurePosixPath("store")), ("data", PurePosixPath("worker"))}
    for folder in key_folders():
        assert not any(folder.is_relative_to(mounted) or mounted.is_relative_to(folder) for _, mounted in seen)
    environment = described["environment"]
    assert not any(word in name for name in environment for word in ("SITE_KEY", "IDENTIFIER", "DATABASE", "DATA_DIR"))
    assert environment["MED3D_WORKER_KEY_FILE"].startswith("/var/lib/med3d/worker/")


@pytest.mark.parametrize("name", [*WORKERS, *OWN])
def test_every_container_of_ours_runs_without_rights_beyond_its_folders(name):
    described = COMPOSE["services"][name]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in described["security_opt"]
    assert "user" not in described, "the image's user is 10001, never root"


@pytest.mark.parametrize("image", ["api", "worker-cpu", "worker-gpu"])
def test_no_image_of_ours_runs_as_root(image):
    assert "\nUSER 10001\n" in (DEPLOY / image / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["preprocess.yaml", "predict-gpu.yaml"])
def test_a_worker_of_kubernetes_mounts_its_own_key_and_nothing_of_the_service(file):
    deployment = yaml.safe_load((DEPLOY / "kustomize" / "workers" / file).read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert [item["key"] for item in volumes["key"]["secret"]["items"]] == ["worker.key", "broker.url"]
    assert all("emptyDir" in volume for name, volume in volumes.items() if name != "key")
    (container,) = pod["containers"]
    assert {source["secretRef"]["name"] for source in container["envFrom"] if "secretRef" in source} == {"med3d-worker"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not any("KEY" in one["name"] and "WORKER" not in one["name"] for one in container.get("env", []))
