"""The rows of the conformance table against a running gateway: `conformance.py INSTANCE SETTING`.

Reads `RECORDING ROW PAIR…` a line, plays the row's cases for these pairs, says `ok   PAIR: CASE` or `FAIL PAIR: CASE: what
is wrong` of each, and `done` at the end. What the gateway sent is in the pcap file RECORDING then.
"""

import signal
import sys

import rows_answers  # noqa: F401
import rows_inner  # noqa: F401
import rows_mtu  # noqa: F401
import rows_others  # noqa: F401
import rows_outer  # noqa: F401
from bench import Bench, Recording
from network import BLUE, GREEN, Pair
from rows import ROWS


class Stage(Bench):
    """A bench that knows how its gateway is set, and for which pair it speaks."""

    def __init__(self, instance, setting):
        super().__init__(instance)
        self.setting, self.pair = setting, None
        if setting == "altered":
            BLUE.vni, BLUE.port, GREEN.vni = 0, 14789, 0xFFFFFF

    def verdict(self, name, wrong):
        super().verdict(f"{self.pair}: {name}", wrong)

    def to_pod(self, n=1):
        """Where packets to blue's pod arrive: its node's kernel knows the usual VNI and port only."""
        return {"blue1": n, "blue1-pod": n} if self.setting == "usual" else {"blue1": n}

    def zero(self, p):
        """Is the outer UDP checksum zero? Over IPv6 the altered setting says so."""
        return p.outer == 4 or self.setting == "altered"

    def tos(self, cluster):
        """The outer TOS of packets to a cluster whose inner one is 0."""
        return 46 << 2 if self.setting == "altered" and cluster is GREEN else 0


LONGEST = 120  # seconds; no row takes nearly as long

if __name__ == "__main__":
    stage = Stage(*sys.argv[1:])
    for line in sys.stdin:
        path, number, *pairs = line.split()
        cases = ROWS.get((int(number), stage.setting))
        if not cases:
            sys.exit(f"row {number} has no cases for the {stage.setting} setting")
        signal.alarm(LONGEST)
        stage.recording = Recording(path)
        for stage.pair in pairs:
            cases(stage, Pair(stage.pair))
        print("done", flush=True)
