import gzip
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.benchmarks.dataset import Dataset, read_dataset
from genebert.benchmarks.tasks.labelled import build, check, cropped, read_labelled
from genebert.benchmarks.tasks.material import Material
from genebert.config import LabelledTask
from genebert.errors import GenebertError
from genebert.genome import split_segments
from genebert.motifs.table import MotifTable
from genebert.regions import write_table

Run = Callable[..., Dataset]
KEYS = ("train", "dev", "test")


def _rows(number: int, classes: int = 2, length: int = 12, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    dna = ["".join(row) for row in rng.choice(list("ACGT"), (number, length))]
    return [(text, str(row % classes)) for row, text in enumerate(dna)]


def _csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    text = "sequence,label\n" + "".join(f"{dna},{label}\n" for dna, label in rows)
    path.write_text(text)
    return path


@pytest.fixture
def material(tiny_genome: Path, few_table: MotifTable, tmp_path: Path) -> Material:
    """Of which the task uses the motifs only: the catalogue has one region."""
    place = {"chrom": ["chrA"], "start": [0], "end": [50], "split": ["train"]}
    write_table(pd.DataFrame({"region_id": [0]} | place), tmp_path / "regions.parquet")
    open_in = pd.DataFrame({"region_id": [0], "cell_type": ["A"], "signal": [1.0]})
    write_table(open_in, tmp_path / "accessibility.parquet")
    return Material(
        name="l",
        fasta=tiny_genome,
        contigs=".+",
        segments=split_segments({"chrA": 6000, "chrB": 3000, "chrC": 90}, [], []),
        regions=tmp_path / "regions.parquet",
        accessibility=tmp_path / "accessibility.parquet",
        motifs=few_table,
        columns=4,
        cell_types={"validation": [], "test": []},
        block_bp=1000,
    )


@pytest.fixture
def run(material: Material, tmp_path: Path) -> Run:
    """Check and build from rows of each file, and read back."""

    def run(train: list[tuple[str, str]], *others: list[tuple[str, str]], **keys: object) -> Dataset:
        names = KEYS if len(others) == 2 else ("train", "test")
        files = {
            key: _csv(tmp_path / f"{key}.csv", rows)
            for key, rows in zip(names, (train, *others), strict=True)
        }
        if "dev" not in files:
            keys["dev"] = None
        task = LabelledTask(type="labelled", folder=str(tmp_path), **keys)  # type: ignore[arg-type]
        assert task.sources() == {key: str(path) for key, path in files.items()}
        found = check(task, "l", files, {}, ".+")
        assert found == {key: len(path.read_text().splitlines()) - 1 for key, path in files.items()}
        build(task, files, material, tmp_path / "d.parquet")
        return read_dataset(tmp_path / "d.parquet")

    return run


def test_examples_have_the_class_and_split_of_their_file_and_no_place(run: Run) -> None:
    rows = {key: _rows(9, 3, seed=seed) for seed, key in enumerate(KEYS)}
    read = run(*rows.values())
    assert read.classes == ["0", "1", "2"]
    assert read.metadata["longest"] == 12
    assert read.metadata["type"] == "labelled"
    for key, split in zip(KEYS, ("train", "validation", "test"), strict=True):
        own = read.table[read.table["split"] == split]
        assert sorted(zip(own["sequence"], own["label"].astype(str), strict=True)) == sorted(rows[key])
    assert set(map(tuple, read.table[["chrom", "start", "end", "strand", "cell_type"]].to_numpy())) == {
        ("", 0, 0, "+", "any")
    }
    assert read.columns.shape == (27, 4)
    assert (read.columns == -1).all()
    assert read.table["occupancy"].isna().all()
    assert len(read.hits.motif) > 0


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["0.0", "1.0"], ["0.0", "1.0"]),
        (["enhancer", "a b", "10"], ["10", "a b", "enhancer"]),
    ],
)
def test_classes_are_the_labels_of_training_numbers_by_value(
    run: Run, labels: list[str], classes: list[str]
) -> None:
    rows = [(dna, labels[row % len(labels)]) for row, (dna, _) in enumerate(_rows(9))]
    read = run(rows, rows, rows)
    assert read.classes == classes
    of = dict(rows)
    assert [classes[label] for label in read.labels] == [of[dna] for dna in read.table["sequence"]]


