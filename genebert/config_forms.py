"""The committed forms of the configuration, made from its models: YAML, JSON schema, table."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from genebert.config import Config, Section

HEADER = """\
# The human run: ENCODE ATAC-seq peaks of 13 cell types, hg38, JASPAR 2026, paper-scale model.
# Made by `genebert config yaml` from the models in genebert/config.py; every key is explained here.
# Copy the file, change what you need, and run `snakemake --configfile yours.yaml --cores 8`.
"""


def as_yaml() -> str:
    """Return the default configuration as YAML, with each key's description as a comment."""
    return HEADER + "\n".join(_yaml_lines(Config, indent=0)) + "\n"


def as_schema() -> str:
    """Return the JSON schema as text."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def as_table() -> str:
    """Return a Markdown table: key, default, meaning."""
    rows = [
        f"| `{key}` | {_shown_default(field)} | {field.description} |"
        for key, field in _leaves(Config, prefix="")
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _value(field: FieldInfo) -> Any:
    return field.examples[0] if field.examples else field.default


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value


def _yaml_lines(model: type[Section], indent: int) -> Iterator[str]:
    pad = " " * indent
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield f"\n{pad}{name}: # {_one_line(field.annotation.__doc__)}".lstrip(
                "\n" if indent else ""
            )
            yield from _yaml_lines(field.annotation, indent + 2)
        else:
            yield f"{pad}# {field.description}"
            value = _plain(_value(field))
            if isinstance(value, dict):
                yield f"{pad}{name}:"
                yield from (f"{pad}  {key}: {json.dumps(row)}" for key, row in value.items())
            else:
                yield f"{pad}{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, float) and 0 < abs(value) < 1e-2:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa)}e{int(exponent)}"
    return json.dumps(value).strip('"')


def _one_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


def _leaves(model: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
            continue
        yield prefix + name, field
        row = getattr(field.annotation, "__args__", (None, None))[-1]
        if getattr(field.annotation, "__origin__", None) is dict:
            yield from _leaves(row, f"{prefix}{name}.*.")


def _shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = _plain(field.default)
    return "`" + (_scalar(value) if not isinstance(value, dict) else json.dumps(value)) + "`"
