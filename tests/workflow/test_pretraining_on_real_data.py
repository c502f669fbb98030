"""Pre-training on the corpus of the demo: it learns what there is to learn, and nothing else."""

import math
from pathlib import Path

import pandas as pd
import pytest

from genebert.config import Compute, Model, Peaks, Pretrain, RegionEncoder, SequenceEncoder, Variant
from genebert.corpus.write import write_manifest, write_part
from genebert.genome import index_genome, read_lengths, split_segments
from genebert.inputs.peaks import clean_sample
from genebert.inputs.sheet import read_samples
from genebert.motifs.scan import scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.preflight import preflight
from genebert.pretrain.loop import pretrain
from genebert.pretrain.npmi_table import write_npmi
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources
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
STRATEGIES = ("random_span", "genemask", "global_pmi", "motif", "cm_gems", "cm_step")
VARIANTS |= {name: Variant(masked_sequence=1, masking=name) for name in STRATEGIES}
VARIANTS["all_objectives"] = Variant(
    masked_sequence=1, masked_region=10, matching=0.5, next_segment=1, motif_target=1, masking="motif"
)
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
    return {variant: train(corpus, variant, SETTINGS) for variant in ("multimodal", "shuffled")}


def train(corpus: Path, variant: str, settings: Pretrain) -> pd.DataFrame:
    """Pre-train a variant and return its history."""
    npmi = corpus.parent / "npmi.parquet"
    if not npmi.exists():
        write_npmi(corpus, MODEL.sequence.k, npmi)
    history = corpus.parent / f"{variant}.tsv"
    outputs = Outputs(corpus.parent / variant, history, corpus.parent / "checkpoints")
    sources = Sources(motifs=corpus.parent / "motifs.parquet", npmi=npmi)
    pretrain(corpus, sources, MODEL, settings, Compute(), variant, 1, "cpu", outputs)
    return pd.read_csv(history, sep="\t")


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


@pytest.fixture(scope="module")
def short(corpus: Path) -> dict[str, pd.DataFrame]:
    """A few steps with each strategy of masking, and with every objective at once."""
    settings = SETTINGS.model_copy(
        update={"steps": 12, "batch_size": 16, "evaluate_every": 4, "evaluation_views": 32}
    )
    return {name: train(corpus, name, settings) for name in (*STRATEGIES, "all_objectives")}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_realised_fraction_of_each_strategy_is_reported(
    short: dict[str, pd.DataFrame], strategy: str
) -> None:
    fractions = series(short[strategy], "train", "masked_sequence_fraction")
    assert all(0.10 < fraction < 0.19 for fraction in fractions)
    # Held-out figures are of one strategy, so that all can be compared.
    held_out = series(short[strategy], "validation", "masked_sequence_fraction")
    assert len(set(held_out)) == 1
    assert held_out == series(short["random_span"], "validation", "masked_sequence_fraction")


def test_curricula_log_their_switch(short: dict[str, pd.DataFrame]) -> None:
    for name in STRATEGIES:
        hard = series(short[name], "train", "masking_global_pmi_steps")
        assert len(hard) == (2 if name.startswith("cm_") else 0)
    # 12 steps: the share of hard batches rises from 0 to 0.91.
    assert 0 < sum(series(short["cm_step"], "train", "masking_global_pmi_steps")) < 12


def test_hidden_bases_are_judged_beside_a_markov_chain(short: dict[str, pd.DataFrame]) -> None:
    for name in STRATEGIES:
        (markov,) = series(short[name], "validation", "masked_sequence_markov_base_accuracy")
        assert 0.27 < markov < 0.6
        assert all(
            0.1 < value < 0.6
            for value in series(short[name], "validation", "masked_sequence_base_accuracy")
        )


@pytest.mark.parametrize(
    "metric",
    [
        "masked_sequence_perplexity",
        "masked_region_r2",
        "matching_top1",
        "next_segment_accuracy",
        "motif_target_accuracy",
    ],
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_objective_reports_what_it_can_be_judged_by(
    short: dict[str, pd.DataFrame], split: str, metric: str
) -> None:
    values = series(short["all_objectives"], split, metric)
    assert len(values) == (2 if split == "train" else 3)
    assert not any(map(math.isnan, values))