@given(st.text("ACGT", max_size=30), st.integers(1, 12))
def test_the_middle_of_longer_sequences_is_kept(dna: str, length: int) -> None:
    found = cropped(dna, length)
    assert len(found) == min(len(dna), length)
    before = (len(dna) - len(found)) // 2
    assert dna[before : before + len(found)] == found
    assert cropped(dna, None) == dna


def test_crop_and_cap_apply(run: Run) -> None:
    rows = _rows(30, length=40)
    read = run(rows, rows, rows, crop=10, max_examples=4)
    assert read.codes.shape == (24, 10)
    assert read.metadata["longest"] == 10
    assert set(read.table["sequence"]) <= {dna[15:25] for dna, _ in rows}
    assert (read.table.groupby(["split", "label"]).size() == 4).all()


def test_without_dev_a_tenth_of_training_validates_and_copies_stay_together(run: Run) -> None:
    rows = _rows(600)
    rows += [(dna.lower(), label) for dna, label in rows[:100]]
    first = run(rows, _rows(10, seed=1)).table
    sizes = first["split"].value_counts()
    # A tenth of 700, some of them two at a time: of a spread of 9.
    assert 35 < sizes["validation"] < 115
    assert sizes["train"] + sizes["validation"] == 700
    split_of = first[first["split"] != "test"].groupby("sequence")["split"].nunique()
    assert (split_of == 1).all()
    pd.testing.assert_frame_equal(run(rows, _rows(10, seed=1)).table, first)
    other = run(rows, _rows(10, seed=1), seed=2).table
    validation, others = (set(t.loc[t["split"] == "validation", "sequence"]) for t in (first, other))
    assert len(validation & others) < 0.4 * len(validation)
    backwards = run(rows[::-1], _rows(10, seed=1)).table
    assert set(backwards.loc[backwards["split"] == "validation", "sequence"]) == validation


def test_shots_are_a_fixed_draw_of_training_only(run: Run) -> None:
    rows = _rows(90, 3)
    held_out = _rows(12, 3, seed=1), _rows(9, 3, seed=2)
    drawn = {}
    for shots, seed in itertools.product((2, 5), (1, 2)):
        table = run(rows, *held_out, shots=shots, seed=seed).table
        assert table["split"].value_counts().to_dict() == {
            "train": 3 * shots,
            "validation": 12,
            "test": 9,
        }
        training = table[table["split"] == "train"]
        assert training["label"].value_counts().to_dict() == dict.fromkeys(range(3), shots)
        drawn[shots, seed] = set(training["sequence"])
    assert drawn[2, 1] < drawn[5, 1]
    assert drawn[5, 1] != drawn[5, 2]
    again = run(rows[::-1], *held_out, shots=5, seed=1).table
    assert set(again.loc[again["split"] == "train", "sequence"]) == drawn[5, 1]


