"""The committed forms of the configuration, made from its models: YAML, JSON schema, table.

``python -m genebert.config.forms`` writes them all.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from genebert.config import TASKS, Config, Section, Task
from genebert.config.tasks import AnyTask
from genebert.inputs import sheet

HEADER = """\
# The human run: ENCODE ATAC-seq peaks of 13 cell types, hg38, JASPAR 2026, paper-scale model.
# Made by `genebert config yaml` from the models in genebert/config/; every key is explained here.
# Copy the file, change what you need, and run `snakemake --configfile yours.yaml --cores 8`.
"""


def as_yaml() -> str:
    """Return the default configuration as YAML, with each key's description as a comment."""
    return HEADER + "\n".join(_yaml_lines(Config, indent=0)) + "\n"


def as_schema() -> str:
    """Return the JSON schema as text."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def as_sheet_schema() -> str:
    """Return the JSON schema of a row of the sheet of samples as text."""
    return json.dumps(sheet.as_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def as_table() -> str:
    """Return a Markdown table: key, default, meaning."""
    rows = [
        f"| `{key}` | {_shown_default(field)} | {field.description} |"
        for key, field in _leaves(Config, prefix="")
    ]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _section_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field is, None for a value."""
    annotation: Any = field.annotation
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if is_section else None


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
        if section := _section_of(field):
            yield f"\n{pad}{name}: # {_one_line(section.__doc__)}".lstrip("\n" if indent else "")
            yield from _yaml_lines(section, indent + 2)
        else:
            yield f"{pad}# {field.description}"
            value = _plain(_value(field))
            if isinstance(value, dict) and value:
                yield f"{pad}{name}:"
                yield from (f"{pad}  {key}: {json.dumps(row)}" for key, row in value.items())
            else:
                yield f"{pad}{name}: {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
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
        if section := _section_of(field):
            yield from _leaves(section, f"{prefix}{name}.")
            continue
        yield prefix + name, field
        row = get_args(field.annotation)[1] if get_origin(field.annotation) is dict else None
        if row is AnyTask:
            yield from _leaves(Task, f"{prefix}{name}.*.")
            for kind, task in TASKS.items():
                for key, inner in _leaves(task, f"{prefix}{name}.<{kind}>."):
                    if key.rpartition(".")[2] not in Task.model_fields:
                        yield key, inner
        elif isinstance(row, type) and issubclass(row, Section):
            yield from _leaves(row, f"{prefix}{name}.*.")


def _shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = _plain(field.default)
    return f"`{_scalar(value)}`"


END_OF_TABLE = "<!-- end of table -->\n"


def with_tables(readme: str) -> str:
    """Return the text with the tables between their marks made anew."""
    for name, table in (("keys", as_table()), ("columns", sheet.as_table())):
        first = f"<!-- table of {name}: made by `make forms` -->\n"
        before, _, rest = readme.partition(first)
        _, _, after = rest.partition(END_OF_TABLE)
        readme = f"{before}{first}\n{table}\n{END_OF_TABLE}{after}"
    return readme


def write_forms(root: Path = Path()) -> None:
    """Write config.yaml, the schemas and the README's tables below the project's root."""
    (root / "config/config.yaml").write_text(as_yaml())
    (root / "workflow/schemas/config.schema.json").write_text(as_schema())
    (root / "workflow/schemas/samples.schema.json").write_text(as_sheet_schema())
    readme = root / "config/README.md"
    readme.write_text(with_tables(readme.read_text()))


if __name__ == "__main__":
    write_forms()
