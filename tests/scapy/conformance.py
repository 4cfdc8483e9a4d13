"""One row of the conformance table against a running gateway: `conformance.py INSTANCE RECORDING SETTING ROW PAIR…`.

Says `ok PAIR: CASE` or `FAIL PAIR: CASE: what is wrong` a case.
"""

import sys

import rows_answers  # noqa: F401
import rows_inner  # noqa: F401
import rows_others  # noqa: F401
import rows_outer  # noqa: F401
from bench import Bench
from network import BLUE, GREEN, Pair
from rows import ROWS


class Stage(Bench):
    """A bench that knows how its gateway is set, and for which pair it speaks."""

    def __init__(self, instance, recording, setting):
        super().__init__(instance, recording)
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


if __name__ == "__main__":
    instance, recording, setting, number, *pairs = sys.argv[1:]
    cases = ROWS.get((int(number), setting))
    if not cases:
        sys.exit(f"row {number} has no cases for the {setting} setting")
    stage = Stage(instance, recording, setting)
    for name in pairs:
        stage.pair = name
        cases(stage, Pair(name))
    sys.exit(1 if stage.failures else 0)
