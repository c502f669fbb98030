# Tasks, and one run for each task, model and seed: the path of a result is the query for it.

RUN = f"{R}/benchmarks/{{task}}/{{model}}/seed{{seed}}"
RUNS = [
    f"{R}/benchmarks/{task}/{model}/seed{seed}" for task, model, seed in CONFIG.runs()
]


# One rule a type of task, and none for a type that the configuration does not name.
for kind, names in TASKS.items():

    rule:
        name:
            f"task_{kind}"
        input:
            fasta=GENOME,
            fai=f"{GENOME}.fai",
            preflight=f"{R}/reference/preflight.{{task}}.tsv",
            files=task_files,
            regions=f"{R}/regions/regions.parquet",
            accessibility=f"{R}/regions/accessibility.parquet",
            motifs=f"{R}/motifs/motifs.parquet",
        output:
            dataset=f"{R}/benchmarks/{{task}}/dataset.parquet",
            companion=companions(kind),
            provenance=f"{R}/benchmarks/{{task}}/dataset.provenance.json",
        log:
            f"{R}/logs/tasks/{{task}}.log",
        benchmark:
            f"{R}/logs/timings/task.{{task}}.tsv"
        wildcard_constraints:
            task="|".join(map(re.escape, names)),
        conda:
            "../../envs/genebert.yaml"
        resources:
            mem_mb=memory(f"task_{kind}"),
            runtime=runtime(f"task_{kind}"),
        params:
            kind=kind,
            settings=task_settings,
            files=task_paths,
            held_out=HELD_OUT,
            contigs=contigs,
            columns=CONFIG.model.columns,
            cell_types=cell_types_of_task,
            block_bp=block_of_task,
            companion=lambda wildcards, output: option(
                "--companion", str(output.companion) or None
            ),
            version=STAGES[kind],
        message:
            "Building the examples of task {wildcards.task}"
        shell:
            "python -m genebert task --type {params.kind} --name {wildcards.task}"
            " --settings {params.settings:q} --files {params.files} --genome {input.fasta:q}"
            " --contigs {params.contigs:q} {params.held_out} --regions {input.regions:q}"
            " --accessibility {input.accessibility:q} --motifs {input.motifs:q}"
            " --columns {params.columns} --cell-types {params.cell_types:q}"
            " --block-bp {params.block_bp} {params.companion} --out {output.dataset:q} 2> {log:q}"


rule benchmark:
    input:
        dataset=f"{R}/benchmarks/{{task}}/dataset.parquet",
        companion=companion_of,
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
        weights=weights_of,
        encoder=encoder_of,
    output:
        predictions=f"{RUN}/predictions.parquet",
        metrics=f"{RUN}/metrics.json",
        provenance=f"{RUN}/metrics.provenance.json",
    log:
        f"{R}/logs/benchmark/{{task}}.{{model}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/benchmark.{{task}}.{{model}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    threads: CONFIG.benchmarks.finetune.threads
    resources:
        mem_mb=memory("benchmark"),
        runtime=runtime("benchmark"),
        gpu=gpus_of_model,
        compute=compute,
    params:
        model=model_text,
        settings=finetune_settings,
        weights=lambda wildcards, input: (
            option("--weights", str(Path(input.weights).parent))
            if input.weights
            else ""
        ),
        companion=lambda wildcards, input: option(
            "--companion", str(input.companion) or None
        ),
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        out=lambda wildcards, output: Path(output.metrics).parent,
        version=STAGES["benchmark"],
    message:
        "Running {wildcards.model} on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m genebert benchmark --task {wildcards.task} --dataset {input.dataset:q}"
        " {params.companion} --corpus {params.corpus:q} --model {params.model:q} {params.weights}"
        " --settings {params.settings:q} --compute {resources.compute:q} --seed {wildcards.seed}"
        " --out {params.out:q} 2> {log:q}"


rule leakage:
    input:
        dataset=f"{R}/benchmarks/{{task}}/dataset.parquet",
        companion=companion_of,
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
    output:
        table=report(
            f"{R}/benchmarks/{{task}}/leakage.tsv",
            category="Leakage",
            caption="../report/leakage.rst",
            labels={"task": "{task}"},
        ),
        provenance=f"{R}/benchmarks/{{task}}/leakage.provenance.json",
    log:
        f"{R}/logs/leakage/{{task}}.log",
    benchmark:
        f"{R}/logs/timings/leakage.{{task}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("leakage"),
        runtime=runtime("leakage"),
    params:
        companion=lambda wildcards, input: option(
            "--companion", str(input.companion) or None
        ),
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        version=STAGES["leakage"],
    message:
        "Looking for leaks in task {wildcards.task}"
    shell:
        "python -m genebert leakage --dataset {input.dataset:q} {params.companion}"
        " --corpus {params.corpus:q} --out {output.table:q} 2> {log:q}"


rule summary:
    input:
        predictions=[f"{run}/predictions.parquet" for run in RUNS],
        metrics=[f"{run}/metrics.json" for run in RUNS],
    output:
        tsv=report(
            f"{R}/benchmarks/summary.tsv",
            category="Benchmarks",
            caption="../report/summary_tsv.rst",
            labels={"table": "every figure, to compute with"},
        ),
        md=report(
            f"{R}/benchmarks/summary.md",
            category="Benchmarks",
            caption="../report/summary.rst",
            labels={"table": "leaderboards, to read"},
        ),
        provenance=f"{R}/benchmarks/summary.provenance.json",
    log:
        f"{R}/logs/summary.log",
    benchmark:
        f"{R}/logs/timings/summary.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("summary"),
        runtime=runtime("summary"),
    params:
        runs=RUNS,
        block_bp=CONFIG.benchmarks.block_bp,
        untrained=option("--untrained", CONFIG.untrained()),
        sequence_only=option("--sequence-only", CONFIG.sequence_only()),
        version=STAGES["summary"],
    message:
        "Gathering all runs in one table"
    shell:
        "python -m genebert summary --runs {params.runs:q} --block-bp {params.block_bp}"
        " {params.untrained} {params.sequence_only} --out {output.tsv:q} 2> {log:q}"
