# One pre-training for each variant and seed, and what some strategies of masking need first.


rule npmi:
    input:
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
    output:
        table=f"{R}/corpus/npmi.parquet",
        provenance=f"{R}/corpus/npmi.provenance.json",
    log:
        f"{R}/logs/npmi.log",
    benchmark:
        f"{R}/logs/timings/npmi.tsv"
    conda:
        "../../envs/genebert.yaml"
    resources:
        mem_mb=memory("npmi"),
        runtime=runtime("npmi"),
    params:
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        k=CONFIG.model.sequence.k,
        held_out=lambda wildcards: HELD_OUT_CELL_TYPES,
        version=STAGES["npmi"],
    message:
        "Counting k-mers of the training regions"
    shell:
        "python -m genebert npmi --corpus {params.corpus:q} --k {params.k} {params.held_out}"
        " --out {output.table:q} 2> {log:q}"


rule pretrain:
    input:
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
        motifs=motifs_of_variant,
        npmi=npmi_of_variant,
        initial=initial_weights,
    output:
        weights=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/model.safetensors",
        config=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/config.json",
        provenance=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/provenance.json",
        history=report(
            f"{R}/pretrain/{{variant}}/seed{{seed}}/history.tsv",
            category="Pre-training",
            caption="../report/history.rst",
            labels={"variant": "{variant}", "seed": "{seed}"},
        ),
    log:
        f"{R}/logs/pretrain/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/pretrain.{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    # Of each worker: there is one a GPU.
    threads: CONFIG.pretrain.threads * max(1, CONFIG.compute.gpus)
    resources:
        **devices_of_variant(),
        mem_mb=memory("pretrain"),
        runtime=runtime("pretrain"),
        compute=compute,
    params:
        model=as_json(CONFIG.model),
        settings=pretrain_settings,
        held_out=lambda wildcards: HELD_OUT_CELL_TYPES,
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        tables=lambda wildcards, input: (
            f"{option('--motifs', str(input.motifs) or None)}"
            f" {option('--npmi', str(input.npmi) or None)}"
        ),
        out=lambda wildcards, output: Path(output.weights).parent,
        # Not among the outputs, which Snakemake deletes when a job fails.
        checkpoints=lambda wildcards, output: Path(output.history).parent
        / "checkpoints",
        version=STAGES["pretrain"],
    message:
        "Pre-training {wildcards.variant}, seed {wildcards.seed}"
    shell:
        # exec: the shell would end on SIGTERM to all, and Snakemake not wait until the training has saved.
        "exec python -m genebert pretrain --corpus {params.corpus:q} {params.tables}"
        " --model {params.model:q} --settings {params.settings:q} --compute {resources.compute:q}"
        " --variant {wildcards.variant} --seed {wildcards.seed} {params.held_out} --checkpoints {params.checkpoints:q}"
        " --out {params.out:q} --history {output.history:q} 2> {log:q}"


# What the report shows of a variant, of its first seed.
rule embed:
    input:
        weights=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/model.safetensors",
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
    output:
        table=f"{R}/pretrain/{{variant}}/seed{{seed}}/embeddings.parquet",
        provenance=f"{R}/pretrain/{{variant}}/seed{{seed}}/embeddings.provenance.json",
    log:
        f"{R}/logs/embed/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/embed.{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    threads: CONFIG.pretrain.threads
    resources:
        mem_mb=memory("embed"),
        runtime=runtime("embed"),
        gpu=min(1, CONFIG.compute.gpus),
        compute=compute,
    params:
        model=lambda wildcards, input: Path(input.weights).parent,
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        version=STAGES["embed"],
    message:
        "Embedding regions by {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m genebert embed --weights {params.model:q} --corpus {params.corpus:q} --inputs region"
        " --sample 150 --compute {resources.compute:q} --threads {threads} --out {output.table:q} 2> {log:q}"


rule attribution:
    input:
        weights=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/model.safetensors",
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
    output:
        table=f"{R}/pretrain/{{variant}}/seed{{seed}}/attribution.parquet",
        provenance=f"{R}/pretrain/{{variant}}/seed{{seed}}/attribution.provenance.json",
    log:
        f"{R}/logs/attribution/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/attribution.{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    threads: CONFIG.pretrain.threads
    resources:
        mem_mb=memory("attribution"),
        runtime=runtime("attribution"),
        gpu=min(1, CONFIG.compute.gpus),
        compute=compute,
    params:
        model=lambda wildcards, input: Path(input.weights).parent,
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        version=STAGES["attribution"],
    message:
        "Asking {wildcards.variant}, seed {wildcards.seed}, which bases of one region matter"
    shell:
        "python -m genebert attribution --weights {params.model:q} --corpus {params.corpus:q}"
        " --compute {resources.compute:q} --threads {threads} --out {output.table:q} 2> {log:q}"
