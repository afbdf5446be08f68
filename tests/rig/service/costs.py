"""A table of costs with round numbers, for tests of what is made of it."""

from med3d_cli.capacity.measured import MeasuredCosts, MemoryBytes, StudyBytes, WorkerSeconds

COSTS = MeasuredCosts(
    date="2026-01-01",
    command="none: round numbers for tests",
    machine="none",
    input="none",
    alone=WorkerSeconds(preprocess_s=4.0, preprocess_sd_s=0.2, predict_s=0.5, handover_s=0.02),
    crowded=WorkerSeconds(preprocess_s=5.0, preprocess_sd_s=0.3, predict_s=0.6, handover_s=0.02),
    copy_s=0.5,
    service_s=0.3,
    study=StudyBytes(sent=1e6, originals=1.1e6, working_copy=1e6, derived=2e5, database=2e4),
    memory=MemoryBytes(redis_idle=1e6, redis_worker=1e5, redis_task=1000, worker=1.2e9),
)
