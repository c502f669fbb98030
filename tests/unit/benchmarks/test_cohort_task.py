import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from genebert.benchmarks.answer import Question
from genebert.benchmarks.cohort import answer
from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.individuals import Individuals, read_individuals, write_individuals
from genebert.benchmarks.tasks.cohort import build, check, frequencies, regions_of
from genebert.benchmarks.tasks.material import Material
from genebert.config import CohortTask, Finetune, parse_model
from genebert.corpus.read import Corpus
from genebert.errors import GenebertError
from genebert.genome import Genome, Interval
from genebert.motifs.table import MotifTable

PCS = ["pc1", "pc2", "pc3"]
# What the tests of single cases read: 0.7 of the 3 Mb that the demo's cohort covers.
LAST = 1_700_000


@dataclass(frozen=True)
class Files:
    """A cohort as text: VCF records and rows of the phenotypes, both without their heads."""

    samples: list[str]
    records: list[list[str]]
    people: list[list[str]]

    def write(self, folder: Path) -> dict[str, Path]:
        folder.mkdir(exist_ok=True)
        head = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *self.samples]
        lines = ["##fileformat=VCFv4.2", *("\t".join(row) for row in [head, *self.records])]
        (folder / "cohort.vcf").write_text("\n".join(lines) + "\n")
        rows = [["sample", *PCS, "simulated_phenotype"], *self.people]
        (folder / "phenotypes.tsv").write_text("\n".join("\t".join(row) for row in rows) + "\n")
        return {"genotypes": folder / "cohort.vcf", "phenotypes": folder / "phenotypes.tsv"}


@pytest.fixture(scope="module")
def whole(repository: Path) -> Files:
    """The demo's cohort."""
    text = gzip.decompress((repository / "resources/demo/cohort.vcf.gz").read_bytes()).decode()
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("##")]
    people = (repository / "resources/demo/cohort_phenotypes.tsv").read_text().splitlines()[1:]
    return Files(rows[0][9:], rows[1:], [line.split("\t") for line in people])


@pytest.fixture(scope="module")
def part(whole: Files, demo: SimpleNamespace) -> Files:
    """A hundred individuals, and the variants in and beside open regions of a stretch."""
    regions = _regions(demo)
    near = [row for row in whole.records if int(row[1]) < LAST and _region(regions, int(row[1]) + 300)]
    inside = [row for row in whole.records if int(row[1]) < LAST and _region(regions, int(row[1]))]
    records = sorted({row[1]: row for row in [*near, *inside]}.values(), key=lambda row: int(row[1]))
    return Files(whole.samples[:100], [row[:109] for row in records], whole.people[:100])


def _regions(demo: SimpleNamespace) -> list[tuple[int, int, int]]:
    rows = pq.read_table(demo.regions).to_pandas()
    return [(row.region_id, row.start, row.end) for row in rows.itertuples()]


def _region(regions: list[tuple[int, int, int]], pos: int) -> list[int]:
    """The regions that hold a VCF's position: 1-based, where ours are 0-based."""
    return [number for number, start, end in regions if start <= pos - 1 < end]


@pytest.fixture(scope="module")
def make(
    demo: SimpleNamespace, few_table: MotifTable
) -> Callable[..., tuple[Dataset, Individuals, str]]:
    """Build the task in a folder; return both files and the line on them."""
    material = Material(
        name="cohort",
        fasta=demo.fasta,
        contigs=".+",
        segments=demo.segments,
        regions=demo.regions,
        accessibility=demo.accessibility,
        motifs=few_table,
        columns=6,
        cell_types={},
        block_bp=1_000_000,
    )

    def make(files: Mapping[str, Path], out: Path, **more: object) -> tuple[Dataset, Individuals, str]:
        line = build(_settings(**more), files, material, out / "d.parquet", out / "i.parquet")
        return read_dataset(out / "d.parquet"), read_individuals(out / "i.parquet"), line

    return make


