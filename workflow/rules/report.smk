# One page to look at, offline.


rule report:
    input:
        summary=f"{R}/benchmarks/summary.tsv",
        predictions=[f"{run}/predictions.parquet" for run in RUNS],
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        checked=expand(
            f"{R}/reference/preflight.{{task}}.tsv", task=CONFIG.benchmarks.tasks
        ),
        manifest=f"{R}/corpus/manifest.json",
        motifs=f"{R}/motifs/motifs.parquet",
        history=expand(
            f"{R}/pretrain/{{variant}}/seed{{seed}}/history.tsv",
            variant=[
                name for name, row in CONFIG.pretrain.variants.items() if row.trained
            ],
            seed=CONFIG.seeds,
        ),
    output:
        report(
            f"{R}/report.html",
            category="Report",
            caption="../report/page.rst",
        ),
    log:
        f"{R}/logs/report.log",
    conda:
        "../../envs/genebert.yaml"
    params:
        results=lambda wildcards, output: Path(output[0]).parent,
        runs=RUNS,
        tasks=list(CONFIG.benchmarks.tasks),
        title=lambda wildcards: CONFIG.genome.name,
        block_bp=CONFIG.benchmarks.block_bp,
        version=STAGES["report"],
    message:
        "Making the report"
    shell:
        "python -m genebert report --results {params.results:q} --title {params.title:q}"
        " --runs {params.runs:q} --tasks {params.tasks} --histories {input.history:q}"
        " --block-bp {params.block_bp} --out {output:q} 2> {log:q}"
