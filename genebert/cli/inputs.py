"""Sub-commands from the configuration to the catalogue of regions."""

# ruff: noqa: PLC0415
import argparse
import csv
import sys
from pathlib import Path

from genebert import config
from genebert.cli.options import (
    CONTIGS,
    GENOME,
    HELD_OUT,
    LOCK,
    OUT,
    SAMPLES,
    WIDTH,
    Stages,
    chosen,
    named,
    needed,
    optional,
    section,
    segments,
)
from genebert.errors import GenebertError
from genebert.provenance import recorded


def _config(options: argparse.Namespace) -> str:
    from genebert.config import forms
    from genebert.inputs.sheet import read_samples

    options.stream = sys.stdout
    makers = {"yaml": forms.as_yaml, "schema": forms.as_schema, "table": forms.as_table}
    if options.form == "check":
        checked = config.load(options.file)
        samples = read_samples(checked.samples, checked.downloads.folder)
        sheet = f"its sheet of {len(samples)} samples"
        return f"{options.file} is valid, and {sheet}; no other file was looked at"
    return makers[options.form]().rstrip("\n")


def _encode_sheet(options: argparse.Namespace) -> str:
    from genebert.inputs.encode import write_sheet

    return write_sheet(
        portal=options.portal,
        assay=options.assay,
        assembly=options.assembly,
        output_type=options.output_type,
        biosamples=options.biosamples,
        min_views=options.min_views,
        without=options.without,
        out=options.out,
    )


def _download(options: argparse.Namespace) -> str:
    from genebert.inputs.download import fetch
    from genebert.inputs.source import source_of

    settings = section(config.Downloads, options.settings)
    source = source_of(options.source, "--source", options.checksum or "")
    if source.url is None:
        raise GenebertError(f"'{options.source}' is no URL", "name what is to be fetched")
    return fetch(source.url, source.checksum, options.out, settings)


def _checksums(options: argparse.Namespace) -> str:
    from genebert.inputs.checksums import write_checksums

    return write_checksums(
        named(options.files, "--files"),
        options.samples,
        options.data,
        options.lock,
        options.out,
    )


def _index_genome(options: argparse.Namespace) -> str:
    from genebert.genome import index_genome, read_lengths

    outputs = [options.out, f"{options.out}.fai"]
    with recorded("reference", outputs, [options.fasta], chosen(options, "contigs")):
        index_genome(options.fasta, options.out, options.contigs)
    lengths = read_lengths(f"{options.out}.fai")
    return f"{len(lengths)} contigs, {sum(lengths.values())} bp"


def _preflight(options: argparse.Namespace) -> str:
    from genebert.preflight import preflight

    read = [f"{options.genome}.fai"]
    settings = chosen(options, "genome_name", "contigs", "validation", "test", "width")
    with recorded("reference", [options.out], read, settings):
        line = preflight(
            fasta=options.genome,
            genome_name=options.genome_name,
            files=named(options.files, "--files"),
            samples=options.samples,
            contigs=options.contigs,
            data=options.data,
            lock=options.lock,
            validation=options.validation,
            test=options.test,
            width=options.width,
            out=options.out,
        )
        read += checked_files(options.out)
    return line


def checked_files(table: str | Path) -> list[str]:
    """Return the files that a table of preflight lists."""
    with Path(table).open(newline="", encoding="utf-8") as text:
        return [row["path"] for row in csv.DictReader(text, delimiter="\t")]


def _peaks(options: argparse.Namespace) -> str:
    from genebert.genome import read_lengths
    from genebert.inputs.peaks import clean_sample
    from genebert.inputs.sheet import find_sample

    sample = find_sample(options.samples, options.sample, options.data)
    fai, settings = f"{options.genome}.fai", section(config.Peaks, options.settings)
    read = [sample.path, fai, *filter(None, [options.blacklist, options.mappable])]
    facts = chosen(options, "sample", "contigs", "settings")
    facts |= {"format": sample.format, "contig_style": sample.contig_style}
    with recorded("peaks", [options.out], read, facts):
        return clean_sample(
            sample,
            read_lengths(fai),
            options.contigs,
            options.blacklist,
            options.mappable,
            settings,
            options.out,
        )


