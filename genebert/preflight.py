"""Every input against the genome, before any work starts."""

from collections.abc import Sequence
from pathlib import Path

from genebert.errors import GenebertError
from genebert.files import open_text_for_writing, sha256
from genebert.genome import read_lengths, rename_contig, split_segments
from genebert.inputs.peaks import check_in_genome, clean_blacklist, read_bed, read_peaks
from genebert.inputs.sheet import read_samples
from genebert.motifs.jaspar import read_jaspar


def preflight(
    fai: str | Path,
    samples: str | Path,
    motifs: str | Path,
    blacklist: str | Path | None,
    validation: Sequence[str],
    test: Sequence[str],
    width: int,
    beds: Sequence[tuple[str, str, str]],
    out: str | Path,
) -> str:
    """Read every input once, in full, and write what was found as a table.

    Parameters
    ----------
    fai
        Index of the genome.
    samples, motifs, blacklist
        The sheet, the motif file and the optional blacklist.
    validation, test
        The held-out contigs or intervals.
    width
        Width of a region in bp: a held-out stretch must hold at least one.
    beds
        (name, path, contig style) of the tasks' interval files.
    out
        Table to write: input, path, records, sha256.

    Raises
    ------
    GenebertError
        For the first input that does not fit; nothing is written then.
    """
    lengths = read_lengths(fai)
    for segment in split_segments(lengths, validation, test):
        if segment.split != "train" and segment.end - segment.start < width:
            raise GenebertError(
                f"{segment.chrom}:{segment.start}-{segment.end} is shorter than a region ({width} bp)",
                "hold out a longer stretch, or lower regions.width",
                f"genome.split.{segment.split}",
            )
    rows: list[tuple[str, str, int]] = []
    for sample in read_samples(samples):
        rows.append((sample.sample, sample.path, len(read_peaks(sample, lengths))))
    if blacklist is not None:
        rows.append(("blacklist", str(blacklist), len(clean_blacklist(blacklist, "as_is", lengths))))
    for name, path, style in beds:
        bed = read_bed(path, fields=6)
        bed["chrom"] = [rename_contig(chrom, style) for chrom in bed["chrom"]]
        check_in_genome(bed, path, f"intervals of task '{name}'", lengths, f"benchmarks.tasks.{name}")
        rows.append((name, path, len(bed)))
    rows.append(("motifs", str(motifs), len(read_jaspar(motifs))))
    with open_text_for_writing(out) as text:
        text.write("input\tpath\trecords\tsha256\n")
        for name, path, records in rows:
            text.write(f"{name}\t{path}\t{records}\t{sha256(path)}\n")
    return f"{len(rows)} inputs fit the genome ({len(lengths)} contigs)"
