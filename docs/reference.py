"""The pages under Reference, made when the site is built: from conf/, --help and docstrings."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
COMMANDS = ["audit", "chat", "compare", "doctor", "replay", "report", "serve"]
HOME = re.compile(r"\]\(docs/([\w./#-]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them, and the README as the first page."""
    made = {
        "index.md": home(),
        "reference/commands.md": commands(),
        "reference/groups.md": groups(),
        "reference/changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def home() -> str:
    """The README with its links as they are here; what lies beside docs/ is on the repository."""
    text = HOME.sub(r"](\1)", (ROOT / "README.md").read_text(encoding="utf-8"))
    text = text.replace("](CHANGELOG.md)", "](reference/changelog.md)")
    beside = "https://github.com/medgrpo/medgrpo/blob/main/"
    return re.sub(r"\]\(((?:CONTRIBUTING|SECURITY)\.md|CITATION\.cff)\)", rf"]({beside}\1)", text)


def commands() -> str:
    """Every command's own help."""
    parts = ["# Commands", "", "## python -m medgrpo", "", *block(main_help())]
    for name in COMMANDS:
        parts += [f"## python -m medgrpo.{name}", "", *block(command_help(name))]
    return "\n".join(parts)


def main_help() -> str:
    """As `python -m medgrpo --help` prints it."""
    from medgrpo.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        main(["--help"])
    return output.getvalue()


def command_help(name: str) -> str:
    """As `--help` of a command behind it prints it."""
    main = importlib.import_module(f"medgrpo.{name}.__main__").main
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        main(["--help"])
    return output.getvalue()


def block(text: str, language: str = "text") -> list[str]:
    """Lines of a block of code."""
    return [f"```{language}", text.rstrip(), "```", ""]


def groups() -> str:
    """Every group, every choice: its file, with its comments, and what its class says of itself."""
    parts = [
        "# Groups and keys",
        "",
        "A group is a folder of conf/, a choice a file in it: ",
        "`GROUP=CHOICE` takes the file, `KEY=VALUE` changes a line of it.",
        "",
        "## Every run",
        "",
        *block((CONF / "config.yaml").read_text(encoding="utf-8"), "yaml"),
    ]
    folders = sorted({file.parent for file in CONF.rglob("*.yaml")} - {CONF, CONF / "hydra"})
    for folder in folders:
        parts += [f"## {folder.relative_to(CONF).as_posix()}", ""]
        for file in sorted(folder.glob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            parts += [f"### {folder.name}={file.stem}", "", *block(text, "yaml")]
            parts += [line for target in targets(text) for line in described(target)]
    return "\n".join(parts)


def targets(text: str) -> Iterator[str]:
    """The classes that a file names, each once."""

    def found(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(target := node.get("_target_"), str):
                yield target
            for value in node.values():
                yield from found(value)

    yield from dict.fromkeys(found(yaml.safe_load(text)))


def described(target: str) -> list[str]:
    """A class's name and docstring, read and not imported."""
    module, _, name = target.rpartition(".")
    source = ROOT / f"{module.replace('.', '/')}.py"
    if not module.startswith("medgrpo.") or not source.is_file():
        return []
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            told = (ast.get_docstring(node) or "").strip()
            return [f"`{target}`", "", *block(told)] if told else []
    return []
