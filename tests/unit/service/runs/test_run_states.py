"""The state machine of runs under random orders of events: workers that die, answer late, twice, or out of turn."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

from rig.examples import at_most
from rig.service.parts import open_database
from rig.service.run_machine import Runs


class RunsOnSqlite(Runs):
    def open_empty(self):
        self.folder = Path(tempfile.mkdtemp(prefix="med3d-states-"))
        return open_database(self.folder)

    def remove(self):
        shutil.rmtree(self.folder)


RunsOnSqlite.TestCase.settings = settings(
    at_most(25), stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
TestRuns = RunsOnSqlite.TestCase
