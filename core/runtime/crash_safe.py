"""A process pool that survives worker crashes and reports the job that crashed.

LMDB reads through mapped memory: damage that it does not notice ends the process (SIGBUS, SIGSEGV) instead of raising. The
standard library's pool breaks as a whole then and does not say which job it was; this adds that to it. (pebble's pool does
too, as one more dependency.)
"""

import faulthandler
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import NamedTuple


class WorkerCrash(NamedTuple):
    """A process ended without a result."""

    by: str  # the signal's name, or the exit status

    def __str__(self) -> str:
        if self.by == "SIGKILL":
            return "ended the process (SIGKILL), mostly for lack of memory; try fewer --workers"
        return f"ended the process ({self.by}): the file is damaged inside; copy or build it again"


def crash_safe_map(function: Callable, jobs: Sequence, workers: int) -> Iterator:
    """function(job) of every job in order, in several processes; WorkerCrash where a job ends its process.

    Raises:
        Exception: whatever `function` raises.
    """
    pool = ProcessPoolExecutor(workers, initializer=expect_crashes)
    try:
        futures = {number: pool.submit(function, job) for number, job in enumerate(jobs)}
        while futures:
            number = next(iter(futures))
            try:
                result = futures[number].result()
            except BrokenProcessPool:
                wait(futures.values())
                broken = [n for n, future in futures.items() if isinstance(future.exception(), BrokenProcessPool)]
                pool.shutdown()
                # Jobs start in order, so the one that crashed is among the first `workers`: each of these runs in a
                # process of its own, which tells it from the others. The rest goes to a new pool.
                for n in broken[:workers]:
                    futures[n] = run_isolated(function, jobs[n])
                pool = ProcessPoolExecutor(workers, initializer=expect_crashes)
                for n in broken[workers:]:
                    futures[n] = pool.submit(function, jobs[n])
                continue
            del futures[number]
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def run_isolated(function: Callable, job: object) -> Future:
    """function(job) in a process of its own; the result is WorkerCrash if the job ends the process."""
    receiver, sender = Pipe(duplex=False)
    process = Process(target=send_result, args=(sender, function, job))
    process.start()
    sender.close()  # ours: with it open, recv would wait for ever for a process that crashed
    future = Future()
    try:
        value, error = receiver.recv()
        future.set_exception(error) if error else future.set_result(value)
    except EOFError:
        process.join()
        status = process.exitcode
        future.set_result(WorkerCrash(signal.Signals(-status).name if status < 0 else f"exit status {status}"))
    process.join()
    return future


def expect_crashes() -> None:
    """The crash of a worker is reported as its job's result; a traceback of ours on stderr would say less, and alarm."""
    faulthandler.disable()


def send_result(sender: Connection, function: Callable, job: object) -> None:
    expect_crashes()
    try:
        sender.send((function(job), None))
    except Exception as error:  # raised again in the parent
        sender.send((None, error))
