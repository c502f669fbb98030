"""Names in a profile of Snakemake: a mistyped one does nothing, without a word."""

import difflib
from collections.abc import Collection, Iterable, Mapping

from genebert.errors import GenebertError

# Without which jobs run in another place than meant; other resources may be a cluster's own.
_OF_SLURM = ("slurm_partition", "slurm_account", "slurm_extra", "slurm_cluster", "gpu", "gpu_model")


def check_rules(named: Mapping[str, Iterable[str]], rules: Collection[str]) -> None:
    """Refuse a rule that the workflow does not have.

    Parameters
    ----------
    named
        Names of rules by the option that names them (``set-resources``).
    rules
        Those of the workflow.

    Raises
    ------
    GenebertError
        For the first that is none.
    """
    for option, names in named.items():
        for name in names:
            if name not in rules:
                raise GenebertError(f"{option} names rule '{name}', which is none", _mend(name, rules))


def check_resources(named: Iterable[str]) -> None:
    """Refuse a resource that is called almost as one of the plugin for SLURM.

    Raises
    ------
    GenebertError
        For the first of them.
    """
    for name in named:
        if name not in _OF_SLURM and (close := difflib.get_close_matches(name, _OF_SLURM, 1, 0.85)):
            raise GenebertError(
                f"resource '{name}' is set, of which nobody knows", f"did you mean '{close[0]}'?"
            )


def _mend(name: str, rules: Collection[str]) -> str:
    close = difflib.get_close_matches(name, rules, 1)
    return f"did you mean '{close[0]}'?" if close else f"rules: {', '.join(sorted(rules))}"
