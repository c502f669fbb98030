"""Genes and their exons, one transcript a gene, and the junctions of all: from a GTF or from a table."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from genebert.errors import GenebertError
from genebert.files import read_lines
from genebert.inputs.annotation import gtf_records, gtf_span, is_gtf
from genebert.inputs.bed import check_in_genome, on_contigs, rename_contigs

HEADER = ("gene", "chrom", "strand", "start", "end", "exon_starts", "exon_ends")
# What a transcript may be tagged as, best first; as spelt by GENCODE, Ensembl and RefSeq.
_CANONICAL = ("Ensembl_canonical", "MANE_Select", "MANE Select", "RefSeq Select", "appris_principal")
_TAG = re.compile(rf'\btag "({"|".join(_CANONICAL)})')
_GENE_ID = re.compile(r'\bgene_id "?([^";]+)"?')
_GENE_NAME = re.compile(r'\bgene_name "?([^";]+)"?')
_TRANSCRIPT_ID = re.compile(r'\btranscript_id "?([^";]+)"?')
_GENE_TYPE = re.compile(r'\bgene_(?:bio)?type "?([^";]+)"?')
_TRANSCRIPT_TYPE = re.compile(r'\btranscript_(?:bio)?type "?([^";]+)"?')
_WHOLE = re.compile("[0-9]{1,10}")


class _Transcript(NamedTuple):
    """Exons as (start, end, line), in file order, and what ranks transcripts of a gene."""

    name: str
    tag: int
    coding: bool
    exons: list[tuple[int, int, int]]


def read_task_genes(
    path: str | Path,
    contig_style: str,
    task: str,
    lengths: Mapping[str, int],
    contigs: str = ".+",
) -> pd.DataFrame:
    """Read the genes of a task on contigs in use, checked against the genome.

    Parameters
    ----------
    path
        GTF or table, gzip or not (:func:`read_genes`).
    contig_style
        The style to rename contigs to.
    task
        Its name, for messages.
    lengths
        Contig lengths in bp, in genome order.
    contigs
        Regular expression of the contigs in use.

    Returns
    -------
    DataFrame
        As of :func:`read_genes`, in genome order.

    Raises
    ------
    GenebertError
        If a gene does not fit the genome, none is left, or none of them has an intron.
    """
    what, where = f"genes of task '{task}'", f"benchmarks.tasks.{task}"
    genes = on_contigs(rename_contigs(read_genes(path), contig_style), what, contigs, where)
    if genes.empty:
        raise GenebertError(f"no {what} are on the contigs in use", "check `genome.contigs`", str(path))
    check_in_genome(genes, str(path), what, lengths, where)
    if (genes["exon_starts"].map(len) == 1).all():
        raise GenebertError(
            f"none of the {what} has two exons", "give an annotation with introns", str(path)
        )
    ranks = {chrom: rank for rank, chrom in enumerate(lengths)}
    order = genes.assign(rank=genes["chrom"].map(ranks)).sort_values(
        ["rank", "start", "end", "strand", "gene", "line"]
    )
    return genes.loc[order.index].reset_index(drop=True)


def read_genes(path: str | Path) -> pd.DataFrame:
    """Read genes with the exons of one transcript each.

    Parameters
    ----------
    path
        Either a GTF, of whose ``exon`` lines are taken: genes that are protein-coding where the file
        says what they are; of each the transcript that is tagged (Ensembl canonical, MANE Select, RefSeq
        Select, APPRIS principal, in this order), then one that is protein-coding itself, then the one
        with most exonic bp. A gene spans its transcript. Or a table separated by tabs, with a header of
        ``gene chrom strand start end exon_starts exon_ends`` (any order): 0-based half-open, exons as
        lists separated by commas, in order of position on the forward strand.

    Returns
    -------
    DataFrame
        ``line`` (from 1), ``gene``, ``chrom``, ``start``, ``end`` (bp, 0-based half-open), ``strand``,
        ``exon_starts``, ``exon_ends`` (int64 arrays, in forward order, at least 1 bp apart: exons that
        touch are joined).

    Raises
    ------
    GenebertError
        Naming the line that is neither, or whose exons overlap or leave their gene; or if there is no
        gene.
    """
    rows = _from_gtf(path) if is_gtf(path) else _from_table(path)
    columns = ["line", "gene", "chrom", "start", "end", "strand", "exon_starts", "exon_ends"]
    return pd.DataFrame(rows, columns=columns)


def read_junctions(path: str | Path, contig_style: str) -> dict[tuple[str, str], np.ndarray]:
    """Read the exonic bases on both sides of each intron, of every transcript and gene of any type.

    Parameters
    ----------
    path
        GTF or table, gzip or not (:func:`read_genes`); of a table, the introns of its rows.
    contig_style
        The style to rename contigs to.

    Returns
    -------
    dict
        Positions (int64, 0-based, ascending, each once) by contig and strand.

    Raises
    ------
    GenebertError
        If the file is damaged.
    """
    exons = _exons_of_gtf(path) if is_gtf(path) else _exons_of_table(path)
    table = pd.DataFrame(exons, columns=["chrom", "strand", "transcript", "start", "end"])
    table = table.sort_values(["chrom", "strand", "transcript", "start", "end"])
    key = table.groupby(["chrom", "strand", "transcript"], sort=False).ngroup().to_numpy()
    left, right = table["end"].to_numpy()[:-1], table["start"].to_numpy()[1:]
    # Exons that touch or overlap have no intron between them.
    after = np.flatnonzero((key[1:] == key[:-1]) & (left < right))
    bases = table.iloc[np.concatenate([after, after + 1])][["chrom", "strand"]]
    bases = bases.assign(position=np.concatenate([left[after] - 1, right[after]]))
    renamed = rename_contigs(bases, contig_style)
    return {
        (str(chrom), str(strand)): np.unique(rows["position"].to_numpy(np.int64))
        for (chrom, strand), rows in renamed.groupby(["chrom", "strand"])
    }


def _exons_of_table(path: str | Path) -> Iterator[tuple[str, str, str, int, int]]:
    for gene in read_genes(path).itertuples():
        for start, end in zip(gene.exon_starts, gene.exon_ends, strict=True):
            yield gene.chrom, gene.strand, str(gene.line), start, end


def _exons_of_gtf(path: str | Path) -> Iterator[tuple[str, str, str, int, int]]:
    for number, cells in gtf_records(path):
        if cells[2] == "exon":
            where = f"{path} line {number}"
            transcript = _needed(_TRANSCRIPT_ID, cells[8], where)
            # Each name is kept once: an annotation has millions of exons.
            yield sys.intern(cells[0]), cells[6], sys.intern(transcript), *gtf_span(cells, where)


def _from_table(path: str | Path) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    header: list[str] = []
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        cells, where = line.split("\t"), f"{path} line {number}"
        if not header:
            header = [cell.strip() for cell in cells]
            _check_header(header, where)
            continue
        if len(cells) != len(header):
            raise GenebertError(
                f"{len(cells)} columns where the header has {len(header)}", "correct the line", where
            )
        row = dict(zip(header, cells, strict=True))
        rows.append((number, *_gene(row, where)))
    if not rows:
        raise GenebertError(f"{path} has no genes", "give a GTF, or a table of genes and exons")
    return rows


def _check_header(header: Sequence[str], where: str) -> None:
    missing = [name for name in HEADER if header.count(name) != 1]
    if missing:
        raise GenebertError(
            f"no GTF, and no header that names {', '.join(missing)} once",
            f"give a GTF, or a table with tabs between the columns {' '.join(HEADER)}",
            where,
        )


def _gene(row: Mapping[str, str], where: str) -> tuple[object, ...]:
    if row["strand"] not in ("+", "-"):
        raise GenebertError(
            f"strand '{row['strand']}' of {row['gene']} is neither + nor -", "correct the line", where
        )
    start, end = _whole(row["start"], where), _whole(row["end"], where)
    starts, ends = (
        [_whole(text, where) for text in row[name].rstrip(",").split(",")]
        for name in ("exon_starts", "exon_ends")
    )
    if len(starts) != len(ends):
        raise GenebertError(
            f"{row['gene']} has {len(starts)} exon_starts and {len(ends)} exon_ends",
            "correct the line",
            where,
        )
    exons = _exons(row["gene"], starts, ends, where)
    if not start <= starts[0] < ends[-1] <= end:
        raise GenebertError(
            f"exons {starts[0]}-{ends[-1]} of {row['gene']} leave the gene {start}-{end}",
            "correct the line; coordinates are 0-based half-open",
            where,
        )
    return row["gene"], row["chrom"], start, end, row["strand"], *exons


def _whole(text: str, where: str) -> int:
    if _WHOLE.fullmatch(text.strip()):
        return int(text.strip())
    raise GenebertError(
        f"coordinate '{text}' is no whole number of bp from 0", "correct the line", where
    )


def _exons(
    gene: str, starts: Sequence[int], ends: Sequence[int], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exons, those that touch joined: between them is no intron."""
    previous = 0
    for start, end in zip(starts, ends, strict=True):
        if start >= end:
            raise GenebertError(
                f"exon {start}-{end} of {gene} is empty",
                "correct the line; coordinates are 0-based half-open",
                where,
            )
        if start < previous:
            raise GenebertError(
                f"exon {start}-{end} of {gene} begins before the one before it ends, at {previous}",
                "give the exons of one transcript, in order of position on the forward strand",
                where,
            )
        previous = end
    all_starts, all_ends = np.array(starts, np.int64), np.array(ends, np.int64)
    apart = all_starts[1:] > all_ends[:-1]
    return all_starts[np.append(True, apart)], all_ends[np.append(apart, True)]