def _settings(**more: object) -> CohortTask:
    given = {
        "genotypes": "g",
        "phenotypes": "p",
        "type": "cohort",
        "phenotype": "simulated_phenotype",
        "covariates": PCS,
        "simulated": True,
        "folds": 3,
        **more,
    }
    return CohortTask(**given)  # type: ignore[arg-type]


def _dosages(files: Files, positions: set[int]) -> dict[tuple[str, int, str], int]:
    """Copies of the alternate allele by sample, position (from 1) and allele, read by hand."""
    return {
        (sample, int(row[1]), alt): -1 if "." in call else call.count(str(number))
        for row in files.records
        if int(row[1]) in positions
        for number, alt in enumerate(row[4].split(","), start=1)
        for sample, call in zip(files.samples, row[9:], strict=True)
    }


def _agree(dataset: Dataset, individuals: Individuals, files: Files) -> None:
    """Every genotype of the companion is that of the VCF, found by what the dataset's row says."""
    middle = int(dataset.metadata["settings"]["width"]) // 2
    known = _dosages(files, set(dataset.table["start"] + middle + 1))
    for example, row in enumerate(dataset.table.itertuples()):
        alternative = row.alternative[middle]
        own = [
            known[sample, row.start + middle + 1, alternative] for sample in individuals.table["sample"]
        ]
        assert individuals.dosage[:, example].tolist() == own


