"""The rows of the conformance table that a running gateway is held to: what a row's module registers."""

ROWS = {}


def row(number, *settings):
    """Registers the cases of a row for these settings of the gateway: a function of a `Stage` and a `Pair`, which says
    nothing where the row does not speak of the pair."""

    def register(cases):
        for setting in settings or ("usual",):
            assert (number, setting) not in ROWS, f"row {number} has two sets of cases"
            ROWS[number, setting] = cases
        return cases

    return register
