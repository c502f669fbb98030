import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.config import Peaks
from genebert.errors import GenebertError
from genebert.inputs.bed import read_bed
from genebert.inputs.peaks import (
    COLUMNS,
    clean_peaks,
    clean_sample,
    need_bedtools,
    read_cleaned,
    read_peaks,
    write_peaks,
)
from genebert.inputs.sheet import Sample
from genebert.inputs.source import Source

LENGTHS = {"chr2": 5000, "chr1": 1000}
ALL = ".+"


def _sample(path: Path, text: str, kind: str = "bed", style: str = "as_is") -> Sample:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    source = Source(path.name, None, None)
    return Sample("K562", "K562", "ATAC-seq", kind, source, str(path), "", style, "samples.tsv line 2")


def _peaks(*rows: tuple[str, int, int, str, float, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _cleaned(
    peaks: pd.DataFrame,
    blacklist: Path | None = None,
    mappable: Path | None = None,
    **filters: float,
) -> pd.DataFrame:
    settings = Peaks(mappable=mappable and str(mappable), **filters)
    return clean_peaks(peaks, LENGTHS, settings, blacklist, mappable)[0]


def _clean_sample(sample: Sample, out: Path, contigs: str = ALL, **filters: object) -> str:
    files = {name: filters.pop(name, None) for name in ("blacklist", "mappable")}
    return clean_sample(sample, LENGTHS, contigs, *files.values(), Peaks(**filters), out)


def test_narrowpeak_summits_count_from_the_start_of_the_peak(tmp_path: Path) -> None:
    text = "chr1\t100\t200\tx\t9\t.\t3.5\t8\t7\t42\nchr1\t300\t401\t.\t9\t.\t1\t8\t7\t-1\n"
    peaks = read_peaks(_sample(tmp_path / "a.gz", text, "narrowPeak"), LENGTHS, ALL)
    assert peaks[list(COLUMNS)].values.tolist() == [
        ["chr1", 100, 200, "x", 3.5, 142],
        ["chr1", 300, 401, "K562_2", 1.0, 350],
    ]


def test_broadpeak_has_a_signal_and_its_centre_for_a_summit(tmp_path: Path) -> None:
    text = "chr1\t100\t200\tx\t9\t.\t3.5\t8\t7\n"
    peaks = read_peaks(_sample(tmp_path / "a", text, "broadPeak"), LENGTHS, ALL)
    assert peaks[list(COLUMNS)].values.tolist() == [["chr1", 100, 200, "x", 3.5, 150]]


def test_a_bed_takes_its_fifth_column_for_a_signal_or_has_none(tmp_path: Path) -> None:
    text = "chr1\t0\t10\nchr1\t10\t20\tb\nchr1\t20\t30\tc\t.\t+\n"
    peaks = read_peaks(_sample(tmp_path / "a", text), LENGTHS, ALL)
    assert np.isnan(peaks["signal"]).all()
    assert _cleaned(peaks)["signal"].tolist() == [1.0, 1.0, 1.0]
    assert peaks["name"].tolist() == ["K562_1", "b", "c"]
    assert peaks["summit"].tolist() == [5, 15, 25]
    text = "chr1\t0\t10\ta\t7.25\nchr1\t10\t20\tb\t1e3\n"
    peaks = read_peaks(_sample(tmp_path / "a", text), LENGTHS, ALL)
    assert _cleaned(peaks)["signal"].tolist() == [7.25, 1000.0]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bed", "chr1\t0\t9\ta\t5\nchr1\t5\t9\tb\t.\nchr1\t7\t9\tc\t.\n"),
        ("bed", "chr1\t0\t9\ta\t5\nchr1\t5\t9\tb\nchr1\t7\t9\n"),
        (
            "narrowPeak",
            "".join(f"chr1\t{n}\t9\ta\t0\t.\t{s}\t1\t1\t0\n" for n, s in enumerate("5..")),
        ),
    ],
)
def test_signals_on_some_lines_only_are_refused(tmp_path: Path, kind: str, text: str) -> None:
    sample = _sample(tmp_path / "a.bed", text, kind)
    with pytest.raises(GenebertError, match=r"2 of 3 lines have no signal \(.*a\.bed line 2\)"):
        read_peaks(sample, LENGTHS, ALL)


