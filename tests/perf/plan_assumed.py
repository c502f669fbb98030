"""What no run of `plan_constants.py` can measure, and where each figure comes from."""

GPU = {
    "measured": False,
    "card": "NVIDIA H100 80GB HBM3",
    "peak_bf16_tflops": 989,
    "utilisation": 0.3,
    "seconds_of_a_step": 0.02,
    "host_mb": 3000,
    "basis": "the peak is the maker's, dense bf16; utilisation, least seconds of a step and host memory "
    "of CUDA are assumed until tests/perf/pretrain_throughput.py has run on a GPU",
}
ASSUMED = {
    "genome_bp": {"value": 3.1e9, "basis": "a mammalian genome"},
    "bits_of_a_packed_base": {
        "value": 2.4,
        "basis": "gzip packs DNA to 2.3 to 2.6 bits a base (hg38: 984 MB for 3.1 Gbp), N to nothing",
    },
    "peaks_of_a_sample": {
        "value": 150_000,
        "basis": "ATAC-seq peaks of one ENCODE sample, 50,000 to 300,000",
    },
    "sharing_power": {
        "value": 0.54,
        "basis": "regions grow with samples as n^0.54: the DNase index of Meuleman et al. 2020 has 3.6 "
        "million regions of 733 samples with 104,000 each",
    },
    "motifs": {"value": 1000, "basis": "JASPAR 2026, vertebrates: 1,019"},
    "promoters_of_a_gtf_line": {
        "value": 0.006,
        "basis": "20,000 protein-coding genes in 3.4 million lines (GENCODE 46)",
    },
    "splice_sites_of_a_gtf_line": {
        "value": 0.1,
        "basis": "about 10 introns a gene, in 3.4 million lines (GENCODE 46)",
    },
    "splice_sites_of_a_gene": {"value": 16, "basis": "about 9 introns a gene, less shared ends"},
    "bases_of_a_labelled_sequence": {"value": 300, "basis": "GUE: 70 to 500 bp"},
    "task_lines": {
        "value": {
            "promoter": 20_000,
            "tfbs": 40_000,
            "splicing": 20_000,
            "labelled": 50_000,
            "variants": 10_000,
            "cohort": 100_000,
            "accessibility": 0,
            "gtf": 3_400_000,
        },
        "basis": "protein-coding genes, peaks of a TF, rows of GUE and TraitGym, lines of GENCODE 46",
    },
    "download_bytes": {
        "value": {
            ".fa.gz": 984_000_000,
            ".gtf.gz": 50_000_000,
            ".vcf.gz": 100_000_000,
            ".bed.gz": 3_000_000,
            ".parquet": 1_000_000,
        },
        "basis": "hg38 (983,659,424 bytes); usual sizes of the others",
    },
}
