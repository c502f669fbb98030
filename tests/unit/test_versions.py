"""What each stage makes of one small input, as hashes of values: they change with a stage's code.

A test that fails here says that results changed. Where that is meant, raise the stage's number in
genebert/versions.py, so that finished work is redone, and put the new hash here.
"""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from genebert.config import Peaks
from genebert.corpus.write import write_manifest, write_part
from genebert.genome import index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample, read_cleaned
from genebert.inputs.sheet import Sample
from genebert.inputs.source import Source
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.pretrain.npmi_table import write_npmi
from genebert.regions import write_regions
from genebert.versions import STAGES

GOLDEN = {
    "reference": (2, "92d010a6d531ac78"),
    "peaks": (1, "b0e23608832479c5"),
    "regions": (1, "df48740844771a01"),
    "motifs": (2, "22f12ceb84f9098e"),
    "scan": (2, "6f68e8fbdc2cf215"),
    "corpus": (3, "9f0a2866bd48cff3"),
    "npmi": (1, "4055060fde022c20"),
}

MORE_MOTIFS = """\
>MA9004.1 SPI1
A [ 80 2 1 97 97 1 20 ]
C [ 5 3 1 1 1 10 5 ]
G [ 10 93 97 1 1 88 60 ]
T [ 5 2 1 1 1 1 15 ]
>MA9005.1 ETS
A [ 1 1 97 97 2 30 ]
C [ 2 2 1 1 3 5 ]
G [ 96 96 1 1 90 60 ]
T [ 1 1 1 1 5 5 ]
"""


def _dna(length: int, state: int) -> str:
    """Bases of a linear congruential generator: the same in every version of every library."""
    bases = []
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        bases.append("ACGT"[state >> 62])
    return "".join(bases)


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _rows(path: Path, *columns: str) -> list[list[Any]]:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return f"{value:.6g}" if isinstance(value, float) else value

    table = pq.read_table(path, columns=list(columns) or None)
    return [[plain(value) for value in row.values()] for row in table.to_pylist()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, few_motifs: Path) -> SimpleNamespace:
    """One small input through every stage."""
    folder = tmp_path_factory.mktemp("golden")
    dna = _dna(4000, 1)
    contigs = {"c1": dna[:700] + "n" * 30 + dna[730:2000].lower() + dna[2000:], "c2": _dna(900, 2)}
    (folder / "source.fa").write_text(
        "".join(
            f">{name}\n" + "".join(f"{text[i : i + 50]}\n" for i in range(0, len(text), 50))
            for name, text in contigs.items()
        )
    )
    genome = folder / "genome.fa"
    index_genome(folder / "source.fa", genome)
    lengths = read_lengths(f"{genome}.fai")
    (folder / "a.narrowPeak").write_text(
        "".join(
            f"c{1 + n % 2}\t{n * 37}\t{n * 37 + 60}\ta{n}\t0\t.\t{(n * 7) % 11 + 0.5}\t0\t0\t{n}\n"
            for n in range(20)
        )
    )
    (folder / "b.bed").write_text("".join(f"c1\t{n * 151}\t{n * 151 + 99}\n" for n in range(25)))
    (folder / "blacklist.bed").write_text("c1\t1000\t1100\n")
    samples = [
        Sample(*row, Source(path, None, None), str(folder / path), "", "as_is", "here")
        for *row, path in (
            ("a", "X", "ATAC-seq", "narrowPeak", "a.narrowPeak"),
            ("b", "Y", "ATAC-seq", "bed", "b.bed"),
        )
    ]
    files = {sample.sample: folder / f"{sample.sample}.bed.gz" for sample in samples}
    for sample in samples:
        out = files[sample.sample]
        clean_sample(sample, lengths, ".+", folder / "blacklist.bed", None, Peaks(), out)
    segments = split_segments(lengths, ["c2:0-450"], ["c1:2500-4000"])
    write_regions(files, {"a": "X", "b": "Y"}, 101, segments, folder)
    (folder / "five.jaspar").write_text(few_motifs.read_text() + MORE_MOTIFS)
    table = folder / "motifs.parquet"
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(folder / "five.jaspar", background, 1.0, 0.005, 0.02, "similarity", None, table)
    regions, hits = folder / "regions.parquet", folder / "hits.parquet"
    scan_chunk(genome, regions, read_motif_table(table), 0, 1, hits)
    (folder / "inputs.tsv").write_text("input\tpath\trecords\tsha256\n")
    part = folder / "part.parquet"
    access = folder / "accessibility.parquet"
    write_part(genome, "g", regions, access, table, hits, folder / "inputs.tsv", ["X", "Y"], 0, 1, part)
    write_manifest([part], folder / "manifest.json")
    write_npmi(folder, 2, folder / "npmi.parquet")
    cleaned = [read_cleaned(files[name]).astype(str).values.tolist() for name in files]
    return SimpleNamespace(
        reference=[genome.read_text(), Path(f"{genome}.fai").read_text()],
        peaks=cleaned,
        regions=[_rows(regions), _rows(access)],
        motifs=_rows(table),
        scan=_rows(hits),
        corpus=_rows(part),
        npmi=_rows(folder / "npmi.parquet"),
    )


@pytest.mark.parametrize("stage", GOLDEN)
def test_a_stage_that_gives_other_results_has_another_version(made: SimpleNamespace, stage: str) -> None:
    values = getattr(made, stage)
    assert len(values) > 0
    assert (STAGES[stage], _hash(values)) == GOLDEN[stage], (
        f"the results of '{stage}' changed: raise STAGES['{stage}'] in genebert/versions.py "
        "and write the new hash into GOLDEN"
    )
