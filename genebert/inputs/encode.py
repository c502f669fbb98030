"""The ENCODE portal: checksums of its files, and sheets of peak files that a query finds.

Fields are those of the portal's ``File`` and quality-metric objects
(https://www.encodeproject.org/profiles/file, https://www.encodeproject.org/help/rest-api/).
"""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from genebert.config import Downloads
from genebert.errors import GenebertError
from genebert.files import open_text_for_writing
from genebert.inputs.source import ENCODE
from genebert.inputs.web import ask

# A line of a narrowPeak file is about 30 bytes, compressed: the estimate where no metric counts peaks.
BYTES_PER_PEAK = 30
# Peaks of one cell type are merged. Further experiments mostly find the same ones again: an assumption,
# on the safe side, as merging shows only later.
NEW_IN_FURTHER = 0.25

_COLUMNS = ("sample", "cell_type", "assay", "assembly", "source", "format", "checksum")
_FIELDS = (
    "accession",
    "assay_title",
    "assembly",
    "biosample_ontology.term_name",
    "dataset",
    "date_created",
    "file_format",
    "file_format_type",
    "file_size",
    "href",
    "md5sum",
    "output_type",
    "preferred_default",
    "quality_metrics.reproducible_peaks",
    "status",
)
_FILE_URL = re.compile(re.escape(ENCODE) + r"/files/([^/]+)/@@download/[^/]+")


@dataclass(frozen=True)
class PeakFile:
    """A file of peaks on the portal.

    Attributes
    ----------
    accession
        ``ENCFF…``.
    experiment
        Path of the experiment, ``/experiments/ENCSR…/``.
    term
        Biosample term, as the portal spells it.
    format
        ``narrowPeak``, ``broadPeak`` or ``bed``, as the sheet has it.
    md5
        Of the file as it is downloaded.
    peaks
        How many there are: what its quality metric says, else estimated from its size.
    counted
        Whether the metric said it.
    preferred
        Whether the portal prefers it among the experiment's files.
    created
        ISO date.
    """

    accession: str
    experiment: str
    term: str
    format: str
    md5: str
    peaks: int
    counted: bool
    preferred: bool
    created: str


def is_portal_file(url: str) -> bool:
    """Return whether ``url`` downloads a file of the portal."""
    return _FILE_URL.fullmatch(url) is not None


def ask_md5(url: str, settings: Downloads) -> str:
    """Return the checksum (``md5:…``) that the portal publishes for one of its files.

    Raises
    ------
    GenebertError
        If the portal does not answer, or does not say.
    """
    match = _FILE_URL.fullmatch(url)
    assert match is not None
    page = f"{ENCODE}/files/{match[1]}/?format=json"
    status, found = ask(page, settings)
    if status == 404 or not isinstance(found, dict):
        raise GenebertError(f"{page} is no file of the portal", "correct the accession")
    md5 = _md5(found, match[1])
    if found.get("status") != "released":
        print(f"warning: {match[1]} is '{found.get('status')}', not released", file=sys.stderr)
    return f"md5:{md5}"


