"""Devices for a command: waiting, ending, sharing, passing on. Real processes, a made-up list of devices."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from core.runtime.lease import main
from core.runtime.locks import folder_lock
from tests.support import leases

LEASE = [sys.executable, "-m", "core.runtime.lease"]
SHOW = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
HOLD = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read line; exit 7"]  # until its stdin ends


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIP4STR_GPUS", "GPU-a,GPU-b")
    monkeypatch.setenv("CLIP4STR_LEASES", str(tmp_path / "locks"))
    for name in ("CUDA_VISIBLE_DEVICES", "CLIP4STR_LEASE"):
        monkeypatch.delenv(name, raising=False)


def lease(*arguments, command=SHOW):
    return subprocess.run([*LEASE, *arguments, "--", *command], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def hold(*arguments, command=HOLD):
    """A command that has its devices until told to end, and their names."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([*LEASE, *arguments, "--", *command], text=True, **pipes)
    return process, process.stdout.readline().strip()


def wait_in_line(*arguments):
    """A command that has to wait, and the first line it says about that."""
    process = subprocess.Popen([*LEASE, *arguments, "--", *SHOW], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return process, process.stderr.readline().strip()


def end(process):
    """What a process wrote, once it has ended."""
    return process.communicate(timeout=60)[0].strip()


def test_a_waiting_command_says_who_holds_what_and_gets_what_is_freed():
    (first, its_device), (second, its) = hold(), hold()
    assert {its_device, its} == {"GPU-a", "GPU-b"}
    third, said = wait_in_line()
    assert said == "waiting for 1 of 2 GPUs"
    assert third.stderr.readline().startswith(f"  GPU-a: pid {first.pid} since ")
    listed = subprocess.run([*LEASE, "--list"], capture_output=True, text=True).stdout
    assert f"GPU-b: pid {second.pid} " in listed and "waits as number 1: " in listed and "echo $CUDA" in listed
    second.kill()
    assert end(third) == "GPU-b"
    end(first)
    assert first.returncode == 7 and second.wait() == -signal.SIGKILL
    assert subprocess.run([*LEASE, "--list"], capture_output=True, text=True).stdout == "GPU-a: free\nGPU-b: free\n"


def test_nobody_looks_or_takes_while_another_does(tmp_path):
    """Whoever has the folder's lock may look at the slots and then take one: until it ends, others neither queue nor take."""
    (tmp_path / "locks").mkdir()
    with folder_lock(tmp_path / "locks"):
        newcomer = subprocess.Popen([*LEASE, "--", *SHOW], text=True, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):  # both devices are free
            newcomer.wait(5)
        assert not list((tmp_path / "locks").glob("waits-*"))
    assert end(newcomer) == "GPU-a"
    holders = [hold()[0], hold()[0]]
    waiting, _ = wait_in_line()
    with folder_lock(tmp_path / "locks"):
        end(holders[0])
        with pytest.raises(subprocess.TimeoutExpired):  # a device has become free
            waiting.wait(3)
    assert end(waiting) == "GPU-a"
    end(holders[1])


def test_two_devices_are_taken_at_once_and_in_turn():
    """Who wants both is not overtaken by who comes later and wants one, although one is free all the time."""
    first, _ = hold()
    both, said = wait_in_line("--gpus", "2")
    late, said_late = wait_in_line()
    assert said == "waiting for 2 of 2 GPUs" and said_late == "waiting for 1 of 2 GPUs"
    assert both.poll() is None and late.poll() is None
    end(first)
    assert end(both) == "GPU-a,GPU-b" and end(late) in ("GPU-a", "GPU-b")


def test_who_gives_up_waiting_leaves_the_line():
    first, _ = hold("--gpus", "2")
    impatient, _ = wait_in_line("--gpus", "2")
    patient, _ = wait_in_line()
    impatient.kill()
    impatient.wait()
    end(first)
    assert end(patient) in ("GPU-a", "GPU-b")  # an ending process lets go of one after the other


def test_other_devices_are_another_line(monkeypatch):
    first, _ = hold()
    waiting = subprocess.Popen([*LEASE, "--", *SHOW], env={**os.environ, "CUDA_VISIBLE_DEVICES": "0"}, stdout=subprocess.PIPE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert lease().stdout == "GPU-b\n" and waiting.poll() is None
    end(first)
    assert end(waiting) == b"GPU-a"


def test_a_child_keeps_the_device_that_its_killed_parent_had():
    """A loader process of a killed training: the driver has not given the memory back either."""
    parent, device = hold(command=["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 60 & echo $!; wait"])
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    listed = subprocess.run([*LEASE, "--list"], capture_output=True, text=True).stdout
    assert f"{device}: a process that pid {parent.pid} left behind when it ended" in listed
    os.kill(child, signal.SIGKILL)
    assert lease("--gpus", "2").stdout == "GPU-a,GPU-b\n"


TEAM = """
import subprocess, sys, time
from core.runtime.lease import join
if len(sys.argv) > 1:
    join()
    print("joined", flush=True)
else:
    print(subprocess.Popen([sys.executable, __file__, "member"]).pid, flush=True)
time.sleep(60)
"""


def test_a_member_of_a_team_joins_the_lease_of_its_launcher(tmp_path):
    """Launchers start their processes without inherited files."""
    (tmp_path / "team.py").write_text(TEAM)
    environment = {**os.environ, "PYTHONPATH": "."}
    command = [*LEASE, "--gpus", "2", "--", sys.executable, str(tmp_path / "team.py")]
    launcher = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    member = int(launcher.stdout.readline())
    assert launcher.stdout.readline() == "joined\n"
    launcher.kill()
    launcher.wait()
    next_one, said = wait_in_line("--gpus", "2")
    assert said == "waiting for 2 of 2 GPUs" and next_one.poll() is None
    os.kill(member, signal.SIGKILL)
    assert end(next_one) == "GPU-a,GPU-b"


def test_a_lease_within_a_lease_hands_on_what_it_was_lent():
    inner = " ".join([*LEASE, "--", "sh", "-c", "'echo inner $CUDA_VISIBLE_DEVICES'"])
    other, device = hold()
    done = lease(command=["sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; {inner}; {inner}"])
    assert device == "GPU-a" and done.stdout == "GPU-b\ninner GPU-b\ninner GPU-b\n", done.stderr
    end(other)


def test_sharing_needs_the_consent_of_all_who_share():
    (alone, where), (two, place), (three, other) = hold(), hold("--share", "2"), hold("--share", "2")
    assert (where, place, other) == ("GPU-a", "GPU-b", "GPU-b")
    fourth, _ = wait_in_line("--share", "2")
    end(alone)
    assert end(fourth) == "GPU-a"
    end(two)
    fifth, _ = wait_in_line("--gpus", "2")
    end(three)
    assert end(fifth) == "GPU-a,GPU-b"


def test_status_and_signals_are_the_commands_own():
    assert lease(command=["sh", "-c", "exit 42"]).returncode == 42
    assert lease(command=["sh", "-c", "kill -PIPE $$"]).returncode == -signal.SIGPIPE
    assert lease(command=["echo", "a b", "$HOME", "--gpus", "--"]).stdout == "a b $HOME --gpus --\n"
    process, _ = hold()
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_without_gpus_the_command_just_runs(monkeypatch):
    monkeypatch.setenv("CLIP4STR_GPUS", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert lease("--gpus", "8").stdout == "0\n"
    monkeypatch.setenv("CLIP4STR_GPUS", "GPU-a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert lease("--gpus", "8").stdout == "-1\n"


@pytest.mark.parametrize(
    ("arguments", "command", "status", "said"),
    [
        (["--gpus", "3"], SHOW, 1, "--gpus 3: this machine lets us use 2 (GPU-a, GPU-b; CUDA_VISIBLE_DEVICES: not set)"),
        (["--share", "0"], SHOW, 2, "--share: expected a whole number of at least 1"),
        ([], ["no-such-program"], 127, "no-such-program: there is no such program"),
        ([], [], 2, "which command?"),
    ],
)
def test_what_cannot_be_is_refused(arguments, command, status, said):
    done = lease(*arguments, command=command)
    assert done.returncode == status and said in done.stderr


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_hands_out_no_device(monkeypatch, capsys, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(SystemExit) as stop:
        main(["--", "true"])
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot be locked ({os.strerror(number)}): set CLIP4STR_LEASES to a folder on a local disk" in line


def test_200_jobs_killed_at_random_never_have_one_device_twice(tmp_path):
    seen = leases.run(tmp_path, jobs=200)
    assert "double" not in seen
    assert seen["status 0"] <= seen["exit"] <= seen["enter"] - seen["killed at work"]  # one may be killed as it says "exit"
    assert seen["status 0"] + seen["killed early"] + seen["killed at work"] == 200
    assert seen["killed early"] >= 20 and seen["killed at work"] >= 20 and seen["pairs"] >= 20


def test_shared_devices_have_no_more_jobs_than_they_are_shared_by(tmp_path):
    assert "double" not in leases.run(tmp_path, jobs=60, share=2, places=2)


def test_the_storm_sees_a_device_handed_out_twice(tmp_path):
    """Two jobs on a device, where the storm expects one."""
    assert leases.run(tmp_path, jobs=30, gpus=2, share=2)["double"] > 0