@pytest.fixture(scope="module")
def demos(
    whole: Files,
    make: Callable[..., tuple[Dataset, Individuals, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Dataset, Individuals, str]:
    """The task on the demo's data."""
    folder = tmp_path_factory.mktemp("cohort")
    return make(whole.write(folder), folder, folds=5)


def test_variants_are_those_of_the_vcf_in_open_regions(
    demos: tuple[Dataset, Individuals, str], whole: Files, demo: SimpleNamespace
) -> None:
    dataset, individuals, line = demos
    regions = _regions(demo)
    expected = {
        (int(row[1]), row[4]): found[0]
        for row in whole.records
        if (found := _region(regions, int(row[1])))
    }
    genome = Genome(demo.fasta)
    seen = {}
    for row in dataset.table.itertuples():
        bases = genome.fetch(Interval(row.chrom, row.start, row.end))
        assert row.sequence == bases
        assert (row.alternative[:150], row.alternative[151:]) == (bases[:150], bases[151:])
        assert row.alternative[150] != bases[150]
        seen[row.start + 151, row.alternative[150]] = int(individuals.region[row.example_id])
    assert seen == expected
    assert len(seen) > 150
    places = {number: f"chr20:{start}-{end}" for number, start, end in regions}
    assert individuals.places == {number: places[number] for number in set(expected.values())}
    assert f"{len(seen)} variants in {len(individuals.places)} open regions" in line


def test_genotypes_are_those_of_each_individual(
    demos: tuple[Dataset, Individuals, str], whole: Files
) -> None:
    dataset, individuals, _ = demos
    _agree(dataset, individuals, whole)
    people = {row[0]: row for row in whole.people}
    assert individuals.table["sample"].tolist() == sorted(people)
    for row in individuals.table.itertuples():
        assert str(row.label) == people[row.sample][4]
        assert [row.covariate_pc1, row.covariate_pc2, row.covariate_pc3] == [
            float(cell) for cell in people[row.sample][1:4]
        ]


def test_the_dataset_says_that_the_phenotype_is_simulated_and_labels_mean_nothing(
    demos: tuple[Dataset, Individuals, str],
) -> None:
    dataset, _, line = demos
    expected = {
        "simulated": True,
        "phenotype": "simulated_phenotype",
        "individuals": 503,
        "indels": 0,
        "classes": ["control", "case"],
    }
    assert {name: dataset.metadata[name] for name in expected} == expected
    assert "251 of them cases of SIMULATED 'simulated_phenotype'" in line
    assert set(dataset.table["label"]) == {0}
    assert set(dataset.table["split"]) == {"test"}
    assert set(dataset.table["fold"]) == {-1}
    assert set(dataset.table["subset"]) == {""}


def test_folds_are_stratified_and_follow_the_seed(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    files = part.write(tmp_path)
    own, again, other = (make(files, tmp_path / str(n), seed=s)[1] for n, s in enumerate((1, 1, 2)))
    counts = own.table.groupby(["fold", "inner_fold", "label"]).size()
    assert len(counts) == 3 * 3 * 2
    assert counts.groupby("label").max().sub(counts.groupby("label").min()).max() <= 1
    pd.testing.assert_frame_equal(own.table, again.table)
    assert (own.table["fold"] != other.table["fold"]).mean() > 0.3


def test_the_order_of_either_file_does_not_matter(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    columns = rng.permutation(len(part.samples))
    one = _usable(part, make, tmp_path / "usable")
    third = next(base for base in "ACGT" if base not in (one[3], one[4]))
    allele = [*one[:4], third, *one[5:9], *rng.permutation(one[9:])]
    part = Files(part.samples, [*part.records, allele], part.people)
    shuffled = Files(
        [part.samples[n] for n in columns],
        [[*row[:9], *(row[9 + n] for n in columns)] for row in reversed(part.records)],
        [part.people[n] for n in rng.permutation(len(part.people))],
    )
    for name, files in (("one", part), ("other", shuffled)):
        dataset, individuals, _ = make(files.write(tmp_path / name), tmp_path / name)
        _agree(dataset, individuals, part)
        assert len(dataset.table) > 20
    for name in ("d.parquet", "i.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_individuals_of_one_file_only_are_left_out_and_counted(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    files = Files(part.samples, part.records, [*part.people[7:], ["ghost", "1", "2", "3", "1"]])
    _, individuals, line = make(files.write(tmp_path), tmp_path)
    assert individuals.table["sample"].tolist() == sorted(row[0] for row in part.people[7:])
    assert "93 individuals" in line
    assert "1 individuals without genotypes, 7 individuals without a phenotype" in line


def test_missing_genotypes_stay_missing_and_are_counted(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    records = [list(row) for row in part.records]
    for number, row in enumerate(records):
        row[9 + number % 100] = ("./.", ".", "0/.")[number % 3]
    holed = Files(part.samples, records, part.people)
    dataset, individuals, line = make(holed.write(tmp_path), tmp_path)
    _agree(dataset, individuals, holed)
    assert (individuals.dosage == -1).sum() == len(dataset.table)
    assert f"{len(dataset.table)} genotypes missing" in line


def test_alternate_alleles_of_a_line_are_variants_of_their_own(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    one = _usable(part, make, tmp_path)
    other = next(base for base in "ACGT" if base not in (one[3], one[4]))
    calls = [["0|1", "1|2", "2/2", "0/0"][n % 4] for n in range(100)]
    files = Files(part.samples, [[*one[:4], f"{one[4]},{other}", *one[5:9], *calls]], part.people)
    dataset, individuals, _ = make(files.write(tmp_path), tmp_path)
    assert set(dataset.table["alternative"].str[150]) == {one[4], other}
    _agree(dataset, individuals, files)


def _usable(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], folder: Path
) -> list[str]:
    """The record of the first variant of the dataset."""
    dataset, _, _ = make(part.write(folder), folder)
    place = str(int(dataset.table["start"].iloc[0]) + 151)
    return next(row for row in part.records if row[1] == place)


def test_frequencies_are_those_of_the_individuals_in_use(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    everyone, individuals, _ = make(part.write(tmp_path), tmp_path)
    share = individuals.dosage.sum(0) / 200
    rare, few, line = make(part.write(tmp_path), tmp_path / "rare", max_frequency=0.25)
    key = ["start", "alternative"]
    kept = everyone.table.loc[(share > 0) & (share <= 0.25), key]
    assert rare.table[key].values.tolist() == kept.values.tolist()
    assert 0 < len(kept) < len(everyone.table)
    assert f"{int((share > 0.25).sum())} above a frequency of 0.25" in line
    # Nobody of those left has it.
    nobody = [[*row[:9], *["0|0"] * 100] for row in part.records[:5]]
    some, _, line = make(
        Files(part.samples, [*nobody, *part.records[5:]], part.people).write(tmp_path), tmp_path / "n"
    )
    gone = {int(row[1]) - 151 for row in nobody}
    assert some.table["start"].tolist() == [s for s in everyone.table["start"] if s not in gone]
    assert few.dosage.shape[1] == len(rare.table)


def test_fewer_variants_than_there_are_keep_their_own_genotypes(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    dataset, individuals, line = make(part.write(tmp_path), tmp_path, max_examples=9)
    assert len(dataset.table) == individuals.dosage.shape[1] == len(individuals.region) == 9
    assert "9 variants in" in line
    _agree(dataset, individuals, part)


def test_only_regions_open_in_the_cell_type_bear_a_burden(
    part: Files,
    make: Callable[..., tuple[Dataset, Individuals, str]],
    demo: SimpleNamespace,
    tmp_path: Path,
) -> None:
    open_in = pq.read_table(demo.accessibility).to_pandas().query("cell_type == 'K562'")["region_id"]
    everywhere, everyone, _ = make(part.write(tmp_path), tmp_path)
    dataset, individuals, _ = make(part.write(tmp_path), tmp_path / "k", cell_type="K562")
    assert set(dataset.table["cell_type"]) == {"K562"}
    assert set(individuals.region) == set(everyone.region) & set(open_in)
    assert 0 < len(dataset.table) < len(everywhere.table)


def test_indels_are_kept_dropped_or_refused(
    part: Files,
    make: Callable[..., tuple[Dataset, Individuals, str]],
    demo: SimpleNamespace,
    tmp_path: Path,
) -> None:
    one = _usable(part, make, tmp_path)
    at = int(one[1]) - 1
    ref = Genome(demo.fasta).fetch(Interval("chr20", at, at + 3))
    files = Files(part.samples, [*part.records, [*one[:3], ref, ref[0], *one[5:]]], part.people)
    paths = files.write(tmp_path)
    dropped, _, line = make(paths, tmp_path / "drop")
    assert dropped.metadata["indels"] == 0
    assert "1 alleles: indel" in line
    kept, individuals, _ = make(paths, tmp_path / "keep", indels="keep")
    assert kept.metadata["indels"] == 1
    assert kept.metadata["first_indel"] == f"chr20:{at + 1} {ref}>{ref[0]}"
    assert len(kept.table) == len(dropped.table) + 1 == individuals.dosage.shape[1]
    with pytest.raises(GenebertError, match=rf"is an indel .*cohort\.vcf line {len(files.records) + 2}"):
        make(paths, tmp_path / "refuse", indels="refuse")


def test_what_does_not_fit_is_named_and_nothing_written(
    part: Files, make: Callable[..., tuple[Dataset, Individuals, str]], tmp_path: Path
) -> None:
    one = _usable(part, make, tmp_path)
    wrong = next(base for base in "ACGT" if base not in (one[3], one[4]))
    strangers = [[f"x{row[0]}", *row[1:]] for row in part.people]
    healthy = [[*row[:4], "0" if n > 20 else "1"] for n, row in enumerate(part.people)]
    cases: list[tuple[str, Sequence[list[str]], list[list[str]], dict[str, object]]] = [
        (r"REF of chr20:\d+ is .*cohort\.vcf line 3", [[*one[:3], wrong, *one[4:]]], part.people, {}),
        (
            "has no variant in an open region .*1 that nobody has",
            [[*one[:9], *["0/0"] * 100]],
            part.people,
            {},
        ),
        ("no sample of .*phenotypes.tsv is in the VCF: 'x", [one], strangers, {}),
        (
            "21 cases and 79 controls are in both files; 4 folds, .* need 24",
            [one],
            healthy,
            {"folds": 4},
        ),
        ("column 'sick' is missing", [one], part.people, {"phenotype": "sick"}),
        ("cell type 'Liver' is in no sample", [one], part.people, {"cell_type": "Liver"}),
    ]
    for said, records, people, more in cases:
        files = Files(part.samples, list(records), people).write(tmp_path / "bad")
        with pytest.raises(GenebertError, match=said):
            make(files, tmp_path / "bad", **more)
        assert not (tmp_path / "bad/d.parquet").exists()
        assert not (tmp_path / "bad/i.parquet").exists()


def test_two_lines_of_one_change_are_refused(
    part: Files,
    make: Callable[..., tuple[Dataset, Individuals, str]],
    demo: SimpleNamespace,
    tmp_path: Path,
) -> None:
    one = _usable(part, make, tmp_path)
    at = int(one[1]) - 1
    ref = Genome(demo.fasta).fetch(Interval("chr20", at, at + 2))
    long = [*one[:3], ref, one[4] + ref[1], *one[5:]]
    files = Files(part.samples, [one, long], part.people).write(tmp_path)
    with pytest.raises(GenebertError, match=rf"at chr20:{at + 1} are one change .*lines 3 and 4"):
        make(files, tmp_path)


def test_check_reads_both_files(part: Files, demo: SimpleNamespace, tmp_path: Path) -> None:
    files = part.write(tmp_path)
    assert check(_settings(), "cohort", files, demo.lengths, ".+") == {
        "genotypes": len(part.records),
        "phenotypes": 100,
    }
    with pytest.raises(GenebertError, match=r"need 60 of either .*benchmarks\.tasks\.cohort"):
        check(_settings(folds=10), "cohort", files, demo.lengths, ".+")
    with pytest.raises(GenebertError, match="contig"):
        check(_settings(contig_style="ensembl"), "cohort", files, demo.lengths, ".+")


def test_regions_and_frequencies_by_hand() -> None:
    regions = pd.DataFrame(
        {"region_id": [3, 7, 9], "chrom": ["a", "a", "b"], "start": [10, 20, 0], "end": [20, 25, 5]}
    )
    variants = pd.DataFrame({"chrom": list("abaaaac"), "start": [19, 4, 20, 9, 25, 10, 3]})
    assert regions_of(variants, regions).tolist() == [3, 9, 7, -1, -1, 3, -1]
    dosage = np.array([[0, -1, 2], [1, -1, 2], [-1, -1, 2]], dtype=np.int8)
    assert frequencies(dosage).tolist() == [0.25, 0, 1]


def test_the_demos_simulated_causal_regions_are_found(
    demos: tuple[Dataset, Individuals, str],
    synthetic_corpus: Corpus,
    repository: Path,
    tmp_path: Path,
) -> None:
    dataset, individuals, _ = demos
    write_individuals(individuals, tmp_path / "i.parquet")
    found = answer(
        Question(
            dataset=dataset,
            companion=tmp_path / "i.parquet",
            corpus_folder=tmp_path,
            corpus=synthetic_corpus.metadata,
            model=parse_model("allele_count"),
            weights=None,
            settings=Finetune(),
            seed=1,
            device="cpu",
        )
    )
    assert found.facts["simulated"] is True
    assert found.facts["auroc_of_covariates"] < 0.65
    assert found.facts["auroc_gain"] > 0.1
    assert found.facts["p_value"] == 1 / 201
    causal = pd.read_csv(repository / "resources/demo/cohort_causal_regions.tsv", sep="\t")
    for row in found.facts["top_regions"][:3]:
        start, end = map(int, row["region"].removeprefix("chr20:").split("-"))
        assert ((causal["start"] < end) & (causal["end"] > start)).any(), row
