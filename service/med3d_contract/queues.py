"""Task names, queues and Celery's settings: one place, read by the service that sends and the workers that take."""

from typing import Any

from med3d_contract.results import Priority

PREPROCESS_RUN = "med3d_worker.tasks.preprocess_run"
APPRAISE_STUDY = "med3d_worker.tasks.appraise_study"
PREDICT_READY = "med3d_worker.tasks.predict_ready"
PUBLISH_RESULT = "med3d_worker.tasks.publish_result"
EXPLAIN_RUN = "med3d_worker.tasks.explain_run"
MAKE_VOLUMES = "med3d_worker.tasks.make_volumes"

PREPROCESS_QUEUE = "preprocess"
PREDICT_QUEUE = "predict"
PUBLISH_QUEUE = "publish"
COURIER_QUEUE = "courier"

# In kombu's Redis transport 0 is taken first, and only with queue_order_strategy "priority".
CELERY_PRIORITY = {Priority.STAT: 0, Priority.ROUTINE: 3, Priority.COHORT: 6}

RUNS_PER_PREDICT_TASK = 16
"""A task without ids takes what waits, so one is sent for so many runs."""

HARD_TIME_LIMIT_S = 900
SOFT_TIME_LIMIT_S = 840


def celery_settings(broker_url: str) -> dict[str, Any]:
    """Return Celery's configuration for ``broker_url`` (redis://, rediss:// or redis+socket://)."""
    return {
        "broker_url": _verified(broker_url),
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {
            "priority_steps": list(range(10)),
            "queue_order_strategy": "priority",
            "sep": ":",
            # Longer than the hard time limit, or a slow task would be delivered twice while it still runs.
            "visibility_timeout": HARD_TIME_LIMIT_S + 300,
            # Without these a killed worker's task comes back only after about 100 s.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
        },
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "task_time_limit": HARD_TIME_LIMIT_S,
        "task_soft_time_limit": SOFT_TIME_LIMIT_S,
        "task_default_queue": PREPROCESS_QUEUE,
        "task_default_priority": CELERY_PRIORITY[Priority.ROUTINE],
        "task_routes": {
            PREPROCESS_RUN: {"queue": PREPROCESS_QUEUE},
            APPRAISE_STUDY: {"queue": PREPROCESS_QUEUE},
            PREDICT_READY: {"queue": PREDICT_QUEUE},
            PUBLISH_RESULT: {"queue": PUBLISH_QUEUE},
            EXPLAIN_RUN: {"queue": PREDICT_QUEUE},
            MAKE_VOLUMES: {"queue": PREPROCESS_QUEUE},
        },
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "enable_utc": True,
    }


def _verified(broker_url: str) -> str:
    """Kombu takes any certificate behind a bare rediss://; whoever wants that has to say so (ssl_cert_reqs=none)."""
    if not broker_url.startswith("rediss://") or "ssl_cert_reqs=" in broker_url:
        return broker_url
    return f"{broker_url}{'&' if '?' in broker_url else '?'}ssl_cert_reqs=required"
