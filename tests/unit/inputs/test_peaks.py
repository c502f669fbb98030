import gzip
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import GenebertError
from genebert.inputs.peaks import (
    COLUMNS,
    clean_peaks,
    clean_sample,
    read_bed,
    read_blacklist,
    read_cleaned,
    read_peaks,
    write_peaks,
)
from genebert.inputs.sheet import Sample

LENGTHS = {"chr2": 5000, "chr1": 1000}


def _sample(path: Path, text: str, kind: str = "bed", style: str = "as_is") -> Sample:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return Sample("K562", "K562", "ATAC-seq", kind, str(path), style, "samples.tsv line 2")


def _peaks(*rows: tuple[str, int, int, str, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_headers_comments_and_empty_lines_are_passed_over_and_lines_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("track name=a\nbrowser position chr1\n#x\n\nchr1\t1\t5\tn\nchr1 7 9\n")
    bed = read_bed(path)
    assert bed["line"].tolist() == [5, 6]
    assert bed["start"].tolist() == [1, 7]
    assert bed["rest"].tolist() == [["n"], []]


def test_narrowpeak_summits_count_from_the_start_of_the_peak(tmp_path: Path) -> None:
    text = "chr1\t100\t200\tx\t9\t.\t3.5\t8\t7\t42\nchr1\t300\t401\t.\t9\t.\t1\t8\t7\t-1\n"
    peaks = read_peaks(_sample(tmp_path / "a.gz", text, "narrowPeak"), LENGTHS)
    assert peaks.values.tolist() == [
        ["chr1", 100, 200, "x", 3.5, 142],
        ["chr1", 300, 401, "K562_2", 1.0, 350],
    ]


def test_broadpeak_has_a_signal_and_its_centre_for_a_summit(tmp_path: Path) -> None:
    text = "chr1\t100\t200\tx\t9\t.\t3.5\t8\t7\n"
    peaks = read_peaks(_sample(tmp_path / "a", text, "broadPeak"), LENGTHS)
    assert peaks.values.tolist() == [["chr1", 100, 200, "x", 3.5, 150]]


def test_a_bed_takes_its_fifth_column_or_one_as_signal(tmp_path: Path) -> None:
    text = "chr1\t0\t10\nchr1\t10\t20\tb\nchr1\t20\t30\tc\t7.25\t+\n"
    peaks = read_peaks(_sample(tmp_path / "a", text), LENGTHS)
    assert peaks["signal"].tolist() == [1.0, 1.0, 7.25]
    assert peaks["name"].tolist() == ["K562_1", "b", "c"]
    assert peaks["summit"].tolist() == [5, 15, 25]


def test_contigs_are_renamed_where_the_sheet_says_so(tmp_path: Path) -> None:
    peaks = read_peaks(_sample(tmp_path / "a", "1\t0\t10\n", style="ucsc"), LENGTHS)
    assert peaks["chrom"].tolist() == ["chr1"]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("bed", "chr1\t5\n", "2 columns where 3 are needed"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\n", "9 columns where 10 are needed"),
        ("broadPeak", "chr1\t5\t9\n", "3 columns where 9 are needed"),
        ("bed", "chr1\t5.0\t9\n", "coordinate '5.0' is no whole number"),
        ("bed", "chr1\t-5\t9\n", "coordinate '-5' is no whole number"),
        ("bed", "chr1\t1e3\t9\n", "coordinate '1e3' is no whole number"),
        ("bed", "chr1\t5\t٩\n", "is no whole number"),
        ("bed", "chr1\t5\t5\n", "start 5 is not smaller than end 5"),
        ("bed", "chr1\t9\t5\n", "start 9 is not smaller than end 5"),
        ("bed", "chr1\t5\t9\tn\tmuch\n", "could not convert string to float"),
        ("bed", "chr1\t5\t9\tn\tnan\n", "signal nan is not finite"),
        ("bed", "chr1\t5\t9\tn\tinf\n", "signal inf is not finite"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\t4\n", "summit offset 4 lies outside the 4 bp"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\tx\n", "invalid literal for int()"),
        ("bed", "chr1\t995\t1001\n", "chr1:995-1001 ends after the contig's 1000 bp"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line(tmp_path: Path, kind: str, text: str, said: str) -> None:
    good = {
        "bed": "chr1\t1\t2\n",
        "narrowPeak": "chr1\t1\t2\tn\t1\t.\t1\t1\t1\t0\n",
        "broadPeak": "chr1\t1\t2\tn\t1\t.\t1\t1\t1\n",
    }
    sample = _sample(tmp_path / "a.bed", good[kind] + text, kind)
    with pytest.raises(GenebertError) as error:
        read_peaks(sample, LENGTHS)
    assert said in str(error.value)
    assert f"{sample.path} line 2" in str(error.value)


def test_a_contig_of_the_other_style_is_refused_with_the_key_to_set(tmp_path: Path) -> None:
    with pytest.raises(GenebertError) as error:
        read_peaks(_sample(tmp_path / "a", "1\t0\t10\n"), LENGTHS)
    assert str(error.value) == (
        "peaks for 'K562' name contig '1', the genome has 'chr1' (samples.tsv line 2)\n"
        "fix: set `contig_style: ucsc` there, or use a genome with matching names"
    )


def test_a_contig_of_no_style_is_refused_with_those_of_the_genome(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="'scaffold_9', the genome has chr2, chr1"):
        read_peaks(_sample(tmp_path / "a", "scaffold_9\t0\t10\n"), LENGTHS)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for text in ("", "#chrom\n", "track x\n\n"):
        with pytest.raises(GenebertError, match="has no intervals"):
            read_peaks(_sample(tmp_path / "a.gz", text), LENGTHS)


def test_cleaning_sorts_in_genome_order_and_keeps_the_strongest_of_one_summit() -> None:
    peaks = _peaks(
        ("chr1", 10, 20, "weak", 1.0, 12),
        ("chr1", 10, 20, "strong", 2.0, 12),
        ("chr1", 10, 25, "longer", 1.0, 15),
        ("chr2", 900, 950, "b", 1.0, 925),
        ("chr2", 100, 150, "a", 1.0, 125),
    )
    kept = clean_peaks(peaks, LENGTHS, None)
    assert kept["name"].tolist() == ["a", "b", "strong", "longer"]


def test_every_summit_of_a_peak_is_kept() -> None:
    summits = [1200, 3500, 5700]
    peaks = _peaks(*(("chr1", 1000, 6000, f"s{summit}", 1.0, summit) for summit in summits))
    assert clean_peaks(peaks, LENGTHS, None)["summit"].tolist() == summits


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_peak_with_one_blacklisted_base_is_dropped(
    tmp_path: Path, suffix: str, separator: str
) -> None:
    blacklist = tmp_path / f"blacklist.bed{suffix}"
    text = separator.join(["chr1", "100", "200"]) + "\n"
    blacklist.write_bytes(gzip.compress(text.encode()) if suffix else text.encode())
    peaks = _peaks(
        ("chr1", 50, 100, "before", 1.0, 75),
        ("chr1", 50, 101, "one_base", 1.0, 75),
        ("chr1", 199, 300, "last_base", 1.0, 250),
        ("chr1", 200, 300, "after", 1.0, 250),
        ("chr2", 120, 180, "elsewhere", 1.0, 150),
    )
    kept = clean_peaks(peaks, LENGTHS, blacklist)
    assert set(kept["name"]) == {"before", "after", "elsewhere"}


places = st.integers(0, 980).flatmap(
    lambda start: st.tuples(
        st.sampled_from(["chr1", "chr2"]),
        st.just(start),
        st.integers(start + 1, start + 20),
        st.text("ab#\"'. |:-NAnul", min_size=1, max_size=6).map(str.strip).filter(bool),
        st.floats(0, 1e6, allow_nan=False),
        st.just(start),
    )
)


@settings(max_examples=50)
@given(st.lists(places, min_size=1, max_size=8))
def test_cleaned_peaks_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, str, float, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "cleaned.bed.gz"
    cleaned = clean_peaks(_peaks(*rows), LENGTHS, None)
    write_peaks(cleaned, path)
    assert read_cleaned(path).values.tolist() == cleaned.values.tolist()


@settings(max_examples=50)
@given(st.lists(places, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_cleaning_does_not_depend_on_the_order_of_lines(rows: list[tuple], rng: object) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    once = clean_peaks(_peaks(*rows), LENGTHS, None)
    again = clean_peaks(_peaks(*shuffled), LENGTHS, None)
    assert once.values.tolist() == again.values.tolist()


def test_a_sample_wholly_on_the_blacklist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blacklist.bed").write_text("chr1\t0\t1000\n")
    sample = _sample(tmp_path / "a.bed", "chr1\t5\t10\n")
    with pytest.raises(GenebertError, match="no peak of 'K562' is left off the blacklist"):
        clean_sample(sample, LENGTHS, tmp_path / "blacklist.bed", tmp_path / "out.bed.gz")
    assert not (tmp_path / "out.bed.gz").exists()


def test_a_blacklist_of_another_assembly_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blacklist.bed").write_text("1\t0\t1000\n")
    with pytest.raises(GenebertError, match=r"name contig '1'.*genome\.blacklist"):
        read_blacklist(tmp_path / "blacklist.bed", LENGTHS)


def test_real_peaks_survive_cleaning_by_count_and_never_touch_the_blacklist(
    demo: SimpleNamespace,
) -> None:
    listed = read_bed(demo.blacklist)
    counts = {}
    for sample in demo.samples:
        cleaned = read_cleaned(demo.files[sample.sample])
        counts[sample.sample] = len(cleaned)
        for row in listed.itertuples():
            assert not ((cleaned["start"] < row.end) & (row.start < cleaned["end"])).any()
        assert cleaned["start"].is_monotonic_increasing
    assert counts["CD4_day1"] == 124
    assert counts["CD4_day2"] == 452
    assert counts["K562"] == 178
