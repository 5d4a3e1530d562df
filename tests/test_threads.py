"""The ordered fold, the shared workers and the guard of the BLAS limit."""

import os
import sys
import threading
import time
import warnings
from contextlib import ExitStack

import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from gdregress.rows import threads
from gdregress.rows.threads import fold, single_threaded_blas

each_number_of_workers = pytest.mark.parametrize("workers", [1, 2, 3])


def blas_threads():
    """The limit of every BLAS in the process, as it stands."""
    return [lib["num_threads"] for lib in ThreadpoolController().select(user_api="blas").info()]


def uneven(number):
    """Tasks that finish out of order."""
    time.sleep(0.002 * (number % 3 == 0))
    return f"{number},"


@each_number_of_workers
@pytest.mark.parametrize("n_tasks", [1, 2, 3, 20])
def test_results_are_combined_in_the_order_of_their_number(workers, n_tasks):
    expected = "".join(f"{number}," for number in range(n_tasks))
    assert fold(uneven, n_tasks, str.__add__, workers) == expected


@each_number_of_workers
def test_the_fold_goes_from_the_left(workers):
    nested = fold(uneven, 5, lambda total, part: f"({total}+{part})", workers)
    assert nested == "((((0,+1,)+2,)+3,)+4,)"


@pytest.mark.parametrize("workers", [2, 3])
def test_as_many_tasks_run_at_once_as_there_are_workers(workers):
    workers = min(workers, os.cpu_count() or 1)
    meet = threading.Barrier(workers, timeout=20)  # breaks unless all of them are inside at once

    def task(_):
        meet.wait()
        return {threading.get_ident()}

    idents = fold(task, workers, set.__or__, workers)
    assert len(idents) == workers
    assert threading.get_ident() in idents  # the caller works too


@each_number_of_workers
def test_every_task_runs_once(workers):
    seen, lock = [], threading.Lock()

    def task(number):
        with lock:
            seen.append(number)
        return 1

    assert fold(task, 50, int.__add__, workers) == 50
    assert sorted(seen) == list(range(50))


def test_results_do_not_pile_up():
    """What can be combined is combined at once: few results wait for their turn."""
    alive, most, lock = [0], [0], threading.Lock()

    def task(number):
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        return [number]

    def combine(total, part):
        with lock:
            alive[0] -= 1
        return [total[0] + part[0]]

    assert fold(task, 200, combine, 1) == [199 * 100]
    assert most[0] <= 2
    alive[0] = most[0] = 0
    assert fold(task, 200, combine, 2) == [199 * 100]
    assert most[0] < 200


@each_number_of_workers
@pytest.mark.parametrize("bad", [0, 7, 19])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_a_task_reaches_the_caller_and_the_pool_survives(workers, bad, error):
    def task(number):
        if number == bad:
            raise error(f"task {number}")
        return uneven(number)

    with pytest.raises(error, match=f"task {bad}"):
        fold(task, 20, str.__add__, workers)
    assert fold(uneven, 3, str.__add__, workers) == "0,1,2,"


@each_number_of_workers
def test_an_exception_in_combine_reaches_the_caller(workers):
    def combine(total, part):
        if part == "5,":
            raise ArithmeticError("five")
        return total + part

    with pytest.raises(ArithmeticError, match="five"):
        fold(uneven, 20, combine, workers)
    assert fold(uneven, 3, str.__add__, workers) == "0,1,2,"


def test_a_task_may_fold():
    """More folds than threads in the pool: callers work themselves, so none waits for ever."""

    def inner(number):
        return fold(uneven, 4, str.__add__, 3) + f"|{number};"

    expected = "".join(f"0,1,2,3,|{number};" for number in range(6))
    assert fold(inner, 6, str.__add__, 3) == expected


# The guard


def test_blas_has_one_thread_inside_and_its_own_number_after():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with single_threaded_blas() as workers:
            assert set(blas_threads()) == {1}
            assert workers == min(before)
        assert blas_threads() == before


def test_the_number_of_workers_is_what_blas_was_allowed():
    with threadpool_limits(1, user_api="blas"):
        with single_threaded_blas() as workers:
            assert workers == 1
        assert set(blas_threads()) == {1}


def test_the_limit_is_restored_after_an_exception():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), single_threaded_blas():
        raise ZeroDivisionError
    assert blas_threads() == before


def test_nested_entries_hold_the_limit_until_the_last_leaves():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with single_threaded_blas() as outer:
            with single_threaded_blas() as inner:
                assert set(blas_threads()) == {1}
            assert set(blas_threads()) == {1}
            assert 1 <= inner <= outer
        assert blas_threads() == before


def test_entries_that_overlap_but_do_not_nest_restore_the_limit():
    """What a plain threadpool_limits in two threads does not do."""
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        first, second = ExitStack(), ExitStack()
        first.enter_context(single_threaded_blas())
        second.enter_context(single_threaded_blas())
        first.close()
        assert set(blas_threads()) == {1}
        second.close()
        assert blas_threads() == before


