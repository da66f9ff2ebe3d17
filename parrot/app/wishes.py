"""What a reader wants of a variable: said as a criterion, sent with the moment until when it is of use."""

from __future__ import annotations

from typing import NamedTuple

from parrot.app.deadlines import moment
from parrot.criteria import Criterion, Deadline
from parrot.errors import CallError

Criteria = Criterion | Deadline | str | None
"""What `get` and `stream` take: a criterion or its name, `P.Deadline(seconds)`, or None for no wish."""


class Wish(NamedTuple):
    """What somebody wants of a variable, as it is sent.

    Attributes:
        criterion: what the work towards it should be optimised for.
        deadline: of the criterion `deadline`: until when the value is of use, in seconds since the epoch.
    """

    criterion: Criterion
    deadline: float | None = None


def wish(criteria: Criteria) -> Wish | None:
    """Check what was said; a deadline counts from this moment.

    Raises:
        CallError: it is no criterion, or a deadline that cannot be met.
    """
    if criteria is None:
        return None
    if isinstance(criteria, Deadline):
        return Wish(Criterion.DEADLINE, moment(criteria.seconds, f"P.Deadline({criteria.seconds!r})"))
    try:
        criterion = Criterion(criteria)
    except ValueError:
        raise CallError(
            f"criteria={criteria!r} is not known. Write P.LATENCY, P.TTFT, P.TPOT, P.THROUGHPUT, P.Deadline(seconds) or None."
        ) from None
    if criterion is Criterion.DEADLINE:
        raise CallError("criteria='deadline' lacks the time. Write P.Deadline(20) for a value that is wanted within 20 seconds.")
    return Wish(criterion)
