"""Several processes for one pre-training: ``torchrun``, and workers that never outlive it.

The launcher leases the GPUs; its workers lease nothing. It stops them when one of them fails, and hands
SIGTERM and SIGINT on to them, with 30 s to save and end. Should the launcher be killed, its lease is
free at once, and the kernel kills the workers with it. Several nodes have a launcher each
(:mod:`genebert.pretrain.nodes`).
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from genebert.errors import GenebertError
from genebert.pretrain.nodes import Node

# Process number of the launcher, for its workers.
LAUNCHER = "GENEBERT_LAUNCHER"


def exec_torchrun(processes: int, arguments: Sequence[str], node: Node | None = None) -> NoReturn:
    """Run so many workers on this node, and exit as they do.

    Parameters
    ----------
    processes
        Workers: one a GPU.
    arguments
        What each worker runs: ``["-m", "genebert", "pretrain", ...]``.
    node
        This one, where workers of others take part.

    Raises
    ------
    SystemExit
        With 0, the code of the worker that failed first, which has said why, or 128 + the signal that
        ended all.
    GenebertError
        If a worker was killed, or the nodes find no way to one another.
    """
    # Not above: workers come here for die_with_parent, and should not load torch before it.
    from torch.distributed import DistError  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.run import parse_args, run  # noqa: PLC0415

    os.environ[LAUNCHER] = str(os.getpid())
    # torchrun's own default, without its warning; workers set the threads of torch themselves.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # All that torchrun handles but SIGHUP: under nohup, closing the terminal must not end the run.
    options = [
        *(["--standalone"] if node is None else node.rendezvous()),
        f"--nproc-per-node={processes}",
        "--signals-to-handle=SIGTERM,SIGINT,SIGQUIT",
    ]
    try:
        run(parse_args([*options, *arguments]))
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode > 0:
            sys.exit(failure.exitcode)
        where = "" if node is None else f" on node {node.number + 1} of {node.of}"
        raise GenebertError(
            f"worker {rank}{where} was killed by {failure.signal_name()}",
            "if nobody killed it, memory ran out: ask for more, or lower compute.batch_per_device",
        ) from None
    except DistError as error:
        if node is None:
            raise
        raise GenebertError(
            f"the nodes do not meet at port {node.port} of {node.address}: "
            f"{str(error).partition(chr(10))[0]}",
            "run again, for another job has another port; compute nodes must reach each other's ports",
        ) from None
    sys.exit(0)


def die_with_parent() -> None:
    """Have the kernel kill this worker when its launcher ends, however that ends.

    Call it first thing: an orphan would keep computing on a GPU that another job may lease.
    """
    if sys.platform != "linux":
        return
    parent_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
    # It may have ended before the kernel was asked.
    if os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)
