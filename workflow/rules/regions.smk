# Peaks of each sample, and the catalogue of regions.


rule peaks:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        raw=lambda wildcards: SAMPLES[wildcards.sample].path,
        blacklist=existing("genome.blacklist"),
        mappable=existing("peaks.mappable"),
    output:
        peaks=f"{R}/peaks/{{sample}}.bed.gz",
        provenance=f"{R}/peaks/{{sample}}.provenance.json",
    log:
        f"{R}/logs/peaks/{{sample}}.log",
    benchmark:
        f"{R}/logs/timings/peaks.{{sample}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("peaks"),
        runtime=runtime("peaks"),
        sheet=sheet,
    params:
        row=lambda wildcards: [
            SAMPLES[wildcards.sample].format,
            SAMPLES[wildcards.sample].contig_style,
        ],
        contigs=contigs,
        blacklist=option("--blacklist", PATHS.get("genome.blacklist")),
        mappable=option("--mappable", PATHS.get("peaks.mappable")),
        settings=peaks_settings,
        version=STAGES["peaks"],
    message:
        "Cleaning the peaks of {wildcards.sample}"
    shell:
        "python -m genebert peaks --sample {wildcards.sample} {resources.sheet}"
        " --genome {input.fasta:q} --contigs {params.contigs:q}"
        " {params.blacklist} {params.mappable} --settings {params.settings:q}"
        " --out {output.peaks:q} 2> {log:q}"


rule regions:
    input:
        preflight=f"{R}/reference/preflight.tsv",
        peaks=expand(f"{R}/peaks/{{sample}}.bed.gz", sample=SAMPLES),
        fasta=GENOME,
        fai=f"{GENOME}.fai",
    output:
        regions=f"{R}/regions/regions.parquet",
        accessibility=f"{R}/regions/accessibility.parquet",
        peaks=f"{R}/regions/peaks.parquet",
        provenance=f"{R}/regions/regions.provenance.json",
    log:
        f"{R}/logs/regions.log",
    benchmark:
        f"{R}/logs/timings/regions.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("regions"),
        runtime=runtime("regions"),
        sheet=sheet,
    params:
        peaks=lambda wildcards, input: Path(input.peaks[0]).parent,
        out=lambda wildcards, output: Path(output.regions).parent,
        cell_types={name: sample.cell_type for name, sample in SAMPLES.items()},
        width=CONFIG.regions.width,
        held_out=HELD_OUT,
        version=STAGES["regions"],
    message:
        "Joining the peaks of all samples into one catalogue of regions"
    shell:
        "python -m genebert regions {resources.sheet} --peaks {params.peaks:q}"
        " --genome {input.fasta:q} {params.held_out} --width {params.width} --out {params.out:q} 2> {log:q}"