@pytest.mark.parametrize(
    "text",
    [
        "sequence,label\nACGN,0\nTTTT,x y\n",
        "label,note,sequence\n0,n,acgn\nx y,,tttt\n",
        "sequence,label\r\nACGN,0\r\nTTTT,x y\r\n",
        '"sequence","label"\n"ACGN","0"\n\n"TTTT","x y"\n\n',
        '\ufeff sequence , label\n ACGN , 0\nTTTT,"x y"',
        'sequence,note,label\nACGN,"two\nlines, and ""more""",0\nTTTT,b,x y\n',
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_dialects_of_csv_say_the_same(tmp_path: Path, text: str, name: str) -> None:
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    table = read_labelled(tmp_path / name)
    assert table["sequence"].tolist() == ["ACGN", "TTTT"]
    assert table["label"].tolist() == ["0", "x y"]
    lines = text.split("\n")
    assert table["line"].tolist() == [
        next(n for n, line in enumerate(lines, 1) if word in line.upper()) for word in ("ACGN", "TTTT")
    ]


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("", "0 columns are named 'sequence'", 1),
        ("sequence,label\n", "has no examples", None),
        ("seq,label\nACGT,0\n", "0 columns are named 'sequence', the header has seq, label", 1),
        ("ACGT,0\n", "0 columns are named 'sequence'", 1),
        ("sequence,label,label\nACGT,0,1\n", "2 columns are named 'label'", 1),
        ("sequence\tlabel\nACGT\t0\n", "0 columns are named 'sequence'", 1),
        ("sequence,label\nACGT,0\n\nACGT\n", "1 cells where the header has 2", 4),
        ("sequence,label\nACGT,0,1\n", "3 cells where the header has 2", 2),
        ("sequence,label\nACGT,0\n,1\n", "the sequence is missing", 3),
        ("sequence,label\nACGT,0\nACGT, \n", "the label is missing", 3),
        ("sequence,label\nACGT,0\nACRGT,1\n", "'R' is no base", 3),
        ('sequence,label\n"AC\nGT",0\n', "is no base", 2),
        ('label,note,sequence\n0,"a\nb",ACGT\n0,c,AXGT\n', "'X' is no base", 4),
        ('sequence,label\nACGT,"0\n', "is no CSV", 2),
        ('sequence,label\nACGT,0\n"AC"GT,1\n', "is no CSV", 3),
        ("sequence,label\nACGT,0\rACGT,1\n", "is no CSV", 2),
    ],
)
def test_what_is_no_table_of_sequences_is_refused_by_line(
    tmp_path: Path, text: str, what: str, line: int | None
) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    with pytest.raises(GenebertError) as error:
        read_labelled(tmp_path / "a.csv")
    assert what in error.value.what
    assert "\n" not in error.value.what
    if line is not None:
        assert error.value.where == f"{tmp_path / 'a.csv'} line {line}"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("ACGTNacgtn", min_size=1, max_size=9), st.text("01a \"',\n", max_size=4)),
        min_size=1,
        max_size=6,
    )
)
def test_a_csv_as_pandas_writes_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    table = pd.DataFrame(rows, columns=["sequence", "note"]).assign(label="1")
    table.to_csv(path, index=False, lineterminator="\n")
    found = read_labelled(path)
    assert found["sequence"].tolist() == [dna.upper() for dna, _ in rows]


@pytest.mark.parametrize(
    ("train", "dev", "test", "keys", "said"),
    [
        ("01", "02", "01", {}, r"no training example has the label '2' \(.*dev\.csv line 3\)"),
        ("01", "01", "010x", {}, r"no training example has the label 'x' \(.*test\.csv line 5\)"),
        ("00", "00", "00", {}, r"all examples have the label '0' \(.*train\.csv\)"),
        ("012", "012", "01", {}, r"no test example has the label 2 \(benchmarks\.tasks\.l\)"),
        ("0011", "00", "01", {}, r"no validation example has the label 1"),
        ("001", "01", "01", {"shots": 2}, r"2 examples of class 1, 1 are for training"),
        ("01", None, "01", {}, r"no validation example has the label .*\nfix: give a file .*`dev`"),
    ],
)
def test_files_that_do_not_fit_one_another_are_refused_before_anything_is_built(
    tmp_path: Path,
    material: Material,
    train: str,
    dev: str | None,
    test: str,
    keys: dict[str, int],
    said: str,
) -> None:
    texts = {"train": train, "dev": dev, "test": test}
    files = {
        key: _csv(tmp_path / f"{key}.csv", [("ACGTACGT", label) for label in labels])
        for key, labels in texts.items()
        if labels is not None
    }
    name = {} if dev else {"dev": None}
    task = LabelledTask(type="labelled", folder=str(tmp_path), **name, **keys)  # type: ignore[arg-type]
    with pytest.raises(GenebertError, match=said):
        check(task, "l", files, {}, ".+")
    with pytest.raises(GenebertError, match=said):
        build(task, files, material, tmp_path / "d.parquet")
    assert not (tmp_path / "d.parquet").exists()


def test_a_sequence_too_long_to_scan_is_refused_by_line(tmp_path: Path, run: Run) -> None:
    rows = [*_rows(4), ("ACGT" * 16384, "1")]
    with pytest.raises(
        GenebertError, match=r"a sequence of 65536 bp, more than 65535 .*dev\.csv line 6"
    ):
        run(_rows(4), rows, _rows(4))
    assert run(_rows(4), rows, _rows(4), crop=100).metadata["longest"] == 100