def _regions(options: argparse.Namespace) -> str:
    from genebert.inputs.sheet import read_samples
    from genebert.regions import write_regions

    samples = read_samples(options.samples, options.data)
    files = {s.sample: Path(options.peaks) / f"{s.sample}.bed.gz" for s in samples}
    cell_type_of = {s.sample: s.cell_type for s in samples}
    written = [Path(options.out) / f"{name}.parquet" for name in ("regions", "accessibility", "peaks")]
    settings = chosen(options, "validation", "test", "width") | {"cell_type_of": cell_type_of}
    with recorded("regions", written, [*files.values(), f"{options.genome}.fai"], settings):
        return write_regions(
            files=files,
            cell_type_of=cell_type_of,
            width=options.width,
            segments=segments(options),
            out=options.out,
        )


_FILES = {
    "--files": needed("NAME=SOURCE: genome, motifs, …, as the configuration names them", nargs="+")
}

STAGES: Stages = {
    "config": (
        _config,
        "print the default configuration, its JSON schema or its table; or check a file",
        {
            "form": {"choices": ["yaml", "schema", "table", "check"], "help": "what to do"},
            "file": {"nargs": "?", "default": "config/config.yaml", "help": "file to check"},
        },
    ),
    "encode-sheet": (
        _encode_sheet,
        "ask the ENCODE portal for peak files and write a sheet of samples with their checksums",
        {
            "--assay": optional("assay title", "ATAC-seq"),
            "--assembly": optional("assembly", "GRCh38"),
            "--output-type": optional("output type of the files", "IDR thresholded peaks"),
            "--biosamples": optional("biosample terms, such as K562; all if left out", nargs="+"),
            "--min-views": optional("stop once so many views are expected; all if left out", type=int),
            "--without": {"nargs": "*", "default": [], "help": "accessions of files to pass over"},
            "--portal": optional(
                "address of the portal or of its mirror", "https://www.encodeproject.org"
            ),
            **OUT,
        },
    ),
    "download": (
        _download,
        "fetch one file: resumed, retried, its checksum verified before it has its name",
        {
            "--source": needed("address or ENCODE accession"),
            "--checksum": optional("md5:… or sha256:… that the file must have"),
            "--settings": optional("section `downloads` of the configuration as JSON", "{}"),
            **OUT,
        },
    ),
    "checksums": (
        _checksums,
        "compare every input file with the checksum that is pinned for it",
        {
            **_FILES,
            **SAMPLES,
            **LOCK,
            **OUT,
        },
    ),
    "index-genome": (
        _index_genome,
        "copy a FASTA, gzip or not, and index it",
        {"--fasta": needed("FASTA"), **CONTIGS, **OUT},
    ),
    "preflight": (
        _preflight,
        "check every input of the corpus against the genome before any work starts",
        {
            **GENOME,
            "--genome-name": needed("assembly name"),
            **_FILES,
            **SAMPLES,
            **LOCK,
            **CONTIGS,
            **HELD_OUT,
            **WIDTH,
            **OUT,
        },
    ),
    "peaks": (
        _peaks,
        "clean the peaks of one sample: checked, filtered, sorted, each place once",
        {
            "--sample": needed("name in the sheet"),
            **SAMPLES,
            **GENOME,
            **CONTIGS,
            "--blacklist": optional("BED of places to drop peaks at"),
            "--mappable": optional("BED of places to which reads map uniquely"),
            "--settings": optional("section `peaks` of the configuration as JSON", "{}"),
            **OUT,
        },
    ),
    "regions": (
        _regions,
        "join the peaks of all samples into one catalogue of regions",
        {
            **SAMPLES,
            "--peaks": needed("folder of cleaned peaks"),
            **GENOME,
            **HELD_OUT,
            **WIDTH,
            "--out": needed("folder to write to"),
        },
    ),
}