def test_bedtools_is_needed_where_places_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_bedtools()
    (tmp_path / "listed.bed").write_text("chr1\t0\t1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GenebertError, match="conda install -c bioconda bedtools"):
        _cleaned(_peaks(("chr1", 10, 20, "a", 1.0, 12)), tmp_path / "listed.bed")
    with pytest.raises(GenebertError, match="bedtools, which"):
        need_bedtools()


def test_contigs_are_renamed_where_the_sheet_says_so(tmp_path: Path) -> None:
    peaks = read_peaks(_sample(tmp_path / "a", "1\t0\t10\n", style="ucsc"), LENGTHS, ALL)
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
        ("bed", "chr1\t5\t9\tn\tmuch\n", "signal 'much' is no number"),
        ("bed", "chr1\t5\t9\tn\tnan\n", "signal 'nan' is no number"),
        ("bed", "chr1\t5\t9\tn\tinf\n", "signal 'inf' is no number"),
        ("bed", "chr1\t5\t9\tn\t1e999\n", "signal '1e999' is too large"),
        ("bed", "chr1\t5\t9\tn\t1_0\n", "signal '1_0' is no number"),
        ("bed", "chr1\t5\t9\tn\t\n", "signal '' is no number"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\t4\n", "offset '4' lies outside its peak"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\tx\n", "offset 'x' is no whole number"),
        ("narrowPeak", "chr1\t5\t9\tn\t1\t.\t1\t1\t1\t-2\n", "offset '-2' is no whole number"),
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
        read_peaks(sample, LENGTHS, ALL)
    assert said in str(error.value)
    assert f"{sample.path} line 2" in str(error.value)


def test_a_contig_of_the_other_style_is_refused_with_the_key_to_set(tmp_path: Path) -> None:
    with pytest.raises(GenebertError) as error:
        read_peaks(_sample(tmp_path / "a", "1\t0\t10\n"), LENGTHS, ALL)
    assert str(error.value) == (
        "peaks for 'K562' name contig '1', the genome has 'chr1' (samples.tsv line 2)\n"
        "fix: set `contig_style: ucsc` there, or use a genome with matching names"
    )


def test_a_contig_of_no_style_is_refused_with_those_of_the_genome(tmp_path: Path) -> None:
    with pytest.raises(GenebertError, match="'scaffold_9', the genome has chr2, chr1"):
        read_peaks(_sample(tmp_path / "a", "scaffold_9\t0\t10\n"), LENGTHS, ALL)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for text in ("", "#chrom\n", "track x\n\n"):
        with pytest.raises(GenebertError, match="has no intervals"):
            read_peaks(_sample(tmp_path / "a.gz", text), LENGTHS, ALL)


def test_a_peak_on_a_contig_not_in_use_is_passed_over_known_or_not(tmp_path: Path) -> None:
    text = "chr1\t0\t10\nchrEBV\t0\t10\nchr1_alt\t5\t9999\nchr2\t0\t10\n"
    sample = _sample(tmp_path / "a", text)
    assert read_peaks(sample, LENGTHS, "chr[0-9]+")["line"].tolist() == [1, 4]
    with pytest.raises(GenebertError, match="name contig 'chrEBV', the genome has chr2, chr1"):
        read_peaks(sample, LENGTHS, ALL)
    with pytest.raises(GenebertError, match="name contig 'chr1_alt', the genome"):
        read_peaks(sample, LENGTHS, "chr1.*|chr2")


def test_no_peak_on_a_contig_in_use_is_refused_with_what_there_is(tmp_path: Path) -> None:
    sample = _sample(tmp_path / "a", "chrEBV\t0\t10\nchrEBV\t5\t10\n")
    with pytest.raises(GenebertError) as error:
        read_peaks(sample, LENGTHS, "chr[0-9]+")
    assert str(error.value) == (
        "none of the 2 peaks for 'K562' is on a contig in use: they are on chrEBV (samples.tsv line 2)\n"
        "fix: correct `genome.contigs` (chr[0-9]+), or use a file of the same assembly"
    )


def test_cleaning_sorts_in_genome_order_and_keeps_the_strongest_of_one_summit() -> None:
    peaks = _peaks(
        ("chr1", 10, 20, "weak", 1.0, 12),
        ("chr1", 10, 20, "strong", 2.0, 12),
        ("chr1", 10, 25, "longer", 1.0, 15),
        ("chr2", 900, 950, "b", 1.0, 925),
        ("chr2", 100, 150, "a", 1.0, 125),
    )
    kept, dropped = clean_peaks(peaks, LENGTHS, Peaks(), None, None)
    assert kept["name"].tolist() == ["a", "b", "strong", "longer"]
    assert dropped == {"named twice": 1}


def test_every_summit_of_a_peak_is_kept() -> None:
    summits = [1200, 3500, 5700]
    peaks = _peaks(*(("chr1", 1000, 6000, f"s{summit}", 1.0, summit) for summit in summits))
    assert _cleaned(peaks)["summit"].tolist() == summits


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
    kept, dropped = clean_peaks(peaks, LENGTHS, Peaks(), blacklist, None)
    assert kept["name"].tolist() == ["elsewhere", "before", "after"]
    assert dropped == {"on the blacklist": 2, "named twice": 0}


def test_a_peak_weaker_than_the_least_signal_is_dropped() -> None:
    peaks = _peaks(*(("chr1", n, n + 5, f"p{n}", n / 2, n) for n in range(6)))
    assert _cleaned(peaks, min_signal=1.5)["name"].tolist() == ["p3", "p4", "p5"]


def test_only_the_strongest_are_kept_and_of_equal_ones_the_first_in_the_genome() -> None:
    signals = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 2.0, "e": 2.0}
    peaks = _peaks(
        *(("chr1", 10 * n, 10 * n + 5, name, signals[name], 10 * n) for n, name in enumerate("abcd")),
        ("chr2", 900, 910, "e", 2.0, 905),
    )
    for rows in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        assert _cleaned(peaks.iloc[rows], top=3)["name"].tolist() == ["e", "a", "c"]
    assert len(_cleaned(peaks, top=99)) == 5


