"""What a run will take, before it runs: one model of cost, for `genebert plan` and for the rules.

``constants.json`` holds what was measured, and on what; :mod:`~genebert.plan.sizes` says how much there
will be of everything, :mod:`~genebert.plan.jobs` which jobs, :mod:`~genebert.plan.needs` what one of
them takes, and :mod:`~genebert.plan.table` adds them up. Nothing heavy is imported: a dry run of the
workflow loads it.
"""