def write_sheet(
    portal: str,
    assay: str,
    assembly: str,
    output_type: str,
    biosamples: Sequence[str] | None,
    min_views: int | None,
    out: str | Path,
    without: Sequence[str] = (),
    settings: Downloads | None = None,
) -> str:
    """Ask the portal for peak files and write a sheet of samples with their checksums.

    One file an experiment: the one that the portal prefers, else the newest, else the first by
    accession. With ``min_views``, experiments are taken in rounds, so that many cell types come before
    many experiments of one: first of every cell type the experiment with most peaks, then the second of
    each, …; within a round by falling number of peaks, then by accession; until enough views are
    expected. The same answer of the portal gives the same bytes.

    Parameters
    ----------
    portal
        Address of the portal or of its mirror.
    assay, assembly, output_type
        As the portal spells them: ``ATAC-seq``, ``GRCh38``, ``IDR thresholded peaks``.
    biosamples
        Biosample terms, such as ``K562``; all where None.
    min_views
        How many views (cell type × region) are wanted, as estimated; all that is found where None.
    out
        Sheet to write.
    without
        Accessions of files to pass over.
    settings
        Mirrors, time-out and attempts; the defaults where None.

    Returns
    -------
    str
        A line for the log.

    Raises
    ------
    GenebertError
        If the portal finds nothing, too little, or answers with a record that lacks something.
    """
    query = _query(portal, assay, assembly, output_type, biosamples or ())
    if not portal.startswith(("http://", "https://")):
        raise GenebertError(f"'{portal}' is no address", "start it with https://", "--portal")
    try:
        status, answer = ask(query, settings or Downloads())
    except GenebertError as error:
        raise GenebertError(error.what, "run again later, or give another --portal") from None
    records = answer.get("@graph") if isinstance(answer, dict) else None
    # The portal answers 404 where it finds nothing.
    if status == 404 or records == []:
        raise GenebertError(
            f"the portal has no released {output_type} of {assay} for {assembly} and these biosamples",
            f"spell all as the portal does; try the query in a browser: {query}",
        )
    if not isinstance(records, list):
        raise GenebertError(f"{query} answers without '@graph'", "check --portal")
    asked = {"assay_title": assay, "assembly": assembly, "output_type": output_type}
    records = [record for record in records if _accession(record) not in without]
    if not records:
        raise GenebertError(
            "all files that the portal finds are passed over", "name fewer of them", "--without"
        )
    files = [_peak_file(record, asked) for record in records]
    _check_biosamples(files, biosamples or ())
    found = _one_an_experiment(files)
    names = _safe_names(sorted({file.term for file in files}))
    chosen, views = _enough(found, min_views)
    summary = (
        f"{len(chosen)} of {len(found)} experiments, {len({file.term for file in chosen})} cell types, "
        f"an estimated {views} views"
    )
    counted, unstarred = sum(file.counted for file in chosen), sum(not file.preferred for file in chosen)
    with open_text_for_writing(out) as text:
        text.write(f"# Written by `genebert encode-sheet` from {query}\n")
        text.write(f"# {summary}.\n")
        text.write(
            f"# The portal counts the peaks of {counted} files; others: {BYTES_PER_PEAK} bytes a peak.\n"
        )
        text.write(f"# A further experiment of a cell type adds {NEW_IN_FURTHER:.0%} of its peaks.\n")
        text.write(f"# {unstarred} experiments prefer no file: the newest is used.\n")
        text.write("\t".join(_COLUMNS) + "\n")
        for file in sorted(chosen, key=lambda file: (names[file.term], file.accession)):
            row = (file.accession, names[file.term], assay, assembly, file.accession, file.format)
            text.write("\t".join((*row, f"md5:{file.md5}")) + "\n")
    return summary


def _query(portal: str, assay: str, assembly: str, output_type: str, biosamples: Sequence[str]) -> str:
    filters = [
        ("type", "File"),
        ("status", "released"),
        ("file_format", "bed"),
        ("assay_title", assay),
        ("assembly", assembly),
        ("output_type", output_type),
        # A file without public bytes has no checksum either.
        ("no_file_available!", "true"),
        ("restricted!", "true"),
        *(("biosample_ontology.term_name", term) for term in sorted(set(biosamples))),
        *(("field", field) for field in _FIELDS),
        ("format", "json"),
        ("limit", "all"),
    ]
    return f"{portal.rstrip('/')}/search/?{urlencode(filters)}"


def _accession(record: Any) -> str:
    accession = record.get("accession") if isinstance(record, dict) else None
    if not isinstance(accession, str) or not re.fullmatch("ENCFF[0-9]{3}[A-Z]{3}", accession):
        where = record.get("@id", record) if isinstance(record, dict) else record
        raise GenebertError(f"the portal names a file without accession: {where}", "check --portal")
    return accession


