# The genome, and every input against it.


rule index_genome:
    input:
        CONFIG.genome.fasta,
    output:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
    log:
        f"{R}/logs/index_genome.log",
    benchmark:
        f"{R}/logs/benchmarks/index_genome.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        version=STAGES["reference"],
    message:
        "Copying and indexing the genome"
    shell:
        "python -m genebert index-genome --fasta {input} --out {output.fasta} 2> {log}"


rule preflight:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        samples=CONFIG.samples,
        peaks=[sample.path for sample in SAMPLES.values()],
        motifs=CONFIG.motifs.file,
        blacklist=existing(CONFIG.genome.blacklist),
    output:
        f"{R}/reference/preflight.tsv",
    log:
        f"{R}/logs/preflight.log",
    benchmark:
        f"{R}/logs/benchmarks/preflight.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        blacklist=option("--blacklist", CONFIG.genome.blacklist),
        held_out=HELD_OUT,
        width=CONFIG.regions.width,
        version=STAGES["reference"],
    message:
        "Checking every input of the corpus against the genome"
    shell:
        "python -m genebert preflight --genome {input.fasta} --samples {input.samples}"
        " --motifs {input.motifs} {params.blacklist} {params.held_out} --width {params.width}"
        " --out {output} 2> {log}"


# Apart from the inputs of the corpus: another TSS file must not rerun pre-training.
rule preflight_task:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        bed=lambda wildcards: CONFIG.benchmarks.tasks[wildcards.task].tss,
    output:
        f"{R}/reference/preflight.{{task}}.tsv",
    log:
        f"{R}/logs/preflight.{{task}}.log",
    # First of all that can run: what is wrong shows before hours are spent.
    priority: 100
    conda:
        "../../envs/genebert.yaml"
    params:
        style=lambda wildcards: CONFIG.benchmarks.tasks[wildcards.task].contig_style,
        version=STAGES["reference"],
    message:
        "Checking the intervals of task {wildcards.task} against the genome"
    shell:
        "python -m genebert preflight-task --genome {input.fasta} --name {wildcards.task}"
        " --bed {input.bed} --contig-style {params.style} --out {output} 2> {log}"
