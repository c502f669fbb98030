# Input files, the genome, and every input against it.

# Those that decide what is in the corpus, as the configuration names them.
INPUT_FILES = {
    name: SOURCES[key]
    for name, key in {
        "genome": "genome.fasta",
        "motifs": "motifs.file",
        "families": "motifs.families",
        "blacklist": "genome.blacklist",
        "mappable": "peaks.mappable",
    }.items()
    if key in SOURCES
}


# A limit that all downloads share; `--resources connections=N` sets another.
if "connections" not in workflow.global_resources:
    workflow.register_resource("connections", CONFIG.downloads.connections)


localrules:
    download,


rule download:
    output:
        # Not deleted before the job, nor when it fails: what is there may be right, or all there is.
        update(f"{DATA}/{{place}}"),
    log:
        f"{R}/logs/download/{{place}}.log",
    conda:
        "../../envs/genebert.yaml"
    resources:
        connections=1,
        pin=lambda wildcards: option("--checksum", FETCHED[wildcards.place].checksum),
    params:
        url=lambda wildcards: FETCHED[wildcards.place].url,
        version=STAGES["download"],
    message:
        "Fetching {params.url}"
    shell:
        # Progress and warnings are shown, too: nobody reads the log of what went well.
        "python -m genebert download --source {params.url:q} {resources.pin}"
        ' --settings "$GENEBERT_DOWNLOADS" --out {output:q} 2>&1 | tee {log:q} >&2'


# Of its own, and before anything else: a pin added later verifies files, it reruns nothing.
rule checksums:
    input:
        list(PATHS.values()),
        [sample.path for sample in SAMPLES.values()],
    output:
        f"{R}/reference/checksums.tsv",
    log:
        f"{R}/logs/checksums.log",
    benchmark:
        f"{R}/logs/timings/checksums.tsv"
    priority: 100
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("checksums"),
        runtime=runtime("checksums"),
        sheet=sheet,
    params:
        files=lambda wildcards: [f"{key}={text}" for key, text in SOURCES.items()],
        rows=[
            [sample.assay, sample.source.checksum or ""] for sample in SAMPLES.values()
        ],
        lock=CONFIG.downloads.lock,
        version=STAGES["reference"],
    message:
        "Comparing input files with their pinned checksums"
    shell:
        "python -m genebert checksums --files {params.files:q} {resources.sheet}"
        " --lock {params.lock:q} --out {output:q} 2> {log:q}"


rule index_genome:
    input:
        PATHS["genome.fasta"],
    output:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        provenance=f"{R}/reference/genome.provenance.json",
    log:
        f"{R}/logs/index_genome.log",
    benchmark:
        f"{R}/logs/timings/index_genome.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("index_genome"),
        runtime=runtime("index_genome"),
    params:
        contigs=contigs,
        version=STAGES["reference"],
    message:
        "Copying and indexing the genome"
    shell:
        "python -m genebert index-genome --fasta {input:q} --contigs {params.contigs:q}"
        " --out {output.fasta:q} 2> {log:q}"


# Peaks are cleaned without waiting for it (each job checks its own sample), regions are made after it.
rule preflight:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        peaks=[sample.path for sample in SAMPLES.values()],
        motifs=PATHS["motifs.file"],
        families=existing("motifs.families"),
        blacklist=existing("genome.blacklist"),
        mappable=existing("peaks.mappable"),
        raw=PATHS["genome.fasta"],
    output:
        table=f"{R}/reference/preflight.tsv",
        provenance=f"{R}/reference/preflight.provenance.json",
    log:
        f"{R}/logs/preflight.log",
    benchmark:
        f"{R}/logs/timings/preflight.tsv"
    # First of all that can run: what is wrong shows before hours are spent.
    priority: 100
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("preflight"),
        runtime=runtime("preflight"),
        sheet=sheet,
        # With their pins, which are verified here as well.
        files=lambda wildcards: shlex.join(
            f"{name}={text}" for name, text in INPUT_FILES.items()
        ),
        lock=lambda wildcards: option("--lock", CONFIG.downloads.lock),
    params:
        name=lambda wildcards: CONFIG.genome.name,
        files=lambda wildcards: {
            name: unpinned(text) for name, text in INPUT_FILES.items()
        },
        # The rows, not the file: a comment in the sheet reruns nothing.
        rows=[[s.sample, s.format, s.path, s.contig_style] for s in SAMPLES.values()],
        assemblies=sorted(
            {canonical(s.assembly) for s in SAMPLES.values() if s.assembly}
        ),
        contigs=contigs,
        held_out=HELD_OUT,
        width=CONFIG.regions.width,
        version=STAGES["reference"],
    message:
        "Checking every input of the corpus against the genome"
    shell:
        "python -m genebert preflight --genome {input.fasta:q} --genome-name {params.name:q}"
        " --files {resources.files} {resources.sheet} {resources.lock}"
        " --contigs {params.contigs:q} {params.held_out} --width {params.width}"
        " --out {output.table:q} 2> {log:q}"


# Apart from the inputs of the corpus: another TSS file must not rerun pre-training.
rule preflight_task:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        files=task_files,
    output:
        table=f"{R}/reference/preflight.{{task}}.tsv",
        provenance=f"{R}/reference/preflight.{{task}}.provenance.json",
    log:
        f"{R}/logs/preflight.{{task}}.log",
    benchmark:
        f"{R}/logs/timings/preflight.{{task}}.tsv"
    priority: 100
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("preflight_task"),
        runtime=runtime("preflight_task"),
        # With their pins, which are verified here as well.
        sources=lambda wildcards: shlex.join(
            f"{key}={text}" for key, text in task_keys(wildcards).items()
        ),
        data=lambda wildcards: option("--data", DATA),
        lock=lambda wildcards: option("--lock", CONFIG.downloads.lock),
    params:
        kind=lambda wildcards: CONFIG.benchmarks.tasks[wildcards.task].type,
        settings=task_settings,
        contigs=contigs,
        version=STAGES["reference"],
    message:
        "Checking the files of task {wildcards.task} against the genome"
    shell:
        "python -m genebert preflight-task --type {params.kind} --name {wildcards.task}"
        " --settings {params.settings:q} --genome {input.fasta:q} --sources {resources.sources}"
        " {resources.data} {resources.lock} --contigs {params.contigs:q} --out {output.table:q} 2> {log:q}"
