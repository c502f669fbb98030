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
        f"{R}/logs/timings/index_genome.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        version=STAGES["reference"],
    message:
        "Copying and indexing the genome"
    shell:
        "python -m genebert index-genome --fasta {input:q} --out {output.fasta:q} 2> {log:q}"


rule preflight:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        peaks=[sample.path for sample in SAMPLES.values()],
        motifs=CONFIG.motifs.file,
        blacklist=existing(CONFIG.genome.blacklist),
    output:
        f"{R}/reference/preflight.tsv",
    log:
        f"{R}/logs/preflight.log",
    benchmark:
        f"{R}/logs/timings/preflight.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        sheet=CONFIG.samples,
        # The rows, not the file: a comment in the sheet reruns nothing.
        rows=[
            [s.sample, s.cell_type, s.format, s.path, s.contig_style]
            for s in SAMPLES.values()
        ],
        blacklist=option("--blacklist", CONFIG.genome.blacklist),
        held_out=HELD_OUT,
        width=CONFIG.regions.width,
        version=STAGES["reference"],
    message:
        "Checking every input of the corpus against the genome"
    shell:
        "python -m genebert preflight --genome {input.fasta:q} --samples {params.sheet:q}"
        " --motifs {input.motifs:q} {params.blacklist} {params.held_out} --width {params.width}"
        " --out {output:q} 2> {log:q}"


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
        "python -m genebert preflight-task --genome {input.fasta:q} --name {wildcards.task}"
        " --bed {input.bed:q} --contig-style {params.style} --out {output:q} 2> {log:q}"
