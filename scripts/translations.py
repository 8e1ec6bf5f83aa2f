"""Keep the catalogue of messages: every text that a user reads has a place in it.

python scripts/translations.py          add the messages that are new, without a translation, and drop those that went
python scripts/translations.py --check  say what is missing, left over or unlike its message; exit 1 if anything is

Where the texts are found: `_("...")`, `say("...")` and errors of the command line; the help of every command, from the
app itself; the errors of the lower packages that name a user's mistake. Values that an f-string puts in are
`{names}` in the catalogue.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexllm_batch.report.page import template_texts
from flexllm_cli.command_table import COMMANDS
from flexllm_cli.lazy_group import load_command
from flexllm_cli.localized_help import FRAME, paragraphs_of
from flexllm_cli.po import TEMPLATE, read_po, templates_of

ROOT = Path(__file__).parent.parent
CATALOGUE = ROOT / "packages" / "flexllm-cli" / "src" / "flexllm_cli" / "locale" / "zh_CN.po"
HEAD = 'msgid ""\nmsgstr ""\n"Language: zh_CN\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'

ERRORS_OF = (
    "flexllm_core.endpoint",
    "flexllm_core.thinking",
    "flexllm_core.config_text",
    "flexllm_core.yaml_reader",
    "flexllm_batch.cost.budgeted",
    "flexllm_batch.outputs.compaction",
    "flexllm_batch.outputs.journal",
    "flexllm_batch.outputs.openai_lines",
    "flexllm_batch.outputs.output",
    "flexllm_batch.outputs.lock",
    "flexllm_batch.outputs.path",
    "flexllm_batch.inputs.records",
    "flexllm_batch.inputs.row_files",
    "flexllm_batch.outputs.scan",
    "flexllm_batch.inputs.sources",
    "flexllm_batch.stop_rules",
    "flexllm_batch.inputs.table_sources",
    "flexllm_providers.credits.fetch",
)
"""Modules whose `raise`d texts are messages."""

TEXTS_OF = (
    "flexllm_batch.planning.canary", "flexllm_batch.cache.inspect", "flexllm_cli.endpoint_check",
    "flexllm_cli.plan_report", "flexllm_cli.chat.commands", "flexllm_core.config",
    "flexllm_core.options", "flexllm_core.resolve",
    "flexllm_providers.credits.fetch", "flexllm_providers.transport.errors",
)  # fmt: skip
"""Modules in which every text of several words is a message."""

TRANSLATED = ("flexllm_batch.progress", "flexllm_batch.report.page")
"""Modules of a lower package that put their texts into the caller's language with `translate`."""

LATENCIES = ("mean", "longest")
"""Names of latencies, beside percentiles, which are the same in every language."""

ELSEWHERE = (
    # The parser of the command line, in the versions of Typer that are admitted.
    "Invalid value for {param}: {reason}",
    "Missing option {param}.",
    "Missing argument {param}.",
    "Missing command.",
    "No such command {name}.",
    "No such option: {name}",
    "No such option {name}.",
    "No such option: {name} Did you mean {others}?",
    "Got unexpected extra argument(s) ({arguments})",
    "Got unexpected extra argument ({arguments})",
    "Got unexpected extra arguments ({arguments})",
    "Option {name} requires an argument.",
    "Option {name} does not take a value.",
    "Value {value} is not a valid {kind}.",
    "No such option: {name} (Possible options: {others})",
    "{value} is not one of {choices}.",
    "Input should be {choices}",
    "Input should be a valid number, unable to parse string as a number",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be greater than or equal to {limit}",
    "Input should be less than or equal to {limit}",
    "{value} is not in the range {range}.",
    "{value} is not a valid integer.",
    "{value} is not a valid float.",
    "Show this message and exit.",
    "Install completion for the current shell.",
    "Show completion for the current shell, to copy it or customize the installation.",
    # The operating system.
    "No such file or directory",
    "Permission denied",
    "Is a directory",
    "Not a directory",
    "No space left on device",
    "Read-only file system",
    "File exists",
    "Connection refused",
    # Counts and costs of a run.
    "cost unknown",
    "{known} ({estimated} of it estimated)",
    "{known} + {count} rows of unknown cost",
    "rule of thumb",
    "the key {name} stands twice",
    "{cost} for {count} answers",
    "{cost} of it estimated ({count} answers without usage)",
    "{count} answers of unknown cost not in it",
    "{count} from the cache, which saved {cost}",
    # Providers to choose from.
    "vLLM or SGLang on this machine",
    "Ollama on this machine",
    "another server that speaks OpenAI's API",
    "budget: {text}",
    "budget: {share} is used: {amounts}",
    "{spent} spent and {reserved} reserved of {limit}",
)
"""Texts that are made where no rule above finds them."""


NO_MESSAGES = ("SELECT ", "Count from 1 to 20.")
"""How texts begin that are for a database or a model."""


def sources(*modules: str) -> Iterator[ast.Module]:
    """The syntax trees of modules."""
    for name in modules:
        path = importlib.import_module(name).__file__
        assert path is not None
        yield ast.parse(Path(path).read_text(encoding="utf-8"))


def template(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be, with `{names}` for values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else f"{{{placeholder(part)}}}"
            for part in node.values
        )
    elif isinstance(node, ast.IfExp):
        yield from template(node.body)
        yield from template(node.orelse)


