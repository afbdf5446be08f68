"""What is done to the service in a round. All follows from the round's seed, but for the operating system's timing."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rig.faults.disks import fill

JUMP_S = 7200
LONGEST_ROUND_S = 4.0


@dataclass(frozen=True)
class Fault:
    """``kind`` befalls ``victim`` (a process, a line between two, the disk) ``after_s`` into the round."""

    kind: str
    victim: str
    after_s: float

    def __str__(self):
        return f"{self.kind} {self.victim} at {self.after_s:.1f} s"


def faults_of(seed, cluster, *, small_disk):
    """One to three faults."""
    dice = random.Random(seed)
    kinds = ["kill", "kill", "pause", "cut", "half-close", "delay", "hold"]
    kinds += ["clock"] if cluster.postgres else []
    kinds += ["full disk"] if small_disk else []
    return tuple(
        sorted((_fault(dice, cluster, kinds) for _ in range(dice.randint(1, 3))), key=lambda fault: fault.after_s)
    )


def _fault(dice, cluster, kinds):
    kind = dice.choice(kinds)
    if kind in {"kill", "pause"}:
        victim = dice.choice(cluster.names)
    elif kind == "clock":
        victim = dice.choice(["api", "courier", "scheduler", "worker"])
    elif kind == "full disk":
        victim = "disk"
    else:
        victim = dice.choice(sorted(cluster.proxies))
    return Fault(kind, victim, dice.uniform(0, LONGEST_ROUND_S * 0.75))


class Harm:
    """Does the faults of one round on a thread; as a context it ends, healed, when the round's time is over."""

    def __init__(self, cluster, faults, seed, ballast):
        self._cluster = cluster
        self._faults = faults
        self._dice = random.Random(seed)
        self._ballast = ballast
        self._thread = ThreadPoolExecutor(1)

    def _run(self):
        began = time.monotonic()
        for fault in self._faults:
            time.sleep(max(0.0, began + fault.after_s - time.monotonic()))
            self._do(fault)
        time.sleep(max(0.0, began + LONGEST_ROUND_S - time.monotonic()))
        self._ballast.unlink(missing_ok=True)
        self._cluster.heal()

    def _do(self, fault):
        if fault.kind == "kill":
            self._cluster.kill(fault.victim)
        elif fault.kind == "pause":
            self._cluster.pause(fault.victim)
        elif fault.kind == "clock":
            self._cluster.set_clock(fault.victim, self._dice.choice([JUMP_S, -JUMP_S]))
        elif fault.kind == "full disk":
            fill(self._ballast)
        else:
            proxy = self._cluster.proxies[fault.victim]
            match fault.kind:
                case "cut":
                    proxy.cut()
                case "half-close":
                    proxy.half_close()
                case "hold":
                    proxy.hold()
                case "delay":
                    proxy.delay_s = 0.2

    def __enter__(self):
        self._done = self._thread.submit(self._run)
        return self

    def __exit__(self, kind, error, at):
        self._thread.shutdown()
        if error is None:
            self._done.result()
