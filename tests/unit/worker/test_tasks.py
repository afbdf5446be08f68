import pytest
from celery.exceptions import Reject

from med3d_client.worker import ApiUnavailable
from med3d_contract.queues import (
    EXPLAIN_RUN,
    MAKE_VOLUMES,
    PREDICT_QUEUE,
    PREDICT_READY,
    PREPROCESS_RUN,
    PUBLISH_RESULT,
)
from med3d_store.object_store import StoreAwayError, StoreChangedError, StoreError, StoreFullError
from med3d_worker.app import UnfitReport, is_lasting, make_celery
from med3d_worker.process.library_threads import limit_library_threads
from med3d_worker.settings import WorkerSettings
from med3d_worker.workplace import Workplace

SETTINGS = WorkerSettings(worker_key="key", store_url="file:///nowhere", broker_url="memory://", child_memory_kib=123)


class Calls:
    """A workplace that remembers; publishing raises the given faults first."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.seen = []
        self.more_waits = False

    def workplace(self):
        return Workplace(
            preprocess=lambda run_id: self.seen.append(("preprocess", run_id)),
            appraise=lambda study_id: self.seen.append(("appraise", study_id)),
            predict=self._predict,
            publish=self._publish,
            explain=lambda run_id: self.seen.append(("explain", run_id)),
            make_volumes=lambda run_id: self.seen.append(("volumes", run_id)),
        )

    def _predict(self):
        self.seen.append(("predict",))
        return self.more_waits

    def _publish(self, run_id, attempt):
        self.seen.append(("publish", run_id, attempt))
        if self.faults:
            raise self.faults.pop(0)


def app_for(calls):
    return make_celery(SETTINGS, calls.workplace)


def test_tasks_carry_ids_to_the_use_cases():
    calls = Calls()
    app = app_for(calls)
    app.tasks[PREPROCESS_RUN].apply(["run-1"], throw=True)
    app.tasks[PREDICT_READY].apply(throw=True)
    app.tasks[PUBLISH_RESULT].apply(["run-1", 3], throw=True)
    app.tasks[EXPLAIN_RUN].apply(["run-1"], throw=True)
    app.tasks[MAKE_VOLUMES].apply(["run-1"], throw=True)
    assert calls.seen == [
        ("preprocess", "run-1"),
        ("predict",),
        ("publish", "run-1", 3),
        ("explain", "run-1"),
        ("volumes", "run-1"),
    ]


@pytest.mark.parametrize("more_waits", [True, False])
def test_a_predict_task_that_left_some_waiting_is_followed_by_another(more_waits):
    calls = Calls()
    calls.more_waits = more_waits
    app = app_for(calls)
    app.tasks[PREDICT_READY].apply(throw=True)
    with app.connection_for_read() as connection, connection.SimpleQueue(PREDICT_QUEUE) as queue:
        assert queue.qsize() == int(more_waits)
        queue.clear()


@pytest.mark.parametrize("fault", [ApiUnavailable("down"), StoreError("down")])
def test_publishing_is_repeated_until_it_is_accepted(fault):
    calls = Calls(*[fault] * 5)
    app_for(calls).tasks[PUBLISH_RESULT].apply(["run-1", 3])
    assert calls.seen == [("publish", "run-1", 3)] * 6


def test_an_unfit_child_gives_its_task_back():
    app = make_celery(SETTINGS, lambda: None)
    with pytest.raises(Reject) as caught:
        app.tasks[PREPROCESS_RUN]("run-1")
    assert caught.value.requeue


def test_the_memory_of_a_child_is_bounded_and_its_broker_may_be_away_for_long():
    app = app_for(Calls())
    assert app.conf.worker_max_memory_per_child == 123
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost


def test_an_unfit_report_crosses_over_whole_or_cut_but_never_broken():
    report = UnfitReport()
    assert report.read() is None
    report.write("the bundle is altered", lasting=True)
    assert (str(report.read()), report.read().lasting) == ("the bundle is altered", True)
    report.write("é" * 5000, lasting=False)
    assert str(report.read()).startswith("é" * 2000)
    assert not report.read().lasting


@pytest.mark.parametrize(("error", "lasting"), [
    (StoreError("a store is file:///folder or s3://bucket/prefix"), True), (ValueError("bad"), True),
    (StoreChangedError("not mounted"), False), (StoreFullError("full"), False), (StoreAwayError("away"), False),
])  # fmt: skip
def test_a_store_that_is_away_as_a_worker_starts_comes_back(error, lasting):
    assert is_lasting(error) is lasting


def test_a_worker_without_a_key_says_which_setting_is_missing():
    with pytest.raises(ValueError, match="MED3D_WORKER_KEY_FILE"):
        WorkerSettings(store_url="file:///nowhere")


def test_the_key_is_read_from_its_file(tmp_path):
    (tmp_path / "key").write_text("m3d_secret\n")
    assert WorkerSettings(store_url="file:///x", worker_key_file=tmp_path / "key").key() == "m3d_secret"


def test_each_process_has_a_gpu_of_its_own_and_its_successor_the_same_one():
    settings = SETTINGS.model_copy(update={"gpu_devices": "0, 2"})
    assert settings.processes == 2
    assert [settings.of_process(number).gpu_device for number in (0, 1, 0)] == [0, 2, 0]


def test_children_share_the_named_gpus_in_turn():
    settings = SETTINGS.model_copy(update={"gpu_devices": "0,2", "children": 5})
    assert settings.processes == 5
    assert [settings.of_process(number).gpu_device for number in range(5)] == [0, 2, 0, 2, 0]


def test_libraries_take_a_child_s_threads_unless_the_operator_has_said_otherwise():
    environment = {"OMP_NUM_THREADS": "3"}
    limit_library_threads(1, environment)
    assert environment == {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_without_named_gpus_processes_are_as_many_as_were_asked_for():
    settings = SETTINGS.model_copy(update={"children": 3})
    assert settings.processes == 3
    assert settings.of_process(2) == settings
