"""Times of two contenders in one process, in turn."""

import gc
import statistics
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field

from threadpoolctl import threadpool_limits

PAUSE = 0.03


@dataclass
class Pairs:
    """Seconds of both contenders, pair by pair, and their last results."""

    ours: list = field(default_factory=list)
    theirs: list = field(default_factory=list)
    our_result: object = None
    their_result: object = None

    @property
    def ratio(self):
        """Median over the pairs of theirs / ours: above 1, ours is faster."""
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs))

    @property
    def spread(self):
        """Smallest and largest ratio of a pair."""
        ratios = [b / a for a, b in zip(self.ours, self.theirs)]
        return min(ratios), max(ratios)

    @property
    def note(self):
        """How far to trust the ratio: the spread, and the ratio of the two shortest times."""
        low, high = self.spread
        ours, theirs = min(self.ours), min(self.theirs)
        return (
            f"{len(self.ours)} pairs, peer / ours {low:.3g} to {high:.3g}, "
            f"of the shortest times {theirs / ours:.3g} ({theirs:.3g} / {ours:.3g} s)"
        )

    @property
    def seconds(self):
        """Median seconds of ours and of theirs."""
        return statistics.median(self.ours), statistics.median(self.theirs)


@contextmanager
def threads(count):
    """At most `count` threads in every library of this process; None leaves them as they are."""
    if count is None:
        yield
        return
    for module, setter in (("daal4py", "daalinit"), ("numba", "set_num_threads")):
        if module in sys.modules:
            getattr(sys.modules[module], setter)(count)
    with threadpool_limits(count):
        yield


@contextmanager
def quiet():
    """No warnings, as most peers complain while their tolerance is being tightened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def settled():
    """All that is loaded is put out of the garbage collector's way.

    A collection before each call would walk through every object of every library and leave the
    caches of the processor empty: a fit of a millisecond took half as long again after it.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def timed(work, pause=0.0):
    """Seconds and result of one call, with the garbage collector held.

    ``pause`` lets the idle threads of the library measured before stop spinning.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        result = work()
        return time.perf_counter() - start, result
    finally:
        if enabled:
            gc.enable()


def interleaved(ours, theirs, repeats=7, small_budget=1.0, large_budget=120.0):
    """Time two calls alternately, the order of each pair reversed from the last.

    Short calls are repeated for up to ``small_budget`` seconds (at most 300 pairs); long ones
    stop at ``large_budget`` seconds, but not before three pairs. Both have been called once,
    untimed, before the first pair.
    """
    with quiet(), settled():
        pairs = Pairs()
        warm = timed(ours)[0] + timed(theirs)[0]
        pause = PAUSE if warm > 0.1 else 0.0
        wanted = min(300, max(repeats, int(small_budget / max(warm, 1e-6))))
        began = time.perf_counter()
        while len(pairs.ours) < wanted:
            _one_pair(pairs, ours, theirs, pause)
            late = time.perf_counter() - began > large_budget
            if late and len(pairs.ours) >= min(3, repeats):
                break
    return pairs


def _one_pair(pairs, ours, theirs, pause):
    ours_first = len(pairs.ours) % 2 == 0
    if ours_first:
        seconds, pairs.our_result = timed(ours, pause)
    their_seconds, pairs.their_result = timed(theirs, pause)
    if not ours_first:
        seconds, pairs.our_result = timed(ours, pause)
    pairs.ours.append(seconds)
    pairs.theirs.append(their_seconds)


def median_time(work, repeats=5, budget=60.0):
    """Median seconds of one contender alone after an untimed call, and its last result."""
    with quiet(), settled():
        seconds, result = timed(work)
        pause = PAUSE if seconds > 0.1 else 0.0
        times, began = [], time.perf_counter()
        while not times or (len(times) < repeats and time.perf_counter() - began < budget):
            seconds, result = timed(work, pause)
            times.append(seconds)
    return statistics.median(times), result