def placeholder(node: ast.expr) -> str:
    """A name for the value of an f-string."""
    expression = node.value if isinstance(node, ast.FormattedValue) else node
    return re.sub(r"\W+", "_", ast.unparse(expression)).lstrip("_0123456789")[:24].rstrip("_") or "value"


def called(tree: ast.AST, *names: str) -> Iterator[str]:
    """The texts that are the first argument of functions and methods called so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if name in names:
                yield from template(node.args[0])


def raised(tree: ast.AST) -> Iterator[str]:
    """The texts of the errors that a module raises, without the remedy that some end in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            for text in template(node.exc.args[0]):
                yield from without_remedy(text)


def without_remedy(text: str) -> list[str]:
    """A message and its remedy, as the command line takes them apart."""
    from flexllm_cli.error_report import SEPARATORS

    for separator in SEPARATORS:
        before, found, after = text.partition(separator)
        if found:
            return [before, separator.partition(" ")[2] + after]
    return [text]


def several_words(tree: ast.AST) -> Iterator[str]:
    """Every text of several words that is no docstring."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings:
            if isinstance(node, ast.Constant) and id(node) in inside:
                continue
            for text in template(node):
                yield from without_remedy(text)


def help_texts() -> Iterator[str]:
    """The help of every command and of its options, as the app has it."""
    import typer

    from flexllm_cli.app import app, root

    yield from paragraphs_of(root.__doc__ or "")
    yield from option_texts(typer.main.get_command(app))
    for name, row in COMMANDS.items():
        yield row.summary
        command = load_command(name, row, localized=False)
        for one in (command, *getattr(command, "commands", {}).values()):
            yield from paragraphs_of(one.help or "")
            yield from option_texts(one)


def option_texts(command: Any) -> Iterator[str]:
    """The help of a command's options."""
    yield from (" ".join(param.help.split()) for param in command.params if getattr(param, "help", None))


def messages() -> dict[str, bool]:
    """Every message, in the order in which they are found, and whether it is a template that texts are held against."""
    own = ROOT / "packages" / "flexllm-cli" / "src" / "flexllm_cli"
    explicit = list(FRAME)  # these are looked up as they stand
    found: list[str] = list(help_texts())
    for path in sorted(own.rglob("*.py")):
        if path.name == "po.py":
            continue  # its errors are for who edits the catalogue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        explicit += called(tree, "_")
        found += [text for text in called(tree, "say") if not text.startswith("{")]
        found += raised(tree)
    for tree in sources(*TRANSLATED):
        explicit += called(tree, "translate", "_translate")
    explicit += (*template_texts(), *LATENCIES)
    for tree in sources(*ERRORS_OF):
        found += raised(tree)
    for tree in sources(*TEXTS_OF):
        found += several_words(tree)
    found += ELSEWHERE
    named = [text for text in map(normal, found) if "{}" not in text and not text.startswith(NO_MESSAGES)]
    held_against = set(filter(worded, named))
    in_order = [*explicit, *filter(worded, named)]
    return {text: text in held_against and "{" in text for text in in_order}


def normal(text: str) -> str:
    """A template as it is looked up: formats left out, and what stands in front of a message (a file, a key)."""
    text = re.sub(r"\{(\w*):[^{}]*\}", r"{\1}", text).strip()
    return re.sub(r"^(\{\w+\})*[:;,] ", "", text)


def worded(text: str) -> bool:
    """Whether there is anything to translate: words, at least two of them where they stand alone."""
    fixed = re.sub(r"\{\w+\}", "", text)
    return re.search(r"[A-Za-z]{2}", fixed) is not None and " " in text


def placeholders(text: str) -> list[str]:
    """The names of a text's values."""
    return sorted(re.findall(r"\{(\w+)\}", text))


def problems(text: str, wanted: dict[str, bool]) -> list[str]:
    """What is wrong with the text of a catalogue."""
    catalogue = read_po(text)
    found = [f"not translated: {text!r}" for text in wanted if text not in catalogue]
    found += [f"nobody says: {text!r}" for text in catalogue if text not in wanted]
    found += [
        f"other values than its message: {text!r}"
        for text, translation in catalogue.items()
        if placeholders(text) != placeholders(translation)
    ]
    if templates_of(text) != {text for text, template in wanted.items() if template}:
        found.append("other messages are marked as templates than are used so; write the catalogue anew")
    return found


def written(catalogue: dict[str, str], wanted: dict[str, bool]) -> str:
    """The text of the catalogue with the messages that are wanted."""
    entries = (
        f"\n{TEMPLATE}\n" * template + "\n" * (not template)
        + f"msgid {quoted(text)}\nmsgstr {quoted(catalogue.get(text, ''))}\n"
        for text, template in wanted.items()
    )  # fmt: skip
    return HEAD + "".join(entries)


def quoted(text: str) -> str:
    """A text as it stands in a catalogue."""
    return json.dumps(text, ensure_ascii=False)


def main() -> int:
    """Check or update."""
    catalogue, wanted = read_po(CATALOGUE.read_text(encoding="utf-8")), messages()
    if "--check" not in sys.argv:
        CATALOGUE.write_text(written(catalogue, wanted), encoding="utf-8")
    found = problems(CATALOGUE.read_text(encoding="utf-8"), wanted)
    for problem in found:
        print(problem)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
