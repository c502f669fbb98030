"""Sub-commands from motifs to the corpus, and those that look into one."""

# ruff: noqa: PLC0415
import argparse
import sys

from genebert.cli.options import (
    ACCESSIBILITY,
    CHUNK,
    GENOME,
    MOTIFS,
    OUT,
    REGIONS,
    SAMPLES,
    Options,
    Stages,
    chosen,
    needed,
    optional,
)
from genebert.provenance import recorded


def _motifs(options: argparse.Namespace) -> str:
    from genebert.motifs.table import write_motif_table

    read = [options.file, *filter(None, [options.families])]
    settings = chosen(options, "background", "pseudocount", "p_value", "max_realised_p", "order")
    with recorded("motifs", [options.out], read, settings):
        return write_motif_table(
            options.file,
            options.background,
            options.pseudocount,
            options.p_value,
            options.max_realised_p,
            options.order,
            options.families,
            options.out,
        )


def _scan(options: argparse.Namespace) -> str:
    from genebert.motifs.scan_file import scan_file

    return scan_file(
        fasta=options.fasta,
        bed=options.bed,
        motif_file=options.motifs,
        p_value=options.p_value,
        pseudocount=options.pseudocount,
        background=options.background,
        max_realised_p=options.max_realised_p,
        out=options.out,
    )


def _scan_chunk(options: argparse.Namespace) -> str:
    from genebert.motifs.scan import scan_chunk
    from genebert.motifs.table import read_motif_table

    read = [options.genome, options.regions, options.motifs]
    with recorded("scan", [options.out], read, chosen(options, "chunk", "chunks")):
        return scan_chunk(
            options.genome,
            options.regions,
            read_motif_table(options.motifs),
            options.chunk,
            options.chunks,
            options.out,
        )


def _write(options: argparse.Namespace) -> str:
    from genebert.corpus.write import write_part
    from genebert.inputs.sheet import read_samples

    cell_types = sorted({s.cell_type for s in read_samples(options.samples, options.data)})
    read = chosen(options, "genome", "regions", "accessibility", "motifs", "hits", "inputs").values()
    settings = chosen(options, "genome_name", "chunk", "chunks") | {"cell_types": cell_types}
    with recorded("corpus", [options.out], read, settings):
        return write_part(
            fasta=options.genome,
            genome_name=options.genome_name,
            regions=options.regions,
            accessibility=options.accessibility,
            cell_types=cell_types,
            motif_table=options.motifs,
            hits=options.hits,
            inputs=options.inputs,
            chunk=options.chunk,
            chunks=options.chunks,
            out=options.out,
        )


def _manifest(options: argparse.Namespace) -> str:
    from genebert.corpus.write import write_manifest

    with recorded("corpus", [options.out], options.parts, {}):
        return write_manifest(options.parts, options.out)


def _info(options: argparse.Namespace) -> str:
    from genebert.corpus.check import info

    options.stream = sys.stdout
    return info(options.corpus)


def _check(options: argparse.Namespace) -> str:
    from genebert.corpus.check import check

    options.stream = sys.stdout
    return check(options.corpus, options.motifs, options.genome)


def _export(options: argparse.Namespace) -> str:
    from genebert.corpus.export import export

    return export(options.corpus, options.locus, options.cell_type, options.out)


_SCORING: Options = {
    "--background": optional(
        "frequencies of A C G T", [0.295, 0.205, 0.205, 0.295], type=float, nargs=4
    ),
    "--pseudocount": optional("added to each matrix column", 1.0, type=float),
    "--p-value": optional(
        "of a hit; a motif too short to reach it keeps its best words", 1e-4, type=float
    ),
    "--max-realised-p": optional(
        "a motif whose best words are likelier than this is dropped", 1e-3, type=float
    ),
}
_MOTIF_FILE = needed("matrices in JASPAR, MEME or TRANSFAC text format")
_FOLDER: Options = {"corpus": {"help": "folder of a finished corpus"}}

GROUPS = {"corpus": "write a corpus, or look into one"}

STAGES: Stages = {
    "motifs": (
        _motifs,
        "order motifs and find the threshold of each",
        {
            "--file": _MOTIF_FILE,
            **_SCORING,
            "--order": optional("of the rows", "similarity", choices=["similarity", "family", "file"]),
            "--families": optional("table of matrix_id, class, family"),
            **OUT,
        },
    ),
    "scan": (
        _scan,
        "scan any FASTA, or places of it, for motifs, both strands: outside the workflow",
        {
            "--fasta": needed("FASTA, plain or gzip; any species"),
            "--bed": optional("BED of places; all of the FASTA if left out"),
            "--motifs": _MOTIF_FILE,
            **_SCORING,
            "--out": needed(
                "file to write: .parquet (chrom, start, end, motif_id, motif_name, strand, score in "
                "nat; with a BED its line and name), or BED6 as .bed or .bed.gz (1000 is a motif's best)"
            ),
        },
    ),
    "scan-chunk": (
        _scan_chunk,
        "scan one chunk of the catalogue for motifs, both strands",
        {**GENOME, **REGIONS, **MOTIFS, **CHUNK, **OUT},
    ),
    "corpus write": (
        _write,
        "write one part of the corpus",
        {
            **GENOME,
            "--genome-name": needed("assembly name"),
            **SAMPLES,
            **REGIONS,
            **ACCESSIBILITY,
            **MOTIFS,
            "--hits": needed("what `scan-chunk` wrote for this chunk"),
            "--inputs": needed("table made by preflight"),
            **CHUNK,
            **OUT,
        },
    ),
    "corpus manifest": (
        _manifest,
        "check the parts of a corpus against each other and list them",
        {"--parts": needed("corpus parts", nargs="+"), **OUT},
    ),
    "corpus info": (_info, "say what a corpus holds", _FOLDER),
    "corpus check": (
        _check,
        "verify every part of a corpus: checksums, contract, order, and where it came from",
        {
            **_FOLDER,
            "--motifs": optional("table made by `motifs`: is the corpus made with these?"),
            "--genome": optional("indexed FASTA: are the sequences this genome's?"),
        },
    ),
    "corpus export": (
        _export,
        "write the dense TF × region matrix of a locus in a cell type",
        {
            **_FOLDER,
            "--locus": needed("chrom:start-end (bp, 0-based half-open)"),
            "--cell-type": needed("cell type whose open regions are the columns"),
            "--out": needed("file to write: .npz or .parquet"),
        },
    ),
}
