"""Configuration files -> models, or a message that a person can act on."""

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from genebert.config.kinds import Section
from genebert.config.tasks import TASKS, AnyTask
from genebert.config.whole import Config
from genebert.errors import GenebertError

S = TypeVar("S", bound=Section)
_MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    """Reads plain values only, and refuses a key that is given twice: one of them would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping of YAML; raise ConstructorError for a key that is there twice."""
        own = [
            key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"
        ]
        for key in own:
            if own.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"key '{key}' is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


def validate(raw: Any, where: str) -> Config:
    """Return the typed configuration of parsed YAML.

    Parameters
    ----------
    raw
        What the YAML parser or Snakemake made of the file.
    where
        The file's name, for the message.

    Raises
    ------
    GenebertError
        For the first unknown key, wrong type or impossible combination, with key, value and fix.
    """
    return parse_section(Config, raw, where)


def load(path: str | Path) -> Config:
    """Read and validate one YAML file; errors as in :func:`validate` and :func:`read_yaml`."""
    return validate(read_yaml(path), str(path))


def read_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds.

    Raises
    ------
    GenebertError
        If it cannot be read, is no YAML, or has a key twice, of which Snakemake would take the last.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise GenebertError(f"cannot read {path}: {error.strerror}", "correct the path") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise GenebertError(
            f"{path} is not valid YAML: {getattr(error, 'problem', error)}",
            "mend the syntax (indentation, colons, quotes)",
            where="" if line is None else f"line {line + 1}",
        ) from None


def parse_section(model: type[S], raw: Any, where: str) -> S:
    """Validate one section; errors as in :func:`validate`."""
    if not isinstance(raw, dict):
        raise GenebertError("the configuration is no mapping of keys", "write `key: value`", where)
    if not _is_small(raw):
        raise GenebertError(
            f"the configuration has more than {_MOST_VALUES} values, or holds itself",
            "write values out instead of `&` and `*`",
            where,
        )
    try:
        return model.model_validate(_plain(raw))
    except ValidationError as error:
        raise _readable(model, error, where) from None


def _is_small(raw: Any) -> bool:
    """Return whether a tree is no larger than a person would write, its YAML aliases written out."""
    seen, left = 0, [raw]
    while left and seen <= _MOST_VALUES:
        value = left.pop()
        seen += 1
        if isinstance(value, dict | list | tuple):
            left.extend(value.values() if isinstance(value, dict) else value)
    return seen <= _MOST_VALUES


def _plain(raw: Any) -> Any:
    # Snakemake hands over OrderedDicts and tuples; strict models want plain ones.
    if isinstance(raw, dict):
        return {key: _plain(value) for key, value in raw.items()}
    if isinstance(raw, list | tuple):
        return [_plain(value) for value in raw]
    return raw


def _readable(model: type[Section], error: ValidationError, where: str) -> GenebertError:
    # A mistyped key before the missing one that it was meant to be.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = first["loc"]
    if first["type"] in ("union_tag_not_found", "union_tag_invalid"):
        task = ".".join(map(str, location))
        return GenebertError(
            f"{task} has no known type", f"write `type:` and one of {', '.join(TASKS)}", where
        )
    if model is Config and location[:2] == ("benchmarks", "tasks"):
        location = (*location[:3], *location[4:])  # without the type, which is no key
    key = ".".join(map(str, location))
    value = first["input"]
    shown = "" if isinstance(value, dict | Section) else f" = {value!r}"
    if first["type"] == "extra_forbidden":
        known = sorted(_known_keys(model, first["loc"][:-1]))
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        fix = f"did you mean '{close[0]}'?" if close else f"known keys here: {', '.join(known)}"
        return GenebertError(f"unknown key '{key}'{shown}", fix, where)
    if first["type"] == "missing":
        return GenebertError(f"key '{key}' is missing", "add it; config/README.md explains it", where)
    message = first["msg"].removeprefix("Value error, ")
    what, _, fix = message.partition("; ")
    named = f"'{key}'{shown}: " if key else ""
    return GenebertError(
        f"{named}{what}", fix or "correct the value; config/README.md explains the key", where
    )


def _known_keys(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    section: Any = model
    for part in location:
        if isinstance(section, type) and issubclass(section, Section):
            section = section.model_fields[str(part)].annotation
        elif section is AnyTask:  # after the name of a task, its type
            section = TASKS[str(part)]
        else:  # the values of a mapping, such as pretrain.variants
            section = get_args(section)[1]
    return list(section.model_fields)