def set_blas_threads(n_threads):
    """Set the limit of the process, and leave no Python thread in control of it.

    threadpoolctl 3.8 gives control of OpenBLAS to the first thread that sets a limit and ignores
    the others, until that thread has ended or its ``threadpool_limits`` has been left.
    """
    with threadpool_limits(n_threads, user_api="blas"):
        pass
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(n_threads)
    with threadpool_limits(n_threads, user_api="blas"):
        pass


@pytest.fixture
def limit():
    """The limit of the process, 2, which no Python thread controls as yet."""
    n_threads = max(blas_threads())
    set_blas_threads(2)
    yield 2
    set_blas_threads(n_threads)


def in_threads(*bodies):
    """Run each body in a thread of its own, all alive until the last has returned."""
    done, results = threading.Barrier(len(bodies), timeout=20), [None] * len(bodies)

    def run(number, body):
        try:
            results[number] = body()
        finally:
            done.wait()

    runs = [threading.Thread(target=run, args=item) for item in enumerate(bodies)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    return results


def test_concurrent_entries_share_the_workers_and_restore_the_limit(limit):
    inside, leave = threading.Barrier(4, timeout=20), threading.Barrier(4, timeout=20)

    def fit():
        with single_threaded_blas() as workers:
            inside.wait()
            limits = blas_threads()
            leave.wait()
        return workers, limits

    found = in_threads(fit, fit, fit, fit)
    # The first was alone when it came; the others find its threads taken.
    shares = [limit // entered or 1 for entered in (4, 3, 2, 1)]
    assert sorted(workers for workers, _ in found) == shares
    assert {n for _, limits in found for n in limits} == {1}
    assert set(blas_threads()) == {limit}


def test_a_thread_that_leaves_last_restores_what_another_thread_set(limit):
    both_inside, first_left = threading.Event(), threading.Event()

    def first():
        with single_threaded_blas():
            assert both_inside.wait(20)
        first_left.set()

    def last():
        with single_threaded_blas():
            both_inside.set()
            assert first_left.wait(20)

    in_threads(first, last)
    assert set(blas_threads()) == {limit}


def test_a_thread_can_enter_after_another_thread_has_left(limit):
    def enter():
        with single_threaded_blas() as workers:
            return workers, blas_threads()

    assert enter() == (limit, [1] * len(blas_threads()))  # this thread is still alive afterwards
    assert in_threads(enter) == [(limit, [1] * len(blas_threads()))]
    assert set(blas_threads()) == {limit}


def test_another_threads_own_limits_still_work_after_a_fit(limit):
    """The guard does not keep control of BLAS for the thread that used it."""
    with single_threaded_blas():
        pass

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return blas_threads()

    assert in_threads(limited) == [[1] * len(blas_threads())]
    assert set(blas_threads()) == {limit}


def test_a_limit_that_another_thread_holds_is_not_exceeded(limit):
    def enter():
        with single_threaded_blas() as workers:
            return workers * max(blas_threads())

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert in_threads(enter)[0] <= 2
        assert blas_threads() == before


def test_many_entries_from_many_threads_leave_no_trace(limit):
    def fit():
        for _ in range(50):
            with single_threaded_blas() as workers:
                fold(lambda n: n, 4, int.__add__, workers)

    in_threads(fit, fit, fit, fit)
    assert set(blas_threads()) == {limit}


# Forked children


def in_a_child(check):
    """The exit status of a forked child that runs `check`: 0 if it returned True in time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork while threads exist
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            watchdog = threading.Timer(20, os._exit, [2])  # a child that hangs
            watchdog.daemon = True
            watchdog.start()
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


fork_only = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "darwin", reason="there is no fork to survive"
)


@fork_only
def test_a_forked_child_can_fold():
    assert fold(uneven, 6, str.__add__, 2) == "0,1,2,3,4,5,"  # the parent's pool has threads
    assert in_a_child(lambda: fold(uneven, 6, str.__add__, 2) == "0,1,2,3,4,5,") == 0


@fork_only
def test_a_child_forked_while_another_thread_fits_has_its_limit_back():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()

        def check():
            if blas_threads() != before:
                return False
            with single_threaded_blas() as workers:
                if set(blas_threads()) != {1} or workers != min(before):
                    return False
            return blas_threads() == before

        with single_threaded_blas():
            assert in_a_child(check) == 0
            assert set(blas_threads()) == {1}  # the parent is not disturbed
        assert blas_threads() == before


@fork_only
def test_a_child_forked_while_a_lock_is_held_does_not_wait_for_it():
    held, release = threading.Event(), threading.Event()

    def hold():
        with threads._pool_lock, threads._guard._lock:
            held.set()
            release.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(20)

        def check():
            with single_threaded_blas():
                return fold(uneven, 3, str.__add__, 2) == "0,1,2,"

        assert in_a_child(check) == 0
    finally:
        release.set()
        holder.join()