def test_a_share_of_a_peak_is_mappable_however_its_places_overlap(tmp_path: Path) -> None:
    mappable = tmp_path / "mappable.bed"
    mappable.write_text("chr1\t100\t103\nchr1\t101\t104\nchr1\t104\t105\nchr2\t0\t9\n")
    peaks = _peaks(
        ("chr1", 100, 110, "half", 1.0, 105),
        ("chr1", 101, 111, "less", 1.0, 105),
        ("chr1", 300, 310, "none", 1.0, 305),
        ("chr2", 0, 9, "all", 1.0, 5),
    )
    assert _cleaned(peaks, None, mappable, min_mappable=0.5)["name"].tolist() == [
        "all",
        "half",
    ]
    assert len(_cleaned(peaks, None, mappable, min_mappable=0)) == 4


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


@settings(max_examples=50, deadline=None)
@given(st.lists(places, min_size=1, max_size=8))
def test_cleaned_peaks_are_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, str, float, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "cleaned.bed.gz"
    cleaned = _cleaned(_peaks(*rows))
    write_peaks(cleaned, path)
    assert read_cleaned(path).values.tolist() == cleaned.values.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(places, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_cleaning_does_not_depend_on_the_order_of_lines(rows: list[tuple], rng: object) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    once = _cleaned(_peaks(*rows))
    again = _cleaned(_peaks(*shuffled))
    assert once.values.tolist() == again.values.tolist()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(places, min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 990), st.integers(1, 60)), min_size=1, max_size=6),
    st.floats(0.01, 1),
)
def test_filters_by_place_equal_counting_bases(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, int, str, float, int]],
    listed: list[tuple[int, int]],
    least: float,
) -> None:
    path = tmp_path_factory.getbasetemp() / "listed.bed"
    path.write_text("".join(f"chr1\t{start}\t{start + width}\n" for start, width in listed))
    bases = {base for start, width in listed for base in range(start, start + width)}
    peaks = _cleaned(_peaks(*rows))
    inside = [
        len(bases & set(range(peak.start, peak.end))) if peak.chrom == "chr1" else 0
        for peak in peaks.itertuples()
    ]
    shares = np.array(inside) / (peaks["end"] - peaks["start"])
    off = _cleaned(peaks, blacklist=path)
    assert off.values.tolist() == peaks[shares == 0].values.tolist()
    mappable = _cleaned(peaks, None, path, min_mappable=least)
    assert mappable.values.tolist() == peaks[shares >= least].values.tolist()


