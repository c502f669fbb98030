"""What each stage makes of one small input, as hashes of values: they change with a stage's code.

A test that fails here says that results changed. Where that is meant, raise the stage's number in
genebert/versions.py, so that finished work is redone, and put the new hash here. What a pre-training
learns differs between processors by its rounding: its figures are here as they are, to be met nearly.
"""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from genebert.config import Compute, Peaks, Pretrain, RegionEncoder, SequenceEncoder, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.read import read_corpus
from genebert.corpus.sample import Views, place_corpus
from genebert.corpus.write import write_manifest, write_part
from genebert.genome import index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample, read_cleaned
from genebert.inputs.sheet import Sample
from genebert.inputs.source import Source
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.pretrain.loop import pretrain
from genebert.pretrain.npmi_table import write_npmi
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources, gather_knowledge, initial_model
from genebert.pretrain.step import Recipe, draw
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
    "pretrain": (2, "5a8f20af9c3182db"),
}

# The smallest network that has all parts, and steps with every objective and each way of masking.
NETWORK = ModelSettings(
    columns=5,
    projection=16,
    sequence=SequenceEncoder(k=3, layers=1, width=16, heads=2, feedforward=32, positions=101),
    region=RegionEncoder(patch=[2, 1], window=[4, 2], width=16, depths=[1, 2], heads=[1, 2]),
)
TRAINING = Pretrain(
    steps=10,
    batch_size=32,
    learning_rate=1e-2,
    warmup_steps=3,
    weight_decay=1.0,
    gradient_clip=0.2,
    matching_group=8,
    evaluate_every=10,
    evaluation_views=64,
    variants={
        "together": Variant(
            masked_sequence=1, masked_region=3, matching=0.5, next_segment=1, motif_target=1
        ),
        "shuffled": Variant(masked_region=1, matching=1, matrices="shuffled"),
        "genemask": Variant(masked_sequence=1, masking="genemask"),
        "global_pmi": Variant(masked_sequence=1, masking="global_pmi"),
        "motif": Variant(masked_sequence=1, masking="motif"),
    },
)

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


def _shown(folder: Path) -> list[Any]:
    """Return what a step of each pre-training is shown and asked: whole numbers, alike everywhere."""
    corpus = read_corpus(folder)
    sources, placed = Sources(folder / "motifs.parquet", folder / "npmi3.parquet"), place_corpus(corpus)
    views, shown = Views(placed, "train", NETWORK.columns), []
    for variant in TRAINING.variants.values():
        model = initial_model(NETWORK, variant, 1, corpus)
        knowledge = gather_knowledge(corpus, folder, sources, variant, model, "cpu")
        recipe = Recipe(TRAINING, variant, 1, knowledge)
        step = draw(model, views, recipe, 7, [range(256)], variant.masking)
        whole = [
            values for values in step if isinstance(values, torch.Tensor) and values.dtype != torch.float
        ]
        hits = [] if step.hits is None else step.hits
        shown.append([values.tolist() for values in (*whole, *hits, step.matrix > 0)])
    return shown


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
    write_npmi(folder, 3, folder / "npmi3.parquet")
    cleaned = [read_cleaned(files[name]).astype(str).values.tolist() for name in files]
    return SimpleNamespace(
        reference=[genome.read_text(), Path(f"{genome}.fai").read_text()],
        peaks=cleaned,
        regions=[_rows(regions), _rows(access)],
        motifs=_rows(table),
        scan=_rows(hits),
        corpus=_rows(part),
        npmi=_rows(folder / "npmi.parquet"),
        pretrain=_shown(folder),
        folder=folder,
    )


@pytest.mark.parametrize("stage", GOLDEN)
def test_a_stage_that_gives_other_results_has_another_version(made: SimpleNamespace, stage: str) -> None:
    values = getattr(made, stage)
    assert len(values) > 0
    assert (STAGES[stage], _hash(values)) == GOLDEN[stage], (
        f"the results of '{stage}' changed: raise STAGES['{stage}'] in genebert/versions.py "
        "and write the new hash into GOLDEN"
    )


# Figures of ten steps: rounding moves them by 1e-5, a learning rate that is 2 % higher by 1e-2.
LEARNT: dict[str, tuple[int, dict[str, float]]] = {
    "together": (
        2,
        {
            "train masked_sequence_loss": 4.21668,
            "train masked_sequence_fraction": 0.145094,
            "train motif_target_loss": 1.53633,
            "train masked_region_loss": 1.01149,
            "train matching_loss": 1.56196,
            "train next_segment_loss": 0.695769,
            "validation masked_sequence_loss": 4.19552,
            "validation masked_sequence_fraction": 0.142835,
            "validation motif_target_loss": 1.41883,
            "validation masked_region_loss": 0.539546,
            "validation next_segment_loss": 0.680795,
            "validation matching_loss": 1.67678,
        },
    ),
    "shuffled": (
        2,
        {
            "train masked_region_loss": 0.989415,
            "train matching_loss": 2.09612,
            "validation masked_region_loss": 0.811124,
            "validation matching_loss": 1.55156,
        },
    ),
}


@pytest.mark.parametrize("recipe", LEARNT)
def test_a_pre_training_that_learns_otherwise_has_another_version(
    made: SimpleNamespace, tmp_path: Path, recipe: str
) -> None:
    sources = Sources(made.folder / "motifs.parquet")
    outputs = Outputs(tmp_path / "model", tmp_path / "history.tsv", tmp_path / "checkpoints")
    pretrain(made.folder, sources, NETWORK, TRAINING, Compute(), recipe, 1, "cpu", outputs)
    rows = [line.split("\t") for line in outputs.history.read_text().splitlines()[1:]]
    found = {
        f"{split} {metric}": float(value)
        for _, split, metric, value in rows
        if metric.endswith(("_loss", "_fraction"))
    }
    version, expected = LEARNT[recipe]
    assert (STAGES["pretrain"], found) == (version, pytest.approx(expected, rel=2e-3)), (
        "the results of 'pretrain' changed: raise STAGES['pretrain'] in genebert/versions.py "
        f"and write the new figures into LEARNT: {found}"
    )
