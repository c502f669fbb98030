"""Every type of task, small, built from the demo's real data by its own module."""

import dataclasses
import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertModel

from genebert.benchmarks.dataset import Dataset, write_dataset
from genebert.benchmarks.tasks.material import Material
from genebert.config import TASKS, RegionEncoder, SequenceEncoder
from genebert.config import Model as ModelSettings
from genebert.corpus.write import write_manifest, write_part
from genebert.files import read_lines
from genebert.model.checkpoint import Card, save_model
from genebert.model.genebert import GeneBERT
from genebert.motifs.scan import Scanner, scan_chunk
from genebert.motifs.table import read_motif_table, write_motif_table

COLUMNS = 6
# Enough to fill every split; files are those of the folder `files`.
SETTINGS: dict[str, dict[str, Any]] = {
    "promoter": {"tss": "tss.bed.gz", "upstream": 79, "downstream": 20, "max_examples": 16},
    "tfbs": {
        "tf": "CTCF",
        "peaks": {"GM12878": "GM12878.bed", "K562": "K562.bed"},
        "train_in": "GM12878",
        "width": 100,
        "max_examples": 24,
    },
    "splicing": {"annotation": "genes.tsv", "width": 80, "max_examples": 16, "score_genes": True},
    "accessibility": {"max_examples": 6},
    "labelled": {"folder": "cell_lines", "crop": 120, "max_examples": 24},
    "variants": {"variants": "hdl_variants.tsv.gz", "width": 60, "max_examples": 60, "folds": 3},
    "cohort": {
        "genotypes": "cohort.vcf",
        "phenotypes": "cohort_phenotypes.tsv",
        "phenotype": "simulated_phenotype",
        "covariates": ["pc1", "pc2"],
        "simulated": True,
        "width": 60,
        "folds": 3,
        "permutations": 20,
    },
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What runs need.

    Attributes
    ----------
    material
        Of tasks.
    files
        Folder of the tasks' input files.
    corpus, weights, encoder
        Folders of the corpus, of a GeneBERT of random weights and of a Hugging Face encoder.
    out
        Folder in which tasks are built.
    """

    material: Material
    files: Path
    corpus: Path
    weights: Path
    encoder: Path
    out: Path

    def build(self, kind: str, out: Path, **changes: Any) -> tuple[Path, Path | None]:
        """Build a task as the configuration's section says; return its dataset and its companion."""
        settings = TASKS[kind].model_validate({"type": kind} | SETTINGS[kind] | changes)
        files = {key: self.files / source for key, source in settings.sources().items()}
        material = dataclasses.replace(self.material, name=kind)
        companion = {"splicing": "genes.parquet", "cohort": "individuals.parquet"}.get(kind)
        more = {} if companion is None else {"companion": out / companion}
        module = importlib.import_module(f"genebert.benchmarks.tasks.{kind}")
        module.build(settings, files, material, out / "dataset.parquet", **more)
        return out / "dataset.parquet", more.get("companion")

    def task(self, kind: str) -> tuple[Path, Path | None]:
        """Return the dataset and the companion of a small task, built once."""
        out = self.out / kind
        if not out.exists():
            return self.build(kind, out)
        companion = next((path for path in out.iterdir() if path.name != "dataset.parquet"), None)
        return out / "dataset.parquet", companion


@pytest.fixture(scope="session")
def bench(
    demo: SimpleNamespace, few_motifs: Path, jaspar_file: Path, repository: Path, tmp_path_factory: Any
) -> Bench:
    """The demo's genome and catalogue with four motifs, one of them CTCF's."""
    folder = tmp_path_factory.mktemp("bench")
    own = few_motifs.read_text() + _ctcf(jaspar_file)
    (folder / "motifs.jaspar").write_text(own)
    table = folder / "motifs.parquet"
    background = [0.295, 0.205, 0.205, 0.295]
    write_motif_table(folder / "motifs.jaspar", background, 1.0, 1e-3, 5e-2, "similarity", None, table)
    motifs = read_motif_table(table)
    material = Material(
        name="",
        fasta=demo.fasta,
        contigs=".+",
        segments=demo.segments,
        regions=demo.regions,
        accessibility=demo.accessibility,
        motifs=motifs,
        columns=COLUMNS,
        cell_types={"validation": ["Bcell", "CD8"], "test": ["GM12878"]},
        block_bp=1_000_000,
    )
    return Bench(
        material,
        _files(folder / "files", demo, repository / "resources/demo"),
        _corpus(folder, demo, table),
        _weights(folder / "weights", material),
        _encoder(folder / "encoder"),
        folder / "tasks",
    )


def _ctcf(jaspar: Path) -> str:
    lines = jaspar.read_text().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith(">MA0139.2"))
    return "".join(lines[first : first + 5])


