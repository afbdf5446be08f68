"""`med3d serve` with real processes and a real head: work, faults, stop. The tests share one service, in this order."""

import shutil
import signal
import stat
import subprocess
import sys

import pytest

from med3d_contract.results import RunStatus
from rig.processes.embedded import Service
from rig.processes.waiting import living, wait_until, wait_until_gone

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("serve"))
    service.start()
    yield service
    service.end()


def assert_completed_once(service, run_id):
    run = service.wait_for_end(run_id)
    assert run.status is RunStatus.COMPLETED, (run.failure, run.refusal)
    assert run.result.brain_age.interval.lower < run.result.brain_age.estimate < run.result.brain_age.interval.upper
    ends = [event for event in service.events(run_id) if RunStatus(event["status"]).is_terminal]
    assert [event["status"] for event in ends] == ["completed"]
    return run


def test_a_study_completes_with_series_quality_and_provenance(service):
    run = assert_completed_once(service, service.submit(0))
    assert run.attempt == 1
    assert run.series.chosen.startswith("series 1")
    assert run.quality.failed == ()
    assert run.provenance.timings_s.keys() >= {"reading headers", "brain extraction", "registration", "predicting"}


def test_the_same_study_again_is_the_same_run(service):
    assert service.submit(0) == service.submit(0)


def test_what_lies_in_the_data_folder_is_for_this_user_or_its_group_only(service):
    root = service.data_dir.root
    modes = {path: path.lstat().st_mode for path in [root, *root.rglob("*")] if not path.is_symlink()}
    assert len([path for path in modes if path.is_relative_to(service.data_dir.root / "store")]) > 3
    open_to_others = {str(path.relative_to(root)): oct(mode) for path, mode in modes.items() if mode & 0o007}
    assert open_to_others == {}
    writable_by_the_group = {str(path.relative_to(root)): oct(mode) for path, mode in modes.items() if mode & 0o020}
    assert writable_by_the_group == {}
    for path in (service.data_dir.api_key_file, service.data_dir.worker_key_file):
        assert stat.S_IMODE(modes[path]) == 0o600
    assert stat.S_IMODE(modes[service.data_dir.broker]) == 0o700


def test_a_second_service_on_the_same_folder_is_refused_in_one_line(service):
    command = [sys.executable, "-m", "med3d_cli", "serve", "--data-dir", str(service.data_dir.root), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: another `med3d serve`")


def test_the_command_line_finds_the_service_by_its_data_folder(service):
    environment = {"MED3D_DATA_DIR": str(service.data_dir.root), "COLUMNS": "200"}
    run_id = service.submit(0)
    shown = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "show", run_id], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert "brain age" in shown
    listed = subprocess.run(
        [sys.executable, "-m", "med3d_cli", "runs"], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert run_id in listed


@pytest.mark.parametrize(
    ("variant", "function", "part"),
    [
        pytest.param(2, "TensorCache.keep", "", id="while the tensor is stored"),
        pytest.param(3, "answer", ".aside", id="while the answer is stored", marks=pytest.mark.long),
        pytest.param(4, "answer", "results/", id="when the answer is stored but not published", marks=pytest.mark.long),
    ],
)
def test_a_worker_child_that_is_killed_costs_no_run(service, variant, function, part):
    before = service.worker_child()
    planned = service.plan_fault(function, part)
    run_id = service.submit(variant)
    wait_until(lambda: not planned.exists(), f"the kill in {function}")
    wait_until_gone([before])
    assert_completed_once(service, run_id)


@pytest.mark.long
def test_a_worker_child_that_is_killed_in_the_middle_of_the_science_costs_no_run(service):
    run_id = service.submit(5)
    wait_until(lambda: service.client.run(run_id).stage == "brain extraction", "brain extraction", every_s=0.02)
    service.worker_child().kill()
    assert assert_completed_once(service, run_id).attempt > 1


@pytest.mark.long
def test_a_worker_that_is_killed_as_a_whole_costs_no_run(service):
    run_id = service.submit(6)
    wait_until(lambda: service.client.run(run_id).status is not RunStatus.QUEUED, "work")
    worker = service.worker()
    everyone = [worker, *worker.children(recursive=True)]
    worker.kill()
    wait_until_gone(everyone)
    assert_completed_once(service, run_id)


def test_a_broker_that_is_stopped_and_started_again_loses_nothing(service):
    first = service.submit(7)
    broker = service.broker()
    broker.send_signal(signal.SIGTERM)
    wait_until_gone([broker])
    second = service.submit(8)
    for run_id in (first, second):
        assert_completed_once(service, run_id)


def test_a_broker_that_is_killed_and_wiped_loses_nothing(service):
    run_id = service.submit(9)
    broker = service.broker()
    broker.kill()
    shutil.rmtree(service.data_dir.broker / "appendonlydir")
    wait_until_gone([broker])
    assert_completed_once(service, run_id)


def test_a_killed_supervisor_leaves_no_process_and_its_successor_finishes_the_run(service):
    run_id = service.submit(11)
    wait_until(lambda: service.client.run(run_id).status is not RunStatus.QUEUED, "work")
    everyone = service.everyone()
    assert len(everyone) >= 7  # supervisor, broker, API, courier, scheduler, worker and its child
    service.process.kill()
    wait_until_gone(everyone)
    service.end()
    service.start()
    assert_completed_once(service, run_id)


def test_scratch_of_killed_workers_has_been_reclaimed(service):
    assert list(service.data_dir.scratch.glob("study-*")) == []


def test_sigterm_drains_and_stops_everything(service):
    run_id = service.submit(12)
    wait_until(lambda: service.client.run(run_id).status is not RunStatus.QUEUED, "work")
    everyone = service.stop()
    assert living(everyone) == []
    assert service.process.returncode == 0
    assert not service.data_dir.address_file.exists()
