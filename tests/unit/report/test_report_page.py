"""The page of a small finished run: real trainings on a made-up corpus."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genebert.attribution import densest_region, write_attribution
from genebert.benchmarks.leakage import write_leakage
from genebert.config import Compute, Pretrain, Variant
from genebert.config import Model as ModelSettings
from genebert.corpus.manifest import read_manifest
from genebert.corpus.read import Corpus
from genebert.embed import write_embeddings
from genebert.motifs.table import read_motif_table, write_motif_table
from genebert.pretrain.loop import pretrain
from genebert.pretrain.record import Outputs
from genebert.pretrain.setup import Sources
from genebert.report.page import write_report
from genebert.report.tables import write_summary

MOTIFS = 40
VARIANTS = {
    "multimodal": Variant(masked_sequence=1, masked_region=10, matching=0.5),
    "sequence_only": Variant(masked_sequence=1),
    "scratch": Variant(trained=False),
}
SETTINGS = Pretrain(
    steps=4,
    batch_size=8,
    warmup_steps=1,
    matching_group=4,
    evaluate_every=2,
    evaluation_views=16,
    variants=VARIANTS,
)


class Page(HTMLParser):
    """The text of a page, and of each cell of its tables, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.open.append(tag)
        elif tag == "br" and self.open:
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def results(
    make_corpus: Callable[..., Corpus],
    write_corpus: Callable[..., Path],
    tiny_settings: ModelSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A results folder with a corpus, motifs, and two seeds of each variant."""
    folder = tmp_path_factory.mktemp("results")
    corpus = make_corpus(motifs=MOTIFS)
    names = [f"MA{number} TF{number}" for number in range(MOTIFS)]
    digest = _write_motifs(folder)
    metadata = corpus.metadata.model_copy(update={"motifs": names, "motif_digest": digest})
    write_corpus(Corpus(**{**vars(corpus), "metadata": metadata}), folder / "corpus")
    (folder / "reference").mkdir()
    (folder / "reference/preflight.tsv").write_text(
        "input\tpath\trecords\tsha256\ngenome\tg.fa\t2\tabcdef\n"
    )
    timings = folder / "logs/timings"
    timings.mkdir(parents=True)
    for stage in ("corpus", "npmi", "benchmark.old"):
        (timings / f"{stage}.tsv").write_text("s\tmax_rss\n1.5\t20\n")
    for variant in VARIANTS:
        for seed in (1, 2):
            out = folder / f"pretrain/{variant}/seed{seed}"
            pretrain(
                folder / "corpus",
                Sources(),
                tiny_settings,
                SETTINGS,
                Compute(),
                variant,
                seed,
                "cpu",
                Outputs(out / "model", out / "history.tsv", out / "checkpoints"),
            )
    return folder


def _write_motifs(folder: Path) -> str:
    """Write a motif table; return its digest."""
    counts = np.random.default_rng(0).integers(1, 30, (MOTIFS, 4, 8))
    text = "".join(
        f">MA{number}\tTF{number}\n"
        + "".join(
            f"{base} [ {' '.join(map(str, row))} ]\n" for base, row in zip("ACGT", motif, strict=True)
        )
        for number, motif in enumerate(counts)
    )
    (folder / "motifs.jaspar").write_text(text)
    table = folder / "motifs/motifs.parquet"
    write_motif_table(folder / "motifs.jaspar", [0.25] * 4, 1.0, 0.01, 0.05, "file", None, table)
    return read_motif_table(table).digest()


def write(results: Path, variants: list[str], out: Path) -> str:
    histories = [results / f"pretrain/{v}/seed{seed}/history.tsv" for v in variants for seed in (1, 2)]
    write_report(results, [], histories, [], "toy", 1_000_000, out)
    return out.read_text()


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return write(results, list(VARIANTS), results / "report.html")


def held_out(results: Path, variant: str, metric: str) -> list[float]:
    values = []
    for seed in (1, 2):
        table = pd.read_csv(results / f"pretrain/{variant}/seed{seed}/history.tsv", sep="\t")
        rows = table[(table["split"] == "validation") & (table["metric"] == metric)]
        values.append(rows["value"].tolist()[-1])
    return values


@pytest.mark.parametrize(
    ("variant", "column", "metric"),
    [
        ("multimodal", 3, "masked_sequence_accuracy"),
        ("multimodal", 5, "masked_sequence_base_accuracy"),
        ("multimodal", 6, "masked_region_r2"),
        ("multimodal", 7, "matching_top1"),
        ("sequence_only", 5, "masked_sequence_base_accuracy"),
        ("scratch", 6, "masked_region_r2"),
    ],
)
def test_the_table_shows_what_the_histories_hold(
    results: Path, page: str, variant: str, column: int, metric: str
) -> None:
    values = held_out(results, variant, metric)
    (row,) = (row for row in Page(page).rows if row and row[0].startswith(f"{variant}\n"))
    shown = [float(word.replace("−", "-")) for word in re.split(r"\n| to ", row[column])]
    assert shown == pytest.approx([sum(values) / 2, min(values), max(values)], abs=5.1e-4)


def test_baselines_are_rows_of_the_table(results: Path, page: str) -> None:
    rows = {row[0]: row[1:] for row in Page(page).rows if row}
    markov = held_out(results, "multimodal", "masked_sequence_markov_base_accuracy")[0]
    ridge = held_out(results, "multimodal", "matching_linear_top1")[0]
    assert rows["to beat: Markov chain"][:4] == ["", "", f"{markov:.3f}", ""]
    assert rows["to beat: ridge regression"][:5] == ["", "", "", "", f"{ridge:.3f}"]


def test_the_page_explains_what_it_shows(page: str) -> None:
    text = Page(page).text
    assert "4 steps of 8 views" in text and "the same 16 views of validation regions" in text
    for task in ("Masked tokens", "Fully hidden bases", "Hidden matrix blocks", "Matching"):
        assert f"<dt>{task}</dt>" in page
    assert "<dt>Next segment</dt>" not in page and "<dt>Motif target</dt>" not in page
    assert "On fully hidden bases, " in text


def test_without_tasks_there_are_no_stages_of_tasks(page: str) -> None:
    stages = re.findall(r"<li><b>(\w+)</b>", page)
    assert stages == [
        *("index_genome", "preflight", "peaks", "regions", "motifs", "scan_motifs", "corpus", "pretrain")
    ]
    assert "No task is configured" in page


def test_k_mers_are_a_stage_where_masking_reads_their_table(results: Path, tmp_path: Path) -> None:
    told = results / "pretrain/sequence_only/seed1/model/provenance.json"
    run = tmp_path / "sequence_only/seed1"
    (run / "model").mkdir(parents=True)
    facts = json.loads(told.read_text())
    facts["settings"]["pretrain"]["variants"]["sequence_only"]["masking"] = "genemask"
    (run / "model/provenance.json").write_text(json.dumps(facts))
    (run / "history.tsv").write_text((told.parents[1] / "history.tsv").read_text())
    out = tmp_path / "report.html"
    write_report(results, [], [run / "history.tsv"], [], "toy", 1_000_000, out)
    assert "<b>npmi</b>" in out.read_text()


def test_the_page_needs_no_network_and_is_the_same_each_time(
    results: Path, page: str, tmp_path: Path
) -> None:
    for address in ('src="', 'href="http', "@import", "<script", "url(http"):
        assert address not in page
    assert write(results, list(VARIANTS), tmp_path / "again.html") == page


def test_sequences_alone_have_no_column_of_matrices(results: Path, tmp_path: Path) -> None:
    page = write(results, ["sequence_only", "scratch"], tmp_path / "report.html")
    assert "Hidden matrix blocks" not in page and "ridge regression" not in page
    assert "Fully hidden bases" in page


def test_the_whole_page(
    results: Path, make_task: Callable[..., list[Path]], tmp_path: Path, page: str
) -> None:
    """A task with its leakage, embeddings and attributions, all made by the true stages."""
    for name in ("corpus", "motifs", "pretrain", "logs", "reference"):
        (tmp_path / name).symlink_to(results / name)
    corpus = results / "corpus"
    catalogue = read_manifest(corpus)["metadata"]["catalogue"]
    runs = make_task(
        tmp_path,
        catalogue,
        name="toy",
        settings={"type": "promoter", "tss": "t.bed"},
        classes=["other", "promoter"],
        models={"multimodal.both": 1.0, "gc_only": 0.5},
    )
    folder = tmp_path / "benchmarks"
    write_leakage(folder / "toy/dataset.parquet", corpus, folder / "toy/leakage.tsv")
    write_summary(runs, 1_000_000, folder / "summary.tsv")
    (results / "reference/preflight.toy.tsv").write_text("input\tpath\trecords\tsha256\n")
    made: dict[str, list[Path]] = {"embedded": [], "attributed": []}
    for variant in VARIANTS:
        model = results / f"pretrain/{variant}/seed1/model"
        own = tmp_path / f"features/{variant}/seed1"
        write_embeddings(model, corpus, "both", own / "embeddings.parquet", "cpu", sample=20)
        write_attribution(model, corpus, own / "attribution.parquet", "cpu")
        made["embedded"].append(own / "embeddings.parquet")
        made["attributed"].append(own / "attribution.parquet")
    out = tmp_path / "report.html"
    histories = sorted((results / "pretrain").glob("*/seed*/history.tsv"))
    write_report(tmp_path, runs, histories, ["toy"], "toy", 1_000_000, out, **made)
    whole = out.read_text()
    text = Page(whole).text
    for part in ("Region embeddings by cell type", "What the features of one place hang on", "<h3>toy"):
        assert part in whole and part not in page
    checks = len((folder / "toy/leakage.tsv").read_text().splitlines()) - 1
    assert f"of {checks} checks are flagged" in text and checks > 3
    facts = densest_region(corpus)
    assert f"{facts['chrom']}:{facts['start']:,}-{facts['end']:,}, the test region" in text
    for variant in VARIANTS:
        assert whole.count(f">{variant}, seed 1<") == 2
    for cell_type in read_manifest(corpus)["metadata"]["cell_types"]:
        assert f">{cell_type}<" in whole
    stages = re.findall(r"<li><b>(\w+)</b>", whole)
    assert stages[-6:] == ["embed", "attribution", "task", "leakage", "benchmark", "summary"]


def test_nothing_trained_is_said(results: Path, tmp_path: Path) -> None:
    page = write(results, ["scratch"], tmp_path / "report.html")
    assert "No variant was pre-trained." in page
    assert "to beat" not in page
