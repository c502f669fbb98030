"""Pre-training on the corpus of the demo: it learns what there is to learn, and nothing else."""

from pathlib import Path

import pandas as pd
import pytest

from genebert.config import Model, Peaks, Pretrain, RegionEncoder, SequenceEncoder, Variant
from genebert.corpus.write import write_manifest, write_part
from genebert.genome import index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample
from genebert.inputs.sheet import read_samples
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.preflight import preflight
from genebert.pretrain.loop import pretrain
from genebert.regions import write_regions

ROOT = Path(__file__).parents[2]
VALIDATION, TEST = ["chr20:42000000-44000000"], ["chr20:44000000-50000000"]
MODEL = Model(
    columns=8,
    projection=512,
    sequence=SequenceEncoder(layers=1, width=32, heads=1, feedforward=64),
    region=RegionEncoder(patch=[16, 2], window=[8, 8], width=32, depths=[2, 2], heads=[1, 2]),
)
VARIANTS = {
    "multimodal": Variant(masked_sequence=1, masked_region=10, matching=0.5),
    "shuffled": Variant(matching=1, matrices="shuffled"),
}
SETTINGS = Pretrain(
    steps=100,
    batch_size=32,
    learning_rate=2e-3,
    warmup_steps=10,
    weight_decay=1.0,
    matching_group=16,
    evaluate_every=50,
    evaluation_views=256,
    variants=VARIANTS,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Path:
    """Build the demo's corpus by the functions that the rules call."""
    monkeypatch_module.chdir(ROOT)
    folder = tmp_path_factory.mktemp("demo")
    fasta = folder / "genome.fa"
    motif_file = next(Path("resources/motifs").glob("*.jaspar"))
    blacklist = "resources/demo/blacklist.bed.gz"
    index_genome("resources/demo/genome.fa.gz", fasta)
    lengths = read_lengths(f"{fasta}.fai")
    preflight(
        fasta,
        "hg19",
        {"genome": "resources/demo/genome.fa.gz", "motifs": str(motif_file), "blacklist": blacklist},
        "config/demo_samples.tsv",
        contigs=".+",
        data="data",
        lock=folder / "lock.tsv",
        validation=VALIDATION,
        test=TEST,
        width=515,
        out=folder / "preflight.tsv",
    )
    samples = read_samples("config/demo_samples.tsv")
    for sample in samples:
        out = folder / f"peaks/{sample.sample}.bed.gz"
        clean_sample(sample, lengths, ".+", blacklist, None, Peaks(), out)
    write_regions(
        {s.sample: folder / f"peaks/{s.sample}.bed.gz" for s in samples},
        {s.sample: s.cell_type for s in samples},
        515,
        split_segments(lengths, VALIDATION, TEST),
        folder,
    )
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(
        motif_file, background, 1.0, 1e-4, 1e-3, "similarity", None, folder / "motifs.parquet"
    )
    table = read_motif_table(folder / "motifs.parquet")
    scan_chunk(fasta, folder / "regions.parquet", table, 0, 1, folder / "hits.parquet")
    part = folder / "corpus/part-0000.parquet"
    write_part(
        fasta,
        "hg19",
        folder / "regions.parquet",
        folder / "accessibility.parquet",
        folder / "motifs.parquet",
        folder / "hits.parquet",
        folder / "preflight.tsv",
        sorted({s.cell_type for s in samples}),
        0,
        1,
        part,
    )
    write_manifest([part], part.parent / "manifest.json")
    return part.parent


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def histories(corpus: Path) -> dict[str, pd.DataFrame]:
    found = {}
    for variant in VARIANTS:
        history = corpus.parent / f"{variant}.tsv"
        pretrain(corpus, MODEL, SETTINGS, variant, 1, corpus.parent / variant, history)
        found[variant] = pd.read_csv(history, sep="\t")
    return found


def series(history: pd.DataFrame, split: str, metric: str) -> list[float]:
    rows = history[(history["split"] == split) & (history["metric"] == metric)]
    return rows["value"].tolist()


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("objective", ["masked_sequence", "masked_region", "matching"])
def test_every_loss_falls(histories: dict[str, pd.DataFrame], objective: str, split: str) -> None:
    losses = series(histories["multimodal"], split, f"{objective}_loss")
    assert losses[-1] < losses[0]


def test_hidden_tokens_are_predicted_better_than_by_guessing(histories: dict[str, pd.DataFrame]) -> None:
    assert series(histories["multimodal"], "validation", "masked_sequence_accuracy")[-1] > 10 / 4096
    assert series(histories["multimodal"], "validation", "masked_sequence_perplexity")[-1] < 0.9 * 4096


def test_held_out_matching_reaches_what_is_asked_of_it(histories: dict[str, pd.DataFrame]) -> None:
    chance = series(histories["multimodal"], "validation", "matching_chance")[-1]
    assert chance < 0.08
    assert series(histories["multimodal"], "validation", "matching_top1")[-1] >= 0.7


def test_linear_baseline_is_reported_beside_it(histories: dict[str, pd.DataFrame]) -> None:
    (baseline,) = series(histories["multimodal"], "validation", "matching_linear_top1")
    assert 0.7 <= baseline <= 1


def test_matching_is_at_chance_when_matrices_are_of_other_loci(
    histories: dict[str, pd.DataFrame],
) -> None:
    chance = series(histories["shuffled"], "validation", "matching_chance")[-1]
    top1 = series(histories["shuffled"], "validation", "matching_top1")[-1]
    # Four standard deviations of 256 guesses.
    assert abs(top1 - chance) < 4 * (chance * (1 - chance) / 256) ** 0.5


def test_reconstruction_of_held_out_matrices_beats_the_mean_of_the_motif(
    histories: dict[str, pd.DataFrame],
) -> None:
    assert series(histories["multimodal"], "validation", "masked_region_r2")[-1] > 0