def _peak_file(record: Mapping[str, Any], asked: Mapping[str, str]) -> PeakFile:
    accession = _accession(record)
    constant = {
        **asked,
        "status": "released",
        "file_format": "bed",
        # What the accession in the sheet stands for.
        "href": f"/files/{accession}/@@download/{accession}.bed.gz",
    }
    for field, wanted in constant.items():
        _check(record.get(field) == wanted, record, field)
    biosample = record.get("biosample_ontology")
    term = biosample.get("term_name") if isinstance(biosample, dict) else None
    experiment, created = record.get("dataset"), str(record.get("date_created"))
    preferred = record.get("preferred_default", False)
    size = record.get("file_size")
    _check(isinstance(term, str) and term.strip() != "", record, "biosample_ontology.term_name")
    _check(isinstance(experiment, str) and experiment.startswith("/"), record, "dataset")
    _check(re.match(r"\d{4}-\d{2}-\d{2}", created) is not None, record, "date_created")
    _check(isinstance(preferred, bool), record, "preferred_default")
    _check(isinstance(size, int) and size > 0, record, "file_size")
    counted = _counted_peaks(record)
    return PeakFile(
        accession=accession,
        experiment=str(experiment),
        term=str(term),
        format=_format(record),
        md5=_md5(record, accession),
        peaks=max(1, int(size or 0) // BYTES_PER_PEAK) if counted is None else counted,
        counted=counted is not None,
        preferred=preferred,
        created=created,
    )


def _check(right: bool, record: Mapping[str, Any], field: str) -> None:
    if not right:
        parent, _, child = field.partition(".")
        value = record.get(parent)
        value = value.get(child) if child and isinstance(value, dict) else value
        raise GenebertError(
            f"{record.get('accession')}: {field} is {'missing' if value is None else repr(value)}",
            "look at the file on the portal; pass it over with --without",
        )


def _md5(record: Mapping[str, Any], accession: str) -> str:
    md5 = record.get("md5sum")
    right = isinstance(md5, str) and re.fullmatch("[0-9a-f]{32}", md5) is not None
    _check(right, {**record, "accession": accession}, "md5sum")
    return str(md5)


def _format(record: Mapping[str, Any]) -> str:
    """Return the sheet's word for ``file_format_type``: ``bed3+``, ``bed6`` and the like are ``bed``."""
    kind = record.get("file_format_type")
    plain = isinstance(kind, str) and re.fullmatch(r"bed([3-9]|1[0-2])\+?", kind) is not None
    _check(plain or kind in ("narrowPeak", "broadPeak"), record, "file_format_type")
    return "bed" if plain else str(kind)


def _counted_peaks(record: Mapping[str, Any]) -> int | None:
    """Return ``reproducible_peaks`` of the replication metric, the least where there are several."""
    metrics = record.get("quality_metrics", [])
    _check(isinstance(metrics, list), record, "quality_metrics")
    counts = [metric.get("reproducible_peaks") for metric in metrics if isinstance(metric, dict)]
    return min((count for count in counts if isinstance(count, int) and count > 0), default=None)


def _check_biosamples(files: Sequence[PeakFile], biosamples: Sequence[str]) -> None:
    terms = {file.term for file in files}
    for term in biosamples:
        if term not in terms:
            raise GenebertError(
                f"the portal has no such file of biosample '{term}'",
                "spell it as the portal does, or leave it out",
                "--biosamples",
            )


def _one_an_experiment(files: Sequence[PeakFile]) -> list[PeakFile]:
    """Return the best file of each experiment: preferred, then newest, then first by accession."""
    accessions = [file.accession for file in files]
    if twice := {accession for accession in accessions if accessions.count(accession) > 1}:
        raise GenebertError(f"the portal names {min(twice)} twice", "pass it over with --without")
    best: dict[str, PeakFile] = {}
    for file in sorted(files, key=lambda file: file.accession):
        other = best.get(file.experiment)
        # ISO dates compare as text. On a tie the earlier accession stays.
        if other is None or (file.preferred, file.created) > (other.preferred, other.created):
            best[file.experiment] = file
    return list(best.values())


def _safe_names(terms: Sequence[str]) -> dict[str, str]:
    """Return a name of letters, digits, ``_``, ``.`` and ``-`` for each term; distinct ones stay so."""
    plain = {term: re.sub(r"[^A-Za-z0-9_.-]+", "_", term.strip()) for term in terms}
    plain = {term: name if name[0] not in ".-" else f"_{name}" for term, name in plain.items()}
    # Some file systems do not tell capitals apart.
    folded = [name.lower() for name in plain.values()]
    return {
        term: name
        if folded.count(name.lower()) == 1
        else f"{name}.{hashlib.sha256(term.encode()).hexdigest()[:8]}"
        for term, name in plain.items()
    }


def _enough(found: Sequence[PeakFile], min_views: int | None) -> tuple[list[PeakFile], int]:
    """Return the experiments to take, in the order of `write_sheet`, and the views they should give."""
    by_size = sorted(found, key=lambda file: (-file.peaks, file.accession))
    seen: dict[str, int] = {}
    rounds = []
    for file in by_size:
        seen[file.term] = seen.get(file.term, 0) + 1
        rounds.append((seen[file.term], file))
    rounds.sort(key=lambda item: item[0])
    chosen: list[PeakFile] = []
    views = 0
    for number, file in rounds:
        if min_views is not None and views >= min_views:
            break
        chosen.append(file)
        views += file.peaks if number == 1 else int(file.peaks * NEW_IN_FURTHER)
    if min_views is not None and views < min_views:
        raise GenebertError(
            f"all {len(found)} experiments found have an estimated {views} views, not {min_views}",
            "lower --min-views, or ask for more biosamples or another --output-type",
        )
    return chosen, views
