"""What tasks make of the demo's data, as hashes: they change with a task's code."""

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genebert.benchmarks.dataset import read_dataset
from genebert.benchmarks.individuals import read_individuals
from genebert.benchmarks.tasks import cohort, labelled, variants
from genebert.benchmarks.tasks.material import Material
from genebert.config import CohortTask, LabelledTask, VariantsTask
from genebert.motifs.table import MotifTable
from genebert.versions import STAGES

DEMO = Path(__file__).parents[3] / "resources/demo"
SETTINGS: dict[str, Any] = {
    "labelled": LabelledTask(type="labelled", folder=str(DEMO / "cell_lines")),
    "variants": VariantsTask(type="variants", variants=str(DEMO / "hdl_variants.tsv.gz")),
    "variants in sets": VariantsTask(
        type="variants", variants=str(DEMO / "hdl_variants.tsv.gz"), group="matched_to"
    ),
    "cohort": CohortTask(
        type="cohort",
        genotypes=str(DEMO / "cohort.vcf.gz"),
        phenotypes=str(DEMO / "cohort_phenotypes.tsv"),
        phenotype="simulated_phenotype",
        covariates=["pc1", "pc2", "pc3"],
    ),
}
GOLDEN = {
    "labelled": (1, "176aad056648e372"),
    "variants": (1, "956c42818dc3ee14"),
    "variants in sets": (1, "aa152fed0aa4a271"),
    "cohort": (1, "07e66e3e4fd6f16a"),
}
COLUMNS = ["chrom", "start", "end", "sequence", "alternative", "label", "split", "subset", "fold"]


@pytest.fixture(scope="module")
def material(demo: SimpleNamespace, jaspar_table: MotifTable) -> Material:
    """The demo with a fiftieth of JASPAR."""
    return Material(
        name="mine",
        fasta=demo.fasta,
        contigs=".+",
        segments=demo.segments,
        regions=demo.regions,
        accessibility=demo.accessibility,
        motifs=MotifTable(jaspar_table.motifs[::50], [], jaspar_table.background, 1.0, 1e-4),
        columns=4,
        cell_types={},
        block_bp=1_000_000,
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_a_task_that_gives_other_examples_has_another_version(
    name: str, material: Material, tmp_path: Path
) -> None:
    settings = SETTINGS[name]
    kind = settings.type
    files = {key: Path(path) for key, path in settings.sources().items()}
    task = {"labelled": labelled, "variants": variants, "cohort": cohort}[kind]
    more = {"companion": tmp_path / "individuals.parquet"} if kind == "cohort" else {}
    task.build(settings, files, material, tmp_path / "dataset.parquet", **more)
    dataset = read_dataset(tmp_path / "dataset.parquet")
    text = dataset.table[COLUMNS].to_csv(index=False, lineterminator="\n")
    text += str(dataset.columns.tolist()) + str(dataset.hits.motif.tolist())
    if more:
        people = read_individuals(more["companion"])
        text += people.table.round(6).to_csv(index=False, lineterminator="\n")
        text += str(people.dosage.sum(0).tolist()) + str(people.region.tolist())
    assert (STAGES[kind], hashlib.sha256(text.encode()).hexdigest()[:16]) == GOLDEN[name], (
        f"the examples changed: raise STAGES['{kind}'] in genebert/versions.py"
    )
