# One pre-training for each variant and seed.


rule pretrain:
    input:
        parts=expand(f"{R}/corpus/part-{{chunk}}.parquet", chunk=CHUNKS),
        manifest=f"{R}/corpus/manifest.json",
    output:
        weights=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/model.safetensors",
        config=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/config.json",
        provenance=f"{R}/pretrain/{{variant}}/seed{{seed}}/model/provenance.json",
        history=f"{R}/pretrain/{{variant}}/seed{{seed}}/history.tsv",
    log:
        f"{R}/logs/pretrain/{{variant}}.seed{{seed}}.log",
    benchmark:
        f"{R}/logs/timings/pretrain.{{variant}}.seed{{seed}}.tsv"
    conda:
        "../../envs/genebert.yaml"
    threads: CONFIG.pretrain.threads
    params:
        model=as_json(CONFIG.model),
        settings=pretrain_settings,
        corpus=lambda wildcards, input: Path(input.manifest).parent,
        out=lambda wildcards, output: Path(output.weights).parent,
        version=STAGES["pretrain"],
    message:
        "Pre-training {wildcards.variant}, seed {wildcards.seed}"
    shell:
        "python -m genebert pretrain --corpus {params.corpus:q} --model {params.model:q}"
        " --settings {params.settings:q} --variant {wildcards.variant} --seed {wildcards.seed}"
        " --out {params.out:q} --history {output.history:q} 2> {log:q}"
