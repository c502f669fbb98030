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
        tss=[task.tss for task in CONFIG.benchmarks.tasks.values()],
    output:
        f"{R}/reference/preflight.tsv",
    log:
        f"{R}/logs/preflight.log",
    conda:
        "../../envs/genebert.yaml"
    params:
        blacklist=option("--blacklist", CONFIG.genome.blacklist),
        held_out=HELD_OUT,
        width=CONFIG.regions.width,
        beds=" ".join(
            f"--bed {name} {task.tss} {task.contig_style}"
            for name, task in CONFIG.benchmarks.tasks.items()
        ),
        version=STAGES["reference"],
    message:
        "Checking every input against the genome"
    shell:
        "python -m genebert preflight --genome {input.fasta} --samples {input.samples}"
        " --motifs {input.motifs} {params.blacklist} {params.held_out} --width {params.width}"
        " {params.beds} --out {output} 2> {log}"