def _from_gtf(path: str | Path) -> list[tuple[object, ...]]:
    # One id may stand for several loci: those of both sex chromosomes, or of tandem copies.
    genes: dict[tuple[str, str, str], dict[str, _Transcript]] = {}
    for number, cells in gtf_records(path):
        if cells[2] != "exon":
            continue
        where = f"{path} line {number}"
        kind = _GENE_TYPE.search(cells[8])
        if kind and kind[1] != "protein_coding":
            continue
        start, end = gtf_span(cells, where)
        transcripts = genes.setdefault((cells[0], cells[6], _needed(_GENE_ID, cells[8], where)), {})
        key = _needed(_TRANSCRIPT_ID, cells[8], where)
        if key not in transcripts:
            transcripts[key] = _transcript(cells[8])
        transcripts[key].exons.append((start, end, number))
    if not genes:
        raise GenebertError(
            f"{path} has no `exon` line of a protein-coding gene",
            "give a GENCODE or Ensembl GTF, or a table of genes and exons",
        )
    return [
        _chosen(transcripts, chrom, strand, str(path))
        for (chrom, strand, _), transcripts in genes.items()
    ]


def _needed(pattern: re.Pattern[str], attributes: str, where: str) -> str:
    found = pattern.search(attributes)
    if not found:
        raise GenebertError(
            "the exon lacks a gene_id or a transcript_id", "give a GTF as GENCODE or Ensembl do", where
        )
    return found[1]


def _transcript(attributes: str) -> _Transcript:
    name = _GENE_NAME.search(attributes) or _GENE_ID.search(attributes)
    kind = _TRANSCRIPT_TYPE.search(attributes)
    tags = [_CANONICAL.index(tag) for tag in _TAG.findall(attributes)]
    return _Transcript(
        name[1] if name else "",
        min(tags, default=len(_CANONICAL)),
        not kind or kind[1] == "protein_coding",
        [],
    )


def _chosen(
    transcripts: Mapping[str, _Transcript], chrom: str, strand: str, path: str
) -> tuple[object, ...]:
    """Return the row of a gene: its line is that of the transcript's first exon in the file."""

    def rank(key: str) -> tuple[int, bool, int, str]:
        one = transcripts[key]
        return one.tag, not one.coding, -sum(end - start for start, end, _ in one.exons), key

    chosen = transcripts[min(transcripts, key=rank)]
    line = chosen.exons[0][2]
    pairs = sorted(chosen.exons)
    starts, ends = [start for start, _, _ in pairs], [end for _, end, _ in pairs]
    exons = _exons(chosen.name, starts, ends, f"{path} line {line}")
    return line, chosen.name, chrom, starts[0], ends[-1], strand, *exons