def test_what_became_of_the_peaks_of_a_sample_is_said(tmp_path: Path) -> None:
    blacklist = tmp_path / "blacklist.bed"
    blacklist.write_text("chr1\t0\t10\n")
    text = "".join(f"chr1\t{n * 10}\t{n * 10 + 5}\tp{n}\t{n}\n" for n in range(9))
    text += "chrUn_1\t0\t5\tu\t9\nchr1\t80\t85\tagain\t1\n"
    sample = _sample(tmp_path / "a.bed", text)
    said = _clean_sample(
        sample, tmp_path / "out.bed.gz", "chr[0-9]+", blacklist=blacklist, min_signal=1.0, top=4
    )
    assert said == (
        "K562: 4 of 11 peaks kept; dropped: 1 on contigs not in use, 1 on the blacklist, 1 named twice, "
        "4 beyond the 4 strongest"
    )
    assert read_cleaned(tmp_path / "out.bed.gz")["name"].tolist() == ["p5", "p6", "p7", "p8"]
    whole = _clean_sample(_sample(tmp_path / "b.bed", "chr1\t0\t9\n"), tmp_path / "b.bed.gz")
    assert whole == "K562: 1 of 1 peaks kept; dropped: none"


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"blacklist": "chr1\t0\t1000\n"}, "2 on the blacklist"),
        ({"min_signal": 9.5}, "2 of signal below 9.5"),
        (
            {"blacklist": "chr1\t0\t6\n", "mappable": "chr1\t0\t9\n", "min_mappable": 0.5},
            "1 on the blacklist, 1 less than 50% mappable",
        ),
    ],
)
def test_a_sample_of_which_nothing_is_left_is_refused_with_the_filters(
    tmp_path: Path, filters: dict[str, object], said: str
) -> None:
    text = "chr1\t5\t10\ta\t1\nchr1\t7\t20\tb\t2\n"
    sample = _sample(tmp_path / "a.bed", text)
    given = dict(filters)
    for name in ("blacklist", "mappable"):
        if name in filters:
            (tmp_path / name).write_text(str(filters[name]))
            given[name] = str(tmp_path / name)
    settings = {name: value for name, value in given.items() if name != "blacklist"}
    with pytest.raises(GenebertError) as error:
        clean_sample(
            *(sample, LENGTHS, ALL, given.get("blacklist"), given.get("mappable")),
            Peaks(**settings),
            tmp_path / "out.bed.gz",
        )
    assert f"no peak of 'K562' is left of 2: {said} (samples.tsv line 2)" in str(error.value)
    assert not (tmp_path / "out.bed.gz").exists()


@pytest.mark.parametrize("key", ["min_signal", "top"])
def test_a_filter_by_signal_needs_one(tmp_path: Path, key: str) -> None:
    sample = _sample(tmp_path / "a.bed", "chr1\t5\t10\ta\nchr1\t7\t20\tb\n")
    with pytest.raises(GenebertError, match=rf"have no signal, which `peaks\.{key}` needs.*line 1"):
        _clean_sample(sample, tmp_path / "out.bed.gz", **{key: 1})


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
