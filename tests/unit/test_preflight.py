import hashlib
from collections.abc import Callable
from types import SimpleNamespace

import pandas as pd


def test_valid_inputs_are_listed_with_counts_and_checksums(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    result = run_cli(*world.arguments())
    assert result.code == 0
    assert result.err == "5 inputs fit the genome (3 contigs)\n"
    table = pd.read_csv(world.out, sep="\t").set_index("input")
    assert table["records"].to_dict() == {
        "genome": 3,
        "motifs": 3,
        "blacklist": 1,
        "one": 2,
        "two": 2,
    }
    for path, checksum in zip(table["path"], table["sha256"], strict=True):
        with open(path, "rb") as binary:  # noqa: PTH123
            assert hashlib.sha256(binary.read()).hexdigest() == checksum


def test_the_blacklist_is_optional(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    arguments = world.arguments()
    without = [text for text in arguments if not text.startswith("blacklist=")]
    assert run_cli(*without).code == 0
    listed = pd.read_csv(world.out, sep="\t")["input"].tolist()
    assert listed == ["genome", "motifs", "one", "two"]


def test_a_held_out_stretch_shorter_than_a_region_is_refused(
    world: SimpleNamespace, refused: Callable[..., str]
) -> None:
    world.held_out["test"] = ["chrA:3000-3099"]
    message = refused(*world.arguments())
    assert "chrA:3000-3099 is shorter than a region (100 bp)" in message
    assert "genome.split.test" in message


def test_peaks_of_another_assembly_are_refused(
    world: SimpleNamespace,
    run_cli: Callable[..., SimpleNamespace],
    refused: Callable[..., str],
) -> None:
    def name(assembly: str, genome: str) -> list[str]:
        header = world.header.replace("\n", "\tassembly\n")
        first, second = world.rows
        world.sheet.write_text(f"{header}{first}\t{assembly}\n{second}\t\n")
        return [genome if text == "tiny" else text for text in world.arguments()]

    assert run_cli(*name("GRCh38", "hg38")).code == 0
    assert run_cli(*name("hg19", "GRCh37")).code == 0
    assert run_cli(*name("", "hg38")).code == 0
    world.out.unlink()
    message = refused(*name("hg19", "hg38"))
    assert "peaks for 'one' are of hg19, the genome is hg38" in message
    assert "samples.tsv line 2" in message


def test_an_earlier_table_is_kept_when_an_input_is_refused(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    assert run_cli(*world.arguments()).code == 0
    before = world.out.read_bytes()
    world.motifs.write_text("")
    assert run_cli(*world.arguments()).code == 1
    assert world.out.read_bytes() == before


def test_the_demo_passes(
    demo: SimpleNamespace,
    repository: object,
    jaspar_file: object,
    tmp_path: object,
    run_cli: Callable[..., SimpleNamespace],
    monkeypatch: object,
) -> None:
    monkeypatch.chdir(repository)  # type: ignore[attr-defined]
    result = run_cli(
        *("preflight", "--genome", demo.fasta, "--samples", "config/demo_samples.tsv"),
        *("--genome-name", "hg19", "--files", f"genome={demo.fasta}", f"motifs={jaspar_file}"),
        f"blacklist={demo.blacklist}",
        *("--validation", "chr20:42000000-44000000", "--test", "chr20:44000000-50000000"),
        *("--width", 515),
        *("--out", f"{tmp_path}/preflight.tsv"),
    )
    assert result.code == 0, result.err
    table = pd.read_csv(f"{tmp_path}/preflight.tsv", sep="\t").set_index("input")
    assert table.loc["genome", "records"] == 1
    assert table.loc["motifs", "records"] == 1019
    assert len(table) == 15


def test_the_intervals_of_a_task_are_checked_apart(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    result = run_cli(*world.task_arguments())
    assert (result.code, result.err) == (0, "task 'promoter' fits the genome: 2 of tss\n")
    table = pd.read_csv(world.out, sep="\t")
    assert table[["input", "path", "records"]].values.tolist() == [["promoter tss", str(world.tss), 2]]
    checksum = hashlib.sha256(world.tss.read_bytes()).hexdigest()
    assert table["sha256"].tolist() == [checksum]


def test_the_intervals_of_a_task_may_be_of_another_contig_style(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    world.tss.write_text("A\t5\t6\tg\t0\t+\n")
    assert run_cli(*world.task_arguments()).code == 1
    (world.folder / "genome.fa.fai").unlink()
    (world.folder / "genome.fa.fai").write_text("chrA\t6000\t13\t60\t61\n")
    assert run_cli(*world.task_arguments("ucsc")).code == 0


def test_every_sample_that_does_not_fit_is_named_at_once(
    world: SimpleNamespace, run_cli: Callable[..., SimpleNamespace]
) -> None:
    world.bed.write_text("scaffold\t1\t9\n")
    world.sheet.write_text(
        world.header + world.rows[0].replace("as_is", "ensembl") + "\n" + world.rows[1] + "\n"
    )
    result = run_cli(*world.arguments())
    assert result.code == 1
    assert "2 samples do not fit" in result.err
    for part in ("'one' name contig 'A'", "'two' name contig 'scaffold'", "line 2", "line 3"):
        assert part in result.err
    assert result.err.count("fix: ") == 3


def test_a_file_that_is_not_the_pinned_one_is_refused(
    world: SimpleNamespace, refused: Callable[..., str]
) -> None:
    header = world.header.replace("\n", "\tchecksum\n")
    rows = [f"{world.rows[0]}\tmd5:{'0' * 32}", f"{world.rows[1]}\t"]
    world.sheet.write_text(header + "\n".join(rows) + "\n")
    message = refused(*world.arguments())
    assert f"{world.narrow} has md5:" in message
    assert "samples.tsv line 2" in message
    assert "restore the file, or correct the checksum" in message
