"""Configuration of a cluster that fits into one folder and pretends what the machine does not have."""

from __future__ import annotations

import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different."""
    with_sockets = [socket.socket() for _ in range(count)]
    for one in with_sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def slurm_conf(
    folder: Path, *, user: str, nodes: list[str], cpus: int, gpus: int, memory_mb: int, partition: str, grace: int
) -> str:
    """The text of slurm.conf; all state, sockets and logs below `folder`.

    Args:
        memory_mb: of each node.
        grace: seconds between SIGTERM and SIGKILL when a job is cancelled or out of time (Slurm's KillWait).
    """
    controller, *ports = free_ports(1 + len(nodes))
    lines = [
        "ClusterName=loopback",
        f"SlurmctldHost={socket.gethostname()}(127.0.0.1)",
        f"SlurmctldPort={controller}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/munge/socket",
        "CredType=cred/munge",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool-%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd-%n.log",
        f"PlugStackConfig={folder}/plugstack.conf",  # not the machine's
        # Control groups are often not to be had inside a container: processes are found by their parents, none is bound.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "SwitchType=switch/none",
        "MpiDefault=none",
        "SlurmdParameters=config_overrides",  # believe the lines below, not the machine
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "DefMemPerCPU=1000",
        "SchedulerParameters=sched_min_interval=100000,bf_interval=1",
        "GresTypes=gpu",
        "ReturnToService=2",
        "MinJobAge=3600",  # there is no accounting: finished jobs are asked for with squeue
        f"KillWait={grace}",
        "UnkillableStepTimeout=300",
    ]
    for name, port in zip(nodes, ports, strict=True):
        what = f"CPUs={cpus} RealMemory={memory_mb} Gres=gpu:{gpus}"
        lines.append(f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} {what}")
    lines.append(f"PartitionName={partition} Nodes={','.join(nodes)} Default=YES MaxTime=INFINITE State=UP")
    return "\n".join(lines) + "\n"


def gres_conf(folder: Path, gpus: int) -> str:
    """The text of gres.conf: `gpus` empty files gpu0, gpu1, ... of `folder` stand for the devices of each node."""
    return f"AutoDetect=off\nName=gpu Flags=nvidia_gpu_env File={folder}/gpu[0-{gpus - 1}]\n"
