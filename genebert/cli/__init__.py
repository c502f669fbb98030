"""The command line: one sub-command a stage. Each parses, calls one function and prints its line.

Stages are imported when they are run, so that a light one starts at once.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from genebert import __version__, one_run
from genebert.cli import benchmarks, corpus, inputs, models, plan, provenance
from genebert.cli.options import Stage
from genebert.errors import GenebertError, first_line, fix_of, root_of, shown, unwritable

STAGES = (
    inputs.STAGES | corpus.STAGES | models.STAGES | benchmarks.STAGES | provenance.STAGES | plan.STAGES
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one sub-command; exit 0, or 1 with what is wrong and how to mend it."""
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    finally:
        _say("", sys.stdout)  # what --help has left to be written
    stage: Stage = options.stage
    # Schedulers stop jobs with SIGTERM: leave as from any error, so that temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        one_run.join()
        _say(f"{stage(options)}\n", options.stream)
    except GenebertError as error:
        if options.debug:
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if options.debug:
            raise
        root = root_of(error)
        # Nameless is what a log refuses.
        where = "" if root.filename else f" (`genebert {options.command}`)"
        _fail(f"{shown(first_line(root))}{where}\nfix: {fix_of(root)}")
    except Exception as error:
        if options.debug:
            raise
        _fail(
            f"internal error: {type(error).__name__}: {error}\n"
            f"fix: run again as `genebert --debug {options.command} …` and report the traceback"
        )
    sys.exit(0)


def _say(text: str, stream: TextIO) -> None:
    """Print; where the reader has left, as `head` does, end without a word."""
    try:
        print(text, end="", file=stream, flush=True)
    except OSError as error:
        left = isinstance(error, BrokenPipeError)
        if stream is sys.stderr and not left:
            raise
        # Python flushes once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if left:
            sys.exit(1)
        _fail(str(unwritable("stdout", error)))


def _fail(message: str) -> NoReturn:
    try:
        print(f"error: {message}", file=sys.stderr)
    except OSError:
        # Stderr is a log on the disk that is full: the terminal is told. Closed, for a flush that fails
        # at the end would change the exit code.
        with contextlib.suppress(OSError):
            sys.stderr.close()
        print(f"error: {message}", flush=True)
    sys.exit(1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all sub-commands; ``corpus check`` is one below ``corpus``."""
    parser = argparse.ArgumentParser(
        prog="genebert", description="The stages of the GeneBERT workflow, one sub-command each."
    )
    parser.add_argument("--version", action="version", version=f"genebert {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    # What a stage says of its result goes to stderr, the log; what a person asks for goes to stdout.
    parser.set_defaults(stream=sys.stderr)
    groups = {"": parser.add_subparsers(dest="command", required=True, metavar="STAGE")}
    for name, (function, explanation, options) in STAGES.items():
        group, _, command_name = name.rpartition(" ")
        if group not in groups:
            about = corpus.GROUPS[group]
            parent = groups[""].add_parser(group, help=about, description=about)
            groups[group] = parent.add_subparsers(dest="action", required=True, metavar="ACTION")
        command = groups[group].add_parser(command_name, help=explanation, description=explanation)
        for flag, details in options.items():
            command.add_argument(flag, **details)
        command.set_defaults(stage=function)
    return parser
