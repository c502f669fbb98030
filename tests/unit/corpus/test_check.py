"""A sound corpus passes; whatever is spoilt is found, and named with its file, row and column."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genebert.corpus.check import check, info
from genebert.corpus.manifest import read_manifest
from genebert.corpus.read import read_corpus
from genebert.errors import GenebertError
from genebert.files import sha256
from genebert.genome import index_genome
from genebert.motifs.table import write_motif_table


def list_anew(folder: Path, part: Path) -> None:
    """Make the manifest agree with the bytes of a part that a test changed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    own = next(row for row in manifest["parts"] if row["part"] == part.name)
    own |= {"bytes": part.stat().st_size, "sha256": sha256(part)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change(folder: Path, number: int, column: str, changed: Callable[[list[Any]], None]) -> Path:
    """Change the values of a column of a part; the manifest knows."""
    part = folder / f"part-{number:04d}.parquet"
    table = pq.read_table(part)
    field, values = table.schema.field(column), table[column].to_pylist()
    changed(values)
    at = table.schema.get_field_index(column)
    pq.write_table(table.set_column(at, field, pa.array(values, field.type)), part)
    list_anew(folder, part)
    return part


def test_a_sound_corpus_passes(built: SimpleNamespace) -> None:
    told = check(built.folder, built.table, built.genome)
    manifest = read_manifest(built.folder)
    assert told == (
        "3 parts are as the manifest and the contract say: "
        f"{manifest['regions']} regions, {manifest['hits']} hits, {manifest['views']} views"
        "; of the motifs and the genome given"
    )
    assert "given" not in check(built.folder)


def test_every_flipped_byte_is_found(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    sound = part.read_bytes()
    for place in np.linspace(0, len(sound) - 1, 25).astype(int):
        spoilt = bytearray(sound)
        spoilt[place] ^= 1
        part.write_bytes(spoilt)
        with pytest.raises(
            GenebertError, match=r"part-0001\.parquet: SHA-256 \w{64}, the manifest says"
        ):
            check(copy)


def test_every_flipped_bit_of_the_manifest_is_found(built: SimpleNamespace, copy: Path) -> None:
    """Or it means the same: another kind of white space, a digit beyond a number's precision."""
    sound = (copy / "manifest.json").read_bytes()
    content, found = json.loads(sound), 0
    for place in range(0, len(sound), 3):
        spoilt = bytearray(sound)
        spoilt[place] ^= 1 << place % 8
        (copy / "manifest.json").write_bytes(spoilt)
        try:
            if json.loads(spoilt.decode()) == content:
                continue
        except ValueError:
            pass
        with pytest.raises(GenebertError):
            check(copy)
        found += 1
    assert found > len(sound) / 6


def change_manifest(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("with_genome", [False, True])
def test_other_totals_than_those_of_the_parts_are_found(
    built: SimpleNamespace, copy: Path, with_genome: bool
) -> None:
    genome = built.genome if with_genome else None
    sound = json.loads((copy / "manifest.json").read_text())
    counts = sound["regions_by_split"]
    change_manifest(copy, regions_by_split=counts | {"train": counts["train"] + 1})
    with pytest.raises(GenebertError, match=r"manifest\.json: regions_by_split of the parts \{'train'"):
        check(copy, None, genome)
    (copy / "manifest.json").write_text(json.dumps(sound))
    for contigs in (["chrA", "chrB", "chrC"], ["chrC", "chrA", "chrB"], ["chrA", "chrA", "chrB"]):
        change_manifest(copy, contigs=contigs)
        with pytest.raises(
            GenebertError, match=r"manifest\.json: contigs of the parts \['chrA', 'chrB'"
        ):
            check(copy, None, genome)
    change_manifest(copy, contigs=["chrB", "chrA"])
    with pytest.raises(GenebertError, match="column chrom: is not in genome order"):
        check(copy, None, genome)


def test_regions_in_another_order_than_the_genomes_are_found(
    built: SimpleNamespace, tiny_sequences: dict[str, str], tmp_path: Path
) -> None:
    text = "".join(f">{name}\n{dna}\n" for name, dna in reversed(tiny_sequences.items()))
    (tmp_path / "other.fa").write_text(text)
    index_genome(tmp_path / "other.fa", tmp_path / "genome.fa")
    with pytest.raises(GenebertError, match="column chrom: is not in genome order"):
        check(built.folder, None, tmp_path / "genome.fa")


def test_a_hash_of_other_places_is_found(copy: Path) -> None:
    for part in copy.glob("part-*"):
        table = pq.read_table(part)
        content = json.loads(table.schema.metadata[b"genebert"]) | {"catalogue": "of other regions"}
        pq.write_table(table.replace_schema_metadata({"genebert": json.dumps(content)}), part)
        list_anew(copy, part)
    change_manifest(copy, metadata=content)
    with pytest.raises(
        GenebertError, match=r"manifest\.json: hash of all places \w+, the manifest says"
    ):
        check(copy)


def test_a_part_that_the_manifest_does_not_list_is_found(copy: Path) -> None:
    shutil.copy(copy / "part-0001.parquet", copy / "part-0003.parquet")
    with pytest.raises(GenebertError, match=r"part-0003\.parquet is not in the manifest"):
        check(copy)


def test_an_empty_part_of_another_corpus_is_found(copy: Path) -> None:
    part = copy / "part-0003.parquet"
    table = pq.read_table(copy / "part-0002.parquet")[:0]
    content = json.loads(table.schema.metadata[b"genebert"]) | {"genome": "another"}
    pq.write_table(table.replace_schema_metadata({"genebert": json.dumps(content)}), part)
    manifest = json.loads((copy / "manifest.json").read_text())
    row = {"part": part.name, "regions": 0, "hits": 0, "views": 0, "bytes": 1, "sha256": ""}
    change_manifest(copy, parts=[*manifest["parts"], row])
    list_anew(copy, part)
    with pytest.raises(GenebertError, match=r"part-0003\.parquet is of another corpus"):
        check(copy)


def test_a_missing_part_is_found(copy: Path) -> None:
    (copy / "part-0002.parquet").unlink()
    with pytest.raises(GenebertError, match=r"part-0002\.parquet is missing"):
        check(copy)


def test_a_truncated_part_is_found(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(GenebertError, match=r"part-0001\.parquet: bytes \d+, the manifest says \d+"):
        check(copy)


def test_a_truncated_part_that_the_manifest_knows_is_found(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    list_anew(copy, part)
    with pytest.raises(GenebertError, match=r"part-0001\.parquet is missing or damaged"):
        check(copy)


def test_swapped_parts_are_found(copy: Path) -> None:
    first, second = copy / "part-0000.parquet", copy / "part-0001.parquet"
    first.rename(copy / "aside")
    second.rename(first)
    (copy / "aside").rename(second)
    with pytest.raises(GenebertError, match=r"part-0000\.parquet: (bytes|SHA-256)"):
        check(copy)
    list_anew(copy, first)
    list_anew(copy, second)
    with pytest.raises(GenebertError, match=r"part-0000\.parquet: row 0, column region_id: is not the"):
        check(copy)


def test_parts_listed_in_another_order_are_found(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["parts"].reverse()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GenebertError, match=r"part-0002\.parquet: row 0, column region_id"):
        check(copy)


@pytest.mark.parametrize("name", ["regions", "hits", "views"])
def test_other_counts_than_the_manifest_says_are_found(copy: Path, name: str) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["parts"][1][name] += 1
    manifest[name] += 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GenebertError, match=rf"part-0001\.parquet: {name} \d+, the manifest says"):
        check(copy)
    manifest["parts"][1][name] -= 1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        GenebertError, match=rf"manifest\.json is damaged: {name} is \d+, the sum of the"
    ):
        check(copy)


def test_a_part_of_another_corpus_is_found(copy: Path) -> None:
    part = copy / "part-0001.parquet"
    table = pq.read_table(part)
    content = json.loads(table.schema.metadata[b"genebert"]) | {"genome": "another"}
    pq.write_table(table.replace_schema_metadata({"genebert": json.dumps(content)}), part)
    list_anew(copy, part)
    with pytest.raises(GenebertError, match=r"part-0001\.parquet is of another corpus"):
        check(copy)


def test_a_foreign_motif_list_is_found(built: SimpleNamespace, tmp_path: Path) -> None:
    background = [0.295, 0.205, 0.205, 0.295]
    motifs = tmp_path / "one.jaspar"
    motifs.write_text(">X1.1 X\nA [ 9 0 0 9 ]\nC [ 0 9 0 0 ]\nG [ 0 0 9 0 ]\nT [ 0 0 0 0 ]\n")
    write_motif_table(motifs, background, 1.0, 0.01, 0.05, "file", None, tmp_path / "one.parquet")
    first = read_manifest(built.folder)["metadata"]["motifs"][0]
    with pytest.raises(
        GenebertError, match=rf"foreign motif list: .*\(row 0 is X1\.1 X there and {first}"
    ):
        check(built.folder, tmp_path / "one.parquet")
    three = pq.read_table(built.table)
    at = three.schema.get_field_index("threshold")
    other = three.set_column(at, "threshold", pa.array(np.array(three["threshold"]) + 0.5))
    pq.write_table(other, tmp_path / "strict.parquet")
    with pytest.raises(GenebertError, match="same names, other scores, thresholds or background"):
        check(built.folder, tmp_path / "strict.parquet")


def test_another_genome_is_found(
    built: SimpleNamespace, tiny_sequences: dict[str, str], tmp_path: Path
) -> None:
    place = read_corpus(built.folder).start[3]
    other = dict(tiny_sequences)
    base = "A" if other["chrA"][place + 5].upper() != "A" else "C"
    other["chrA"] = other["chrA"][: place + 5] + base + other["chrA"][place + 6 :]
    (tmp_path / "other.fa").write_text("".join(f">{name}\n{dna}\n" for name, dna in other.items()))
    index_genome(tmp_path / "other.fa", tmp_path / "genome.fa")
    with pytest.raises(
        GenebertError, match=r"part-0000\.parquet: row 3, column sequence: is not the gen"
    ):
        check(built.folder, None, tmp_path / "genome.fa")


def _set(row: int, value: Any) -> Callable[[list[Any]], None]:
    def changed(values: list[Any]) -> None:
        values[row] = value

    return changed


def _first_hit(value: Any) -> Callable[[list[Any]], None]:
    """Change the first hit of the first region that has several."""

    def changed(values: list[Any]) -> None:
        row = next(row for row, own in enumerate(values) if len(own) > 1)
        values[row][0] = value

    return changed


def _shorten(values: list[Any]) -> None:
    next(own for own in values if len(own) > 1).pop()


def _swap(values: list[Any]) -> None:
    row = next(row for row, own in enumerate(values) if len(set(own)) > 1)
    values[row] = sorted(values[row], reverse=True)


@pytest.mark.parametrize(
    ("column", "changed", "words"),
    [
        ("region_id", _set(2, 77), "row 2, column region_id: is not the row number"),
        ("chrom", _set(1, "chr9"), "row 1, column chrom: is none of chrA, chrB"),
        ("start", _set(1, 7), "row 1, column end: is not start + 90"),
        ("split", _set(1, "held"), "row 1, column split: is none of train, validation, test"),
        ("sequence", _set(4, "ACGT"), "row 4, column sequence: is not of 90 bp"),
        ("sequence", _set(4, "ACGTRYACGT" * 9), "row 4, column sequence: has a letter other than A, C"),
        ("sequence", _set(4, "a" * 90), "row 4, column sequence: has a letter other than A, C"),
        ("motif", _first_hit(3), "column motif: is not below 3"),
        ("position", _first_hit(90), "column position: is not below 90"),
        ("strand", _first_hit(0), "column strand: is neither 1 nor -1"),
        ("score", _first_hit(np.float16(1.5)), "column score: is not between 0 and 1"),
        ("score", _first_hit(np.float16(0)), "column score: is not between 0 and 1"),
        ("score", _first_hit(np.float16(np.nan)), "column score: is not between 0 and 1"),
        ("score", _first_hit(np.float16(0.7001)), "column score: is no multiple of 1/128"),
        ("position", _swap, "column position: is not in order of position, motif, strand"),
        ("score", _shorten, "column score: has another length than motif"),
        ("strand", _shorten, "column strand: has another length than motif"),
        ("cell_type", _set(0, [2]), "row 0, column cell_type: is not below 2"),
        ("cell_type", _swap, "column cell_type: is not in order"),
        ("signal", _set(0, []), "row 0, column signal: has another length than cell_type"),
        (
            "signal",
            lambda v: _set(0, [1.5] * len(v[0]))(v),
            "row 0, column signal: is not above 0 and at",
        ),
        ("signal", lambda v: _set(0, [0.0] * len(v[0]))(v), "row 0, column signal: is not above 0 and"),
        ("signal", lambda v: _set(0, [0.3] * len(v[0]))(v), "row 0, column signal: is no multiple of"),
    ],
)
def test_a_wrong_value_is_named_by_file_row_and_column(
    copy: Path, column: str, changed: Callable[[list[Any]], None], words: str
) -> None:
    change(copy, 0, column, changed)
    with pytest.raises(GenebertError) as told:
        check(copy)
    assert "part-0000.parquet: row " in told.value.what
    assert words in told.value.what


def test_regions_out_of_genome_order_are_found(copy: Path) -> None:
    shutil.copytree(copy, copy.parent / "second")
    start = pq.read_table(copy / "part-0001.parquet")["start"][0].as_py()
    for name, place in (("start", start + 89), ("end", start + 179)):
        change(copy, 1, name, _set(1, place))
    with pytest.raises(
        GenebertError, match=r"part-0001\.parquet: row 1, column start: lies before the end"
    ):
        check(copy)
    second = copy.parent / "second"
    change(second, 1, "chrom", _set(0, "chrB"))
    with pytest.raises(
        GenebertError, match=r"part-0001\.parquet: row 1, column chrom: is not in genome"
    ):
        check(second)


def test_a_corpus_of_another_version_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"version": 1}))
    for read in (check, read_corpus, info):
        with pytest.raises(GenebertError, match="is of version 1 of the corpus contract, this is 2"):
            read(copy)


def test_info_says_what_a_corpus_holds(built: SimpleNamespace) -> None:
    told = info(built.folder).splitlines()
    corpus = read_corpus(built.folder)
    size = sum(path.stat().st_size for path in built.parts)
    splits = ", ".join(
        f"{corpus.in_split(split).sum()} {split}" for split in ("train", "validation", "test")
    )
    assert f"regions: {corpus.regions} of 90 bp on 2 contigs ({splits})" in told
    assert f"size: {size:,} bytes in 3 parts, {size / corpus.regions:.0f} a region" in told
    for number, name in enumerate(["B", "T"]):
        assert f"  {name}: {(corpus.open_cell_type == number).sum()}" in told
    assert "  a.bed: abc" in told
    assert any(corpus.metadata.motif_digest in line for line in told)
    assert told[-1].startswith("made with: ")
