"""The worker pool, and the guard that keeps BLAS at one thread while it works.

Rows are the unit of parallelism: each worker runs single-threaded BLAS on its own run of rows.
The number of workers is the number of threads that BLAS was allowed when the guard was first
entered, so that limits set by joblib, by environment variables or by ``threadpool_limits`` hold.
"""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import ThreadpoolController

__all__ = ["fold", "single_threaded_blas"]


class _BlasGuard:
    """Reference-counted: the first to enter sets BLAS to one thread, the last restores it.

    Two overlapping ``threadpool_limits`` in concurrent fits would restore each other's limit
    and leave the process at one thread; building a limiter costs up to milliseconds, setting
    the number on a cached controller microseconds.

    threadpoolctl lets only one thread at a time control OpenBLAS, and ignores the others. The
    last to leave takes that control over, and gives it back.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._libraries = None
        self._saved = []
        self._is_set = False
        self._entered = 0
        self._workers = 1

    def enter(self):
        with self._lock:
            if self._entered == 0:
                if self._libraries is None:
                    controller = ThreadpoolController().select(user_api="blas")
                    self._libraries = controller.lib_controllers
                self._saved = [library.num_threads for library in self._libraries]
                self._workers = max(1, min(self._saved or [os.cpu_count() or 1]))
                self._is_set = self._saved.count(1) < len(self._saved)
                if self._is_set:
                    for library in self._libraries:
                        library.set_num_threads(1)
                    if any(library.num_threads != 1 for library in self._libraries):
                        # Another thread holds a limit of its own: it stays, and is enough.
                        self._is_set, self._workers = False, 1
            self._entered += 1
            # Concurrent fits share the threads: more workers would only wait for each other.
            return max(1, self._workers // self._entered)

    def leave(self):
        with self._lock:
            self._entered -= 1
            if self._entered == 0 and self._is_set:
                self.restore()

    def restore(self):
        """Put the number of threads back as it was, from whichever thread this is."""
        self._release_control()
        for library, n_threads in zip(self._libraries, self._saved, strict=True):
            library.set_num_threads(n_threads)
        self._release_control()

    def _release_control(self):
        for library in self._libraries:
            if hasattr(library, "clear_controlling_thread"):  # threadpoolctl >= 3.8
                library.clear_controlling_thread(force=True)


_guard = _BlasGuard()
_pool = None
_pool_lock = threading.Lock()


class single_threaded_blas:
    """Hold BLAS at one thread; entering gives the number of workers that the caller may use."""

    def __enter__(self):
        self._held = _guard
        return self._held.enter()

    def __exit__(self, *exception):
        self._held.leave()


def _executor():
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gdregress")
        return _pool


def _reset_after_fork():
    """A forked child has the parent's locks and none of its threads: begin anew."""
    global _pool, _pool_lock, _guard
    inherited = _guard
    _pool, _pool_lock, _guard = None, threading.Lock(), _BlasGuard()
    if inherited._entered and inherited._is_set:
        inherited.restore()  # forked in the middle of another thread's fit: undo its limit here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def fold(task, n_tasks, combine, workers):
    """``combine(...combine(combine(task(0), task(1)), task(2))..., task(n_tasks - 1))``.

    Tasks run on up to `workers` threads, the caller's own among them; results are combined
    strictly in the order of their number, so the answer does not depend on `workers`, and
    as soon as they can be, so that few wait in memory.
    """
    if workers <= 1 or n_tasks == 1:
        total = task(0)
        for number in range(1, n_tasks):
            total = combine(total, task(number))
        return total

    numbers = itertools.count()  # next() is atomic
    lock = threading.Lock()
    waiting = {}
    state = {"total": None, "folded": 0, "failed": False}

    def work():
        while not state["failed"] and (number := next(numbers)) < n_tasks:
            try:
                result = task(number)
            except BaseException:
                state["failed"] = True
                raise
            with lock:
                waiting[number] = result
                while (next_result := waiting.pop(state["folded"], None)) is not None:
                    first = state["folded"] == 0
                    total = state["total"]
                    state["total"] = next_result if first else combine(total, next_result)
                    state["folded"] += 1

    futures = [_executor().submit(work) for _ in range(min(workers, n_tasks) - 1)]
    try:
        work()
    finally:
        # A helper that was never started holds no task: it need not be waited for.
        errors = [f.exception() for f in futures if not f.cancel()]
    for error in errors:
        if error is not None:
            raise error
    return state["total"]
