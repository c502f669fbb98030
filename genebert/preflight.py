"""Every input against the genome, before any work starts."""

from collections.abc import Sequence
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, sha256
from genebert.genome import read_lengths, split_segments
from genebert.inputs.peaks import read_blacklist, read_peaks, read_task_intervals
from genebert.inputs.sheet import read_samples
from genebert.motifs.jaspar import read_jaspar

Row = tuple[str, str | Path, int]


def preflight(
    fasta: str | Path,
    samples: str | Path,
    motifs: str | Path,
    blacklist: str | Path | None,
    validation: Sequence[str],
    test: Sequence[str],
    width: int,
    out: str | Path,
) -> str:
    """Read every input of the corpus once, in full, and write what was found as a table.

    Parameters
    ----------
    fasta
        Indexed genome.
    samples, motifs, blacklist
        The sheet, the motif file and the optional blacklist.
    validation, test
        The held-out contigs or intervals.
    width
        Width of a region in bp: a held-out stretch must hold at least one.
    out
        Table to write: input, path, records, sha256.

    Raises
    ------
    GenebertError
        For the first input that does not fit; nothing is written then.
    """
    lengths = read_lengths(f"{fasta}.fai")
    for segment in split_segments(lengths, validation, test):
        if segment.split != "train" and segment.end - segment.start < width:
            raise GenebertError(
                f"{segment.chrom}:{segment.start}-{segment.end} is shorter than a region ({width} bp)",
                "hold out a longer stretch, or lower regions.width",
                f"genome.split.{segment.split}",
            )
    rows: list[Row] = [("genome", fasta, len(lengths)), ("motifs", motifs, len(read_jaspar(motifs)))]
    if blacklist is not None:
        rows.append(("blacklist", blacklist, len(read_blacklist(blacklist, lengths))))
    for sample in read_samples(samples):
        rows.append((sample.sample, sample.path, len(read_peaks(sample, lengths))))
    _write(rows, out)
    return f"{len(rows)} inputs fit the genome ({len(lengths)} contigs)"


def preflight_task(
    fasta: str | Path, name: str, bed_file: str | Path, contig_style: str, out: str | Path
) -> str:
    """Read the intervals of a task once, in full, and write what was found as a table.

    Parameters
    ----------
    fasta
        Indexed genome.
    name
        Of the task.
    bed_file, contig_style
        BED6 file and the style its contigs are renamed to.
    out
        Table to write: input, path, records, sha256.

    Raises
    ------
    GenebertError
        If the file does not fit; nothing is written then.
    """
    lengths = read_lengths(f"{fasta}.fai")
    bed = read_task_intervals(bed_file, contig_style, name, lengths)
    _write([(name, bed_file, len(bed))], out)
    return f"{len(bed)} intervals of task '{name}' fit the genome"


def _write(rows: Sequence[Row], out: str | Path) -> None:
    with open_text_for_writing(out) as text:
        text.write("input\tpath\trecords\tsha256\n")
        for name, path, records in rows:
            text.write(f"{name}\t{path}\t{records}\t{sha256(path)}\n")
