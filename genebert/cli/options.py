"""Options that several sub-commands share, and how their values are read."""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from genebert import config
from genebert.errors import GenebertError

Stage = Callable[[argparse.Namespace], str]
Options = dict[str, dict[str, Any]]
Stages = dict[str, tuple[Stage, str, Options]]
S = TypeVar("S", bound=config.Section)
# Options whose values are sections of the configuration.
_JSON = ("settings", "cell_types")


def needed(explanation: str, **more: Any) -> dict[str, Any]:
    """Return an option that must be given."""
    return {"required": True, "help": explanation, **more}


def optional(explanation: str, default: Any = None, **more: Any) -> dict[str, Any]:
    """Return an option that may be left out; its default is shown."""
    shown = "" if default is None else f" (default: {default})"
    return {"default": default, "help": explanation + shown, **more}


def section(model: type[S], text: str, flag: str = "--settings") -> S:
    """Read a section of the configuration from JSON, the value of an option."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise GenebertError(f"{flag} is no JSON: {error}", "give one JSON object") from None
    return config.parse_section(model, raw, flag)


def named(texts: Sequence[str], flag: str) -> dict[str, str]:
    """Read ``name=value`` texts, the values of an option."""
    pairs = [text.partition("=") for text in texts]
    for text, (_, equals, _) in zip(texts, pairs, strict=True):
        if not equals:
            raise GenebertError(f"{flag} '{text}' names nothing", "write name=value")
    return {name: value for name, _, value in pairs}


def chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Return the values of some options by name, as a record keeps them; JSON is read."""
    values = {name: getattr(options, name) for name in names}
    return {name: json.loads(value) if name in _JSON else value for name, value in values.items()}


def segments(options: argparse.Namespace) -> Any:
    """Return the stretches of the genome with their splits."""
    from genebert.genome import read_lengths, split_segments  # noqa: PLC0415

    lengths = read_lengths(f"{options.genome}.fai")
    return split_segments(lengths, options.validation, options.test)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no regular expression: {error}") from None
    return text


OUT: Options = {"--out": needed("file to write")}
GENOME: Options = {"--genome": needed("FASTA made by index-genome; its .fai lies beside it")}
SAMPLES: Options = {
    "--samples": needed("sheet of samples"),
    "--data": optional("folder of fetched files", "data"),
}
DATA: Options = {"--data": SAMPLES["--data"]}
LOCK: Options = {"--lock": optional("checksums of unpinned downloads", "config/downloads.lock.tsv")}
CONTIGS: Options = {
    "--contigs": optional("regular expression of the contigs in use", ".+", type=_pattern)
}
HELD_OUT: Options = {
    "--validation": needed("contigs or intervals (chrom:start-end)", nargs="+"),
    "--test": needed("contigs or intervals (chrom:start-end)", nargs="+"),
}
WIDTH: Options = {"--width": needed("width of a region in bp", type=int)}
MOTIFS: Options = {"--motifs": needed("table made by `motifs`")}
REGIONS: Options = {"--regions": needed("regions.parquet")}
ACCESSIBILITY: Options = {"--accessibility": needed("accessibility.parquet")}
CHUNK: Options = {
    "--chunk": needed("which chunk, from 0", type=int),
    "--chunks": needed("of how many", type=int),
}
CORPUS: Options = {"--corpus": needed("folder of the corpus")}
SEED: Options = {"--seed": needed("seed", type=int)}
BLOCK: Options = {"--block-bp": needed("bp of a bootstrap block", type=int)}
SETTINGS: Options = {"--settings": needed("section of the configuration as JSON")}
COMPUTE: Options = {"--compute": optional("section `compute` of the configuration as JSON", "{}")}
HELD_OUT_CELL_TYPES: Options = {
    "--held-out-cell-types": optional("cell types that are never seen", (), nargs="*")
}
