# Motif hits of every region, and the corpus: TF x region matrices in Parquet parts.


rule motifs:
    input:
        motifs=PATHS["motifs.file"],
        families=existing("motifs.families"),
    output:
        table=f"{R}/motifs/motifs.parquet",
        provenance=f"{R}/motifs/motifs.provenance.json",
    log:
        f"{R}/logs/motifs.log",
    benchmark:
        f"{R}/logs/timings/motifs.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("motifs"),
        runtime=runtime("motifs"),
    params:
        background=CONFIG.motifs.background,
        pseudocount=CONFIG.motifs.pseudocount,
        p_value=CONFIG.motifs.p_value,
        max_realised_p=CONFIG.motifs.max_realised_p,
        order=CONFIG.motifs.order,
        families=option("--families", PATHS.get("motifs.families")),
        version=STAGES["motifs"],
    message:
        "Ordering motifs and finding their thresholds"
    shell:
        "python -m genebert motifs --file {input.motifs:q} --background {params.background}"
        " --pseudocount {params.pseudocount} --p-value {params.p_value}"
        " --max-realised-p {params.max_realised_p} --order {params.order} {params.families}"
        " --out {output.table:q} 2> {log:q}"


rule scan_motifs:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        regions=f"{R}/regions/regions.parquet",
        motifs=f"{R}/motifs/motifs.parquet",
    output:
        hits=temp(f"{R}/motifs/chunk-{{chunk}}.parquet"),
        provenance=temp(f"{R}/motifs/chunk-{{chunk}}.provenance.json"),
    log:
        f"{R}/logs/scan_motifs/{{chunk}}.log",
    benchmark:
        f"{R}/logs/timings/scan_motifs.{{chunk}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("scan_motifs"),
        runtime=runtime("scan_motifs"),
    params:
        chunk=lambda wildcards: int(wildcards.chunk),
        chunks=len(CHUNKS),
        version=STAGES["scan"],
    message:
        "Scanning chunk {wildcards.chunk} of the regions for motifs"
    shell:
        "python -m genebert scan-chunk --genome {input.fasta:q} --regions {input.regions:q}"
        " --motifs {input.motifs:q} --chunk {params.chunk} --chunks {params.chunks}"
        " --out {output.hits:q} 2> {log:q}"


rule corpus:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        regions=f"{R}/regions/regions.parquet",
        accessibility=f"{R}/regions/accessibility.parquet",
        motifs=f"{R}/motifs/motifs.parquet",
        hits=f"{R}/motifs/chunk-{{chunk}}.parquet",
        scanned=f"{R}/motifs/chunk-{{chunk}}.provenance.json",
        checksums=f"{R}/reference/preflight.tsv",
    output:
        part=f"{R}/corpus/part-{{chunk}}.parquet",
        provenance=f"{R}/corpus/part-{{chunk}}.provenance.json",
    log:
        f"{R}/logs/corpus/{{chunk}}.log",
    benchmark:
        f"{R}/logs/timings/corpus.{{chunk}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("corpus"),
        runtime=runtime("corpus"),
        sheet=sheet,
    params:
        genome=lambda wildcards: CONFIG.genome.name,
        cell_types=sorted({sample.cell_type for sample in SAMPLES.values()}),
        chunk=lambda wildcards: int(wildcards.chunk),
        chunks=len(CHUNKS),
        version=STAGES["corpus"],
    message:
        "Writing part {wildcards.chunk} of the corpus"
    shell:
        "python -m genebert corpus write --genome {input.fasta:q} --genome-name {params.genome:q}"
        " {resources.sheet}"
        " --regions {input.regions:q} --accessibility {input.accessibility:q}"
        " --motifs {input.motifs:q} --hits {input.hits:q} --inputs {input.checksums:q}"
        " --chunk {params.chunk} --chunks {params.chunks} --out {output.part:q} 2> {log:q}"


rule manifest:
    input:
        expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
    output:
        manifest=f"{R}/corpus/manifest.json",
        provenance=f"{R}/corpus/manifest.provenance.json",
    log:
        f"{R}/logs/manifest.log",
    benchmark:
        f"{R}/logs/timings/manifest.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("manifest"),
        runtime=runtime("manifest"),
    params:
        version=STAGES["corpus"],
    message:
        "Checking the parts of the corpus against each other"
    shell:
        "python -m genebert corpus manifest --parts {input:q} --out {output.manifest:q} 2> {log:q}"
