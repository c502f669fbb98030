# One page to look at, offline.


rule report:
    input:
        summary=multiext(f"{R}/benchmarks/summary", ".tsv", ".md") if RUNS else [],
        datasets=expand(
            f"{R}/benchmarks/{{task}}/dataset.parquet", task=CONFIG.benchmarks.tasks
        ),
        metrics=[f"{run}/metrics.json" for run in RUNS],
        predictions=[f"{run}/predictions.parquet" for run in RUNS],
        leakage=expand(
            f"{R}/benchmarks/{{task}}/leakage.tsv", task=CONFIG.benchmarks.tasks
        ),
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        checked=expand(
            f"{R}/reference/preflight.{{task}}.tsv", task=CONFIG.benchmarks.tasks
        ),
        manifest=f"{R}/corpus/manifest.json",
        motifs=f"{R}/motifs/motifs.parquet",
        history=expand(
            f"{R}/pretrain/{{variant}}/seed{{seed}}/history.tsv",
            variant=CONFIG.pretrain.variants,
            seed=CONFIG.seeds,
        ),
        provenance=expand(
            f"{R}/pretrain/{{variant}}/seed{{seed}}/model/provenance.json",
            variant=CONFIG.pretrain.variants,
            seed=CONFIG.seeds,
        ),
        embeddings=expand(
            f"{R}/pretrain/{{variant}}/seed{CONFIG.seeds[0]}/embeddings.parquet",
            variant=variants_with("region"),
        ),
        attributions=expand(
            f"{R}/pretrain/{{variant}}/seed{CONFIG.seeds[0]}/attribution.parquet",
            variant=variants_with("sequence"),
        ),
    output:
        page=report(
            f"{R}/report.html",
            category="Report",
            caption="../report/page.rst",
            labels={"page": "figures and tables on one page"},
        ),
        provenance=f"{R}/report.provenance.json",
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/logs/timings/report.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("report"),
        runtime=runtime("report"),
    params:
        results=lambda wildcards, output: Path(output.page).parent,
        benchmarks=(
            shlex.join(["--runs", *RUNS, "--tasks", *CONFIG.benchmarks.tasks])
            if RUNS
            else ""
        ),
        title=lambda wildcards: CONFIG.genome.name,
        block_bp=CONFIG.benchmarks.block_bp,
        version=STAGES["report"],
    message:
        "Making the report"
    shell:
        "python -m genebert report --results {params.results:q} --title {params.title:q}"
        " {params.benchmarks} --histories {input.history:q} --embeddings {input.embeddings:q}"
        " --attributions {input.attributions:q}"
        " --block-bp {params.block_bp} --out {output.page:q} 2> {log:q}"
