"""Every input against the genome and its checksum, before any work starts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, sha256
from genebert.genome import read_lengths, split_segments
from genebert.inputs.bed import read_blacklist
from genebert.inputs.checksums import check_pinned
from genebert.inputs.locksheet import read_lock
from genebert.inputs.peaks import need_bedtools, read_peaks
from genebert.inputs.sheet import Sample, read_samples
from genebert.inputs.source import Source, canonical, source_of
from genebert.motifs.read import read_families, read_motifs

Row = tuple[str, Source, str, int]


def preflight(
    fasta: str | Path,
    genome_name: str,
    files: Mapping[str, str],
    samples: str | Path,
    contigs: str,
    data: str,
    lock: str | Path,
    validation: Sequence[str],
    test: Sequence[str],
    width: int,
    out: str | Path,
) -> str:
    """Read every input of the corpus once, in full, and write what was found as a table.

    Parameters
    ----------
    fasta, genome_name
        Indexed genome and its assembly's name.
    files
        Source by input: ``genome``, ``motifs`` and, if used, ``families``, ``blacklist``, ``mappable``.
    samples
        The sheet.
    contigs
        Regular expression of the contigs in use.
    data, lock
        Folder of fetched files and the table of their checksums.
    validation, test
        The held-out contigs or intervals.
    width
        Width of a region in bp: a held-out stretch must hold at least one.
    out
        Table to write: input, source, path, records, sha256.

    Raises
    ------
    GenebertError
        For the first input that does not fit, or all samples that do not; nothing is written then.
    """
    lengths = read_lengths(f"{fasta}.fai")
    _check_split(lengths, validation, test, width)
    readers = {
        "genome": lambda _: len(lengths),
        "motifs": lambda path: len(read_motifs(path)),
        "families": lambda path: len(read_families(path)),
        "blacklist": lambda path: len(read_blacklist(path, lengths, contigs)),
        "mappable": lambda path: len(read_blacklist(path, lengths, contigs, "peaks.mappable")),
    }
    if "blacklist" in files or "mappable" in files:
        need_bedtools()
    locked = read_lock(lock)
    rows: list[Row] = []
    for name, text in files.items():
        source = source_of(text, name)
        check_pinned(source, source.path(data), locked, name)
        rows.append((name, source, source.path(data), readers[name](source.path(data))))
    wrong: list[GenebertError] = []
    for sample in read_samples(samples, data):
        try:
            _check_assembly(sample, genome_name)
            check_pinned(sample.source, sample.path, locked, sample.where)
            records = len(read_peaks(sample, lengths, contigs))
            rows.append((sample.sample, sample.source, sample.path, records))
        except GenebertError as error:
            wrong.append(error)
    if len(wrong) > 1:
        each = "".join(f"\n  {error}".replace("\nfix: ", "\n    fix: ") for error in wrong)
        raise GenebertError(f"{len(wrong)} samples do not fit:{each}", "mend each of them")
    if wrong:
        raise wrong[0]
    _write(rows, out)
    return f"{len(rows)} inputs fit the genome ({len(lengths)} contigs)"


def preflight_task(
    fasta: str | Path,
    name: str,
    sources: Mapping[str, str],
    check: Callable[[dict[str, Path], dict[str, int]], dict[str, int]],
    data: str,
    lock: str | Path,
    out: str | Path,
) -> str:
    """Read every file of a task once, in full, and write what was found as a table.

    Parameters
    ----------
    fasta
        Indexed genome.
    name
        Of the task.
    sources
        Source of each file by its key in the task's settings.
    check
        Reads the files (path by key) against the contigs' lengths in bp; returns the number of records
        by key.
    data, lock
        Folder of fetched files and the table of their checksums.
    out
        Table to write: input, source, path, records, sha256.

    Raises
    ------
    GenebertError
        If a file does not fit; nothing is written then.
    """
    where, locked = f"benchmarks.tasks.{name}", read_lock(lock)
    found = {key: source_of(text, f"{where}.{key}") for key, text in sources.items()}
    paths = {key: Path(source.path(data)) for key, source in found.items()}
    for key, source in found.items():
        check_pinned(source, str(paths[key]), locked, f"{where}.{key}")
    records = check(paths, read_lengths(f"{fasta}.fai"))
    _write([(f"{name} {key}", found[key], str(paths[key]), records[key]) for key in found], out)
    counts = ", ".join(f"{count} of {key}" for key, count in records.items())
    return f"task '{name}' fits the genome: {counts or 'no files of its own'}"


def _check_split(
    lengths: Mapping[str, int], validation: Sequence[str], test: Sequence[str], width: int
) -> None:
    for segment in split_segments(lengths, validation, test):
        if segment.split != "train" and segment.end - segment.start < width:
            raise GenebertError(
                f"{segment.chrom}:{segment.start}-{segment.end} is shorter than a region ({width} bp)",
                "hold out a longer stretch, or lower regions.width",
                f"genome.split.{segment.split}",
            )


def _check_assembly(sample: Sample, genome_name: str) -> None:
    if sample.assembly and canonical(sample.assembly) != canonical(genome_name):
        raise GenebertError(
            f"peaks for '{sample.sample}' are of {sample.assembly}, the genome is {genome_name}",
            "use peaks of the genome's assembly, or correct `genome.name` or the row",
            sample.where,
        )


def _write(rows: Sequence[Row], out: str | Path) -> None:
    with open_text_for_writing(out) as text:
        text.write("input\tsource\tpath\trecords\tsha256\n")
        for name, source, path, records in rows:
            text.write(f"{name}\t{source.text}\t{path}\t{records}\t{sha256(path)}\n")
