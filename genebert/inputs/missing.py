"""Input files that no run could have: what a configuration and its sheet name, and nobody will fetch."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from genebert.config import Config, parse_model
from genebert.errors import GenebertError
from genebert.inputs.sheet import Sample
from genebert.inputs.source import parse_source


def missing_files(config: Config, samples: Iterable[Sample]) -> list[tuple[str, str]]:
    """Return (where it is named, path) of every local input that is no file.

    Parameters
    ----------
    config
        The configuration; its paths count from the working folder.
    samples
        Rows of its sheet.
    """
    return [
        (f"{where}; a folder lies there" if Path(path).is_dir() else where, path)
        for where, path in _local_files(config, samples)
        if not Path(path).is_file()
    ]


def refuse_missing(config: Config, samples: Iterable[Sample]) -> None:
    """Raise a GenebertError that names all of :func:`missing_files`, if there are any."""
    missing = missing_files(config, samples)
    fix = "correct the paths; they count from the folder in which you call this"
    if len(missing) == 1:
        ((where, path),) = missing
        raise GenebertError(f"input file {path} does not exist", fix, where)
    if missing:
        each = "".join(f"\n  {path}  ({where})" for where, path in missing)
        raise GenebertError(f"input files that do not exist: {len(missing)}{each}", fix)


def _local_files(config: Config, samples: Iterable[Sample]) -> Iterator[tuple[str, str]]:
    """Yield (where it is named, path) of every input that has no address to be fetched from."""
    named = [
        (f"{key} in the configuration", parse_source(text)) for key, text in config.sources().items()
    ]
    named += [(sample.where, sample.source) for sample in samples]
    yield from ((where, source.text) for where, source in named if source.url is None)
    for name, variant in config.pretrain.variants.items():
        if variant.init_from is not None:
            yield f"pretrain.variants.{name}.init_from", f"{variant.init_from}/config.json"
    for text in config.model_texts().values():
        # Other names of Hugging Face are those of its hub.
        if text.startswith(("hf:/", "hf:.")):
            yield f"model {text} of the benchmarks", f"{parse_model(text).source}/config.json"
