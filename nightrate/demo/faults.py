"""What may go wrong with a request of the demo. Its `seed`, a parameter of the API, tells the model which."""

from typing import Literal, get_args

Fault = Literal[
    "none",
    "filtered",  # refused by the content filter
    "too_long",  # longer than the model's context
    "busy_once",  # 429 at first
    "breaks_once",  # 500 at first
    "breaks",  # 500 whenever it is asked
    "garbled",  # 200 with half a JSON object
    "hangs",  # no answer in time
    "uncounted",  # an answer without usage
    "stopped",  # cut short by the content filter
    "slow",  # a good answer, but only after half a minute
]
_FAULTS: tuple[Fault, ...] = get_args(Fault)
_FIRST = 1_000_000_000
"""Seeds below are of people, who get good answers."""


def seed_of(number: int, fault: Fault) -> int:
    """The seed of a request of the demo."""
    return _FIRST + number * len(_FAULTS) + _FAULTS.index(fault)


def fault_of(seed: object) -> Fault:
    """What the model shall do with a request of this seed."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < _FIRST:
        return "none"
    return _FAULTS[(seed - _FIRST) % len(_FAULTS)]
