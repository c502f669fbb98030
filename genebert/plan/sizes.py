"""How much there will be of everything: from configuration, sheet and the files that are there."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from genebert.config import Config
from genebert.errors import GenebertError
from genebert.files import read_lines
from genebert.inputs.sheet import Sample
from genebert.inputs.source import Source, parse_source, place_of
from genebert.plan.constants import assumed, constants
from genebert.plan.files import Text, text_of
from genebert.plan.tasks import Catalogue, TaskSizes, task_sizes

# Peak files of so many bytes together are read, to count the places that they share.
_READ = 16 << 20
_PEAK = re.compile(r"([^\t]+)\t([0-9]{1,10})\t([0-9]{1,10})\b")


@dataclass(frozen=True)
class Sizes:
    """How much there will be.

    Attributes
    ----------
    bp
        Of the genome.
    known_bp
        Of it, those that are not N.
    input_mb
        Of all input files, as they lie there or are fetched.
    fetched
        Bytes of each file that is fetched, by its place below the folder of fetched files.
    peaks
        Of each sample.
    cell_types
        Number.
    regions, width
        Of the catalogue; bp of a region.
    openings
        Pairs of a region and a cell type that it is open in.
    motifs
        Rows of a matrix.
    hits
        Of all motifs in all regions.
    tasks
        Of each task.
    assumptions
        What is taken for granted, a line each.
    """

    bp: int
    known_bp: int
    input_mb: float
    fetched: Mapping[str, int]
    peaks: Mapping[str, int]
    cell_types: int
    regions: int
    width: int
    openings: int
    motifs: int
    hits: int
    tasks: Mapping[str, TaskSizes]
    assumptions: tuple[str, ...]

    def scaled(self, more: float) -> "Sizes":
        """Return the sizes with so many times the regions, and what is in them."""
        regions, openings, hits = (
            ceil(more * number) for number in (self.regions, self.openings, self.hits)
        )
        return replace(self, regions=regions, openings=openings, hits=hits)

    def corpus_bytes(self) -> int:
        """Return the bytes of the corpus's columns in memory."""
        return self.regions * (self.width + self.motifs + 21) + 2 * self.openings


