# Tasks, and one run for each task, model and seed: the path of a result is the query for it.

RUN = f"{R}/benchmarks/{{task}}/{{model}}/seed{{seed}}"
RUNS = expand(
    RUN,
    task=CONFIG.benchmarks.tasks,
    model=CONFIG.benchmarks.models,
    seed=CONFIG.seeds,
)


rule task_promoter:
    input:
        fasta=GENOME,
        fai=f"{GENOME}.fai",
        preflight=f"{R}/reference/preflight.{{task}}.tsv",
        tss=task_source,
        regions=f"{R}/regions/regions.parquet",
        accessibility=f"{R}/regions/accessibility.parquet",
        motifs=f"{R}/motifs/motifs.parquet",
    output:
        f"{R}/benchmarks/{{task}}/dataset.parquet",
    log:
        f"{R}/logs/tasks/{{task}}.log",
    benchmark:
        f"{R}/logs/timings/task.{{task}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        settings=task_settings,
        held_out=HELD_OUT,
        contigs=contigs,
        columns=CONFIG.model.columns,
        version=STAGES["promoter"],
    message:
        "Building the examples of task {wildcards.task}"
    shell:
        "python -m genebert task-promoter --name {wildcards.task} --settings {params.settings:q}"
        " --tss {input.tss:q} --genome {input.fasta:q} --contigs {params.contigs:q} {params.held_out} --regions {input.regions:q}"
        " --accessibility {input.accessibility:q} --motifs {input.motifs:q}"
        " --columns {params.columns} --out {output:q} 2> {log:q}"


rule benchmark:
    input:
        dataset=f"{R}/benchmarks/{{task}}/dataset.parquet",
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
        weights=weights_of,
    output:
        predictions=f"{RUN}/predictions.parquet",
        metrics=f"{RUN}/metrics.json",
    log:
        f"{R}/logs/benchmark/{{task}}.{{model}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/benchmark.{{task}}.{{model}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    threads: CONFIG.benchmarks.finetune.threads
    resources:
        gpu=gpus_of_model,
        compute=compute,
    params:
        settings=finetune_settings,
        weights=lambda wildcards, input: (
            option("--weights", str(Path(input.weights).parent))
            if input.weights
            else ""
        ),
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        out=lambda wildcards, output: Path(output.metrics).parent,
        version=STAGES["benchmark"],
    message:
        "Running {wildcards.model} on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m genebert benchmark --task {wildcards.task} --dataset {input.dataset:q}"
        " --corpus {params.corpus:q} --model {wildcards.model} {params.weights}"
        " --settings {params.settings:q} --compute {resources.compute:q} --seed {wildcards.seed}"
        " --out {params.out:q} 2> {log:q}"


rule summary:
    input:
        predictions=[f"{run}/predictions.parquet" for run in RUNS],
        metrics=[f"{run}/metrics.json" for run in RUNS],
    output:
        tsv=f"{R}/benchmarks/summary.tsv",
        md=report(
            f"{R}/benchmarks/summary.md",
            category="Benchmarks",
            caption="../report/summary.rst",
        ),
    log:
        f"{R}/logs/summary.log",
    benchmark:
        f"{R}/logs/timings/summary.tsv"
    conda:
        "../../envs/genebert.yaml"
    params:
        runs=RUNS,
        block_bp=CONFIG.benchmarks.block_bp,
        version=STAGES["summary"],
    message:
        "Gathering all runs in one table"
    shell:
        "python -m genebert summary --runs {params.runs:q} --block-bp {params.block_bp}"
        " --out {output.tsv:q} 2> {log:q}"