def _files(folder: Path, demo: SimpleNamespace, source: Path) -> Path:
    """The demo's own files; of peaks, genes and genotypes only what a small task needs."""
    folder.mkdir()
    names = ("tss.bed.gz", "exons.tsv.gz", "cell_lines", "hdl_variants.tsv.gz", "cohort_phenotypes.tsv")
    for name in names:
        (folder / name).symlink_to(source / name)
    regions = pq.read_table(demo.regions).to_pandas()
    views = pq.read_table(demo.accessibility).to_pandas()
    # Every other region open in a cell type has a peak.
    for cell_type in SETTINGS["tfbs"]["peaks"]:
        ids = views.loc[views["cell_type"] == cell_type, "region_id"].iloc[::2]
        rows = regions.loc[ids, ["chrom", "start", "end"]]
        rows.to_csv(folder / f"{cell_type}.bed", sep="\t", header=False, index=False)
    header, *genes = (line for _, line in read_lines(source / "exons.tsv.gz"))
    (folder / "genes.tsv").write_text("\n".join([header, *_few_genes(genes, demo)]) + "\n")
    _write_vcf(source / "cohort.vcf.gz", regions, folder / "cohort.vcf")
    return folder


def _few_genes(genes: list[str], demo: SimpleNamespace) -> list[str]:
    """The first genes of each split with several introns; of the test split the shortest one."""
    table = pd.DataFrame([gene.split("\t")[:6] for gene in genes]).astype({3: int, 4: int})
    introns = table[5].str.rstrip(",").str.count(",")
    split = [
        next((s.split for s in demo.segments if s.start <= start and end <= s.end), "")
        for start, end in zip(table[3], table[4], strict=True)
    ]
    table = table.assign(split=split, length=table[4] - table[3])[introns >= 3].sort_values("length")
    few = table.groupby("split").head(8)
    kept = few[(few["split"] != "test") | ~few["split"].duplicated()]
    return [genes[row] for row in sorted(kept.index)]


def _write_vcf(source: Path, regions: pd.DataFrame, out: Path) -> None:
    """The demo's cohort, variants of its first open regions only."""
    places = regions.head(40)
    lines = []
    for _, line in read_lines(source):
        start = -1 if line.startswith("#") else int(line.split("\t", 2)[1]) - 1
        if start < 0 or ((places["start"] <= start) & (start < places["end"])).any():
            lines.append(line + "\n")
    out.write_text("".join(lines))


def _corpus(folder: Path, demo: SimpleNamespace, table: Path) -> Path:
    inputs = folder / "preflight.tsv"
    inputs.write_text("input\tpath\trecords\tsha256\nmotifs\tm\t4\tdef\n")
    names = pq.read_table(demo.accessibility)["cell_type"].unique().to_pylist()
    scan_chunk(demo.fasta, demo.regions, read_motif_table(table), 0, 1, folder / "hits.parquet")
    write_part(
        demo.fasta,
        "hg19",
        demo.regions,
        demo.accessibility,
        table,
        folder / "hits.parquet",
        inputs,
        names,
        0,
        1,
        folder / "corpus/part-0000.parquet",
    )
    write_manifest([folder / "corpus/part-0000.parquet"], folder / "corpus/manifest.json")
    return folder / "corpus"


def _weights(folder: Path, material: Material) -> Path:
    settings = ModelSettings(
        columns=COLUMNS,
        projection=16,
        sequence=SequenceEncoder(
            k=3, layers=1, width=16, heads=2, feedforward=32, positions=515, norm="pre"
        ),
        region=RegionEncoder(patch=[1, 1], window=[4, 3], width=16, depths=[1], heads=[2]),
    )
    motifs = material.motifs
    card = Card(
        settings=settings,
        motifs=[motif.label for motif in motifs.motifs],
        motif_digest=motifs.digest(),
        variant="scratch",
        seed=0,
        steps=0,
    )
    torch.manual_seed(0)
    save_model(GeneBERT(settings, len(motifs.motifs)), card, folder)
    return folder


def _encoder(folder: Path) -> Path:
    """A BERT over overlapping 3-mers, as DNABERT is published."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += ["".join(word) for word in itertools.product("ATCG", repeat=3)]
    torch.manual_seed(0)
    content = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=515,
    )
    BertModel(content).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


@pytest.fixture(scope="session")
def rewrite(bench: Bench) -> Callable[..., Path]:
    """Write a dataset with other rows, labels, columns or sequences; hits are scanned anew."""

    def rewritten(dataset: Dataset, out: Path, **changes: Any) -> Path:
        own = dataclasses.replace(dataset, **changes)
        scanner, table = Scanner(bench.material.motifs), own.table.drop(columns="example_id")
        texts = {"hits": table["sequence"]}
        if own.alternative_codes is not None:
            texts["alternative_hits"] = table["alternative"]
        hits = {name: _hits(scanner, sequences.tolist()) for name, sequences in texts.items()}
        write_dataset(table, columns=own.columns, metadata=own.metadata, out=out, **hits)
        return out

    return rewritten


def _hits(scanner: Scanner, sequences: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    found = scanner.scan(sequences)
    bounds = np.searchsorted(found.sequence, np.arange(1, len(sequences)))
    return np.split(found.motif, bounds), np.split(found.score, bounds)