def expected(config: Config, samples: Sequence[Sample]) -> Sizes:
    """Return the sizes to expect before anything runs.

    Files that are there are looked at: lines are counted in their first 64 kB and taken to be as long
    in the rest. What is still to be fetched is assumed, and said so.

    Parameters
    ----------
    config
        The configuration; its paths count from the working folder.
    samples
        Rows of its sheet.
    """
    said: list[str] = []
    folder = config.downloads.folder
    named = {key: parse_source(text) for key, text in config.sources().items()}
    paths = {key: source.path(folder) for key, source in named.items()}
    found = {path: text_of(path) for path in {*paths.values(), *(sample.path for sample in samples)}}

    bp, known = _genome(paths["genome.fasta"], found, said)
    peaks = _peaks(config, samples, found, said)
    by_type: dict[str, int] = {}
    for sample in samples:
        by_type[sample.cell_type] = by_type.get(sample.cell_type, 0) + peaks[sample.sample]
    regions = min(_loci(config, samples, peaks, found, said), known // config.regions.width or 1)
    openings = min(sum(by_type.values()), regions * len(by_type))
    motifs = _motifs(paths["motifs.file"], said)
    sources = [*named.values(), *(sample.source for sample in samples)]
    fetched = _fetched(sources, folder, said)
    local = {Path(source.text) for source in sources if source.url is None}
    lying = sum(path.stat().st_size for path in local if path.is_file())
    sizes = Sizes(
        bp=bp,
        known_bp=known,
        input_mb=(lying + sum(fetched.values())) / 1e6,
        fetched=fetched,
        peaks=peaks,
        cell_types=len(by_type),
        regions=regions,
        width=config.regions.width,
        openings=openings,
        motifs=motifs,
        hits=hits_of(regions, motifs, config),
        tasks={},
        assumptions=(),
    )
    catalogue = Catalogue(regions, openings, len(by_type), config.regions.width, known)
    tasks = {
        name: task_sizes(name, config, found, paths, catalogue, said) for name in config.benchmarks.tasks
    }
    return replace(sizes, tasks=tasks, assumptions=tuple(dict.fromkeys(said)))


def hits_of(regions: int, motifs: int, config: Config) -> int:
    """Return the hits to expect: those of chance, times what was measured on real sequence."""
    chance = 2 * config.regions.width * config.motifs.p_value * motifs
    return round(regions * chance * constants()["hits_over_chance"])


def _genome(path: str, found: Mapping[str, Text | None], said: list[str]) -> tuple[int, int]:
    text = found[path]
    if text is None:
        bp = round(assumed("genome_bp"))
        said.append(f"{path} is not there yet, or no text: a genome of {bp:,} bp")
        return bp, bp
    # A stretch of N packs to nothing: what is known is what takes space.
    bits = Path(path).stat().st_size * 8
    packed = path.endswith(("gz", "bgz"))
    known = round(bits / assumed("bits_of_a_packed_base")) if packed else text.bytes
    return text.bytes, min(known, text.bytes)


def _peaks(
    config: Config, samples: Sequence[Sample], found: Mapping[str, Text | None], said: list[str]
) -> dict[str, int]:
    typical = round(assumed("peaks_of_a_sample"))
    top, peaks = config.peaks.top, {}
    for sample in samples:
        text = found[sample.path]
        number = typical if text is None else text.lines
        peaks[sample.sample] = max(1, min(number, top or number))
    absent = sum(found[sample.path] is None for sample in samples)
    if absent:
        said.append(
            f"{absent} of {len(samples)} peak files are not there yet, or no text: "
            f"{typical:,} peaks each"
        )
    return peaks


def _loci(
    config: Config,
    samples: Sequence[Sample],
    peaks: Mapping[str, int],
    found: Mapping[str, Text | None],
    said: list[str],
) -> int:
    """Return how many different places the peaks lie at."""
    texts = [found[sample.path] for sample in samples]
    if all(texts) and sum(text.bytes for text in texts if text) <= _READ and config.peaks.top is None:
        try:
            return len(set().union(*(_places(sample.path, config.regions.width) for sample in samples)))
        except GenebertError:
            pass  # a damaged file: preflight says which and how
    power, total, number = assumed("sharing_power"), sum(peaks.values()), len(peaks)
    said.append(
        f"peaks are shared between samples as in a published index of DNase sites: of {number} samples, "
        f"{number**power:.1f} times the regions of one"
    )
    return max(1, round(total / number * number**power))


def _places(path: str, width: int) -> set[tuple[str, int]]:
    """Return the middles of a file's peaks, in steps of a region's width."""
    peaks = filter(None, (_PEAK.match(row) for _, row in read_lines(path)))
    return {(peak[1], (int(peak[2]) + int(peak[3])) // 2 // width) for peak in peaks}


def _motifs(path: str, said: list[str]) -> int:
    heads = (">", "MOTIF ", "ID ", "ID\t")  # JASPAR, MEME, TRANSFAC
    try:
        return max(1, sum(row.startswith(heads) for _, row in read_lines(path)))
    except GenebertError:
        said.append(f"{path} is not there yet, or no text: {assumed('motifs'):,.0f} motifs")
        return round(assumed("motifs"))


def _fetched(sources: Sequence[Source], folder: str, said: list[str]) -> dict[str, int]:
    """Return the bytes of each file that is named by an address: as it lies there, or as assumed."""
    # One file may be named several times: with a checksum and without, by accession and by address.
    paths = {place_of(source.url): Path(source.path(folder)) for source in sources if source.url}
    known: dict[str, int] = constants()["assumed"]["download_bytes"]["value"]
    fetched = {}
    for place, path in paths.items():
        kind = next((ending for ending in known if place.endswith(ending)), ".bed.gz")
        fetched[place] = path.stat().st_size if path.is_file() else known[kind]
    absent = sum(not path.is_file() for path in paths.values())
    if absent:
        said.append(f"{absent} files to fetch, {sum(fetched.values()) / 1e9:.1f} GB, of usual sizes")
    return fetched
