"""A process pool that survives worker crashes and reports the job that crashed.

LMDB reads through mapped memory. Damage that it does not notice ends the process (SIGBUS, SIGSEGV) instead of raising.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import NamedTuple


class WorkerCrash(NamedTuple):
    """A process ended without an answer."""

    by: str  # the signal's name, or the exit status

    def __str__(self) -> str:
        if self.by == "SIGKILL":
            return "ended the process (SIGKILL), mostly for want of memory; try fewer --workers"
        return f"ended the process ({self.by}): the file is damaged inside; copy or build it again"


def crash_safe_map(function: Callable, jobs: Sequence, workers: int) -> Iterator:
    """function(job) of every job in order, in several processes; WorkerCrash where it ends its process every time.

    After a death, the jobs in hand are done one after another, each alone, which tells the one that kills.

    Raises:
        Exception: whatever `function` raises.
    """
    pool = ProcessPoolExecutor(workers)
    try:
        answers = {number: pool.submit(function, job) for number, job in enumerate(jobs)}
        while answers:
            number = next(iter(answers))
            try:
                answer = answers[number].result()
            except BrokenProcessPool:
                wait(answers.values())
                broken = [n for n, future in answers.items() if isinstance(future.exception(), BrokenProcessPool)]
                pool.shutdown()
                for n in broken[:workers]:
                    answers[n] = alone(function, jobs[n])
                pool = ProcessPoolExecutor(workers)
                for n in broken[workers:]:
                    answers[n] = pool.submit(function, jobs[n])
                continue
            del answers[number]
            yield answer
    finally:
        pool.shutdown(cancel_futures=True)


def alone(function: Callable, job: object) -> Future:
    """function(job) in a process that does nothing else; the result is WorkerCrash where it ends the process."""
    receiver, sender = Pipe(duplex=False)
    process = Process(target=send_answer, args=(sender, function, job))
    process.start()
    sender.close()
    answer = Future()
    try:
        value, error = receiver.recv()
        answer.set_exception(error) if error else answer.set_result(value)
    except EOFError:
        process.join()
        status = process.exitcode
        answer.set_result(WorkerCrash(signal.Signals(-status).name if status < 0 else f"exit status {status}"))
    process.join()
    return answer


def send_answer(sender: Connection, function: Callable, job: object) -> None:
    try:
        sender.send((function(job), None))
    except Exception as error:  # raised again where the answer is asked for
        sender.send((None, error))
