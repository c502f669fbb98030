"""The sub-command that says where a file came from."""

# ruff: noqa: PLC0415
import argparse
import sys

from genebert.cli.options import Stages


def _provenance(options: argparse.Namespace) -> str:
    from genebert.lineage import lineage

    options.stream = sys.stdout
    return lineage(options.file)


STAGES: Stages = {
    "provenance": (
        _provenance,
        "say where a model, corpus or table came from: settings, inputs with checksums, versions, "
        "seed, code and hardware, down to the raw inputs; and what has changed since",
        {
            "file": {
                "help": "a file that a stage made, its record, or the folder of a model, corpus or run"
            }
        },
    ),
}
