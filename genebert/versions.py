"""The version of each stage's results.

A rule carries its stage's number as a parameter: raising it reruns the stage, editing a comment does
not. Raise it when the same inputs and settings give another result; for the stages up to the corpus and
for the tasks golden tests fail if you forget.
"""

STAGES = {
    "download": 1,
    "reference": 2,
    "peaks": 1,
    "regions": 1,
    "motifs": 2,
    "scan": 2,
    "corpus": 3,
    "npmi": 1,
    "pretrain": 2,
    "embed": 1,
    "attribution": 1,
    "promoter": 4,
    "tfbs": 1,
    "splicing": 2,
    "accessibility": 1,
    "labelled": 1,
    "variants": 1,
    "cohort": 1,
    "benchmark": 2,
    "leakage": 2,
    "summary": 2,
    "report": 3,
}
# Stages whose files the workflow removes, with their records, once they have been read.
TEMPORARY = {"scan"}
