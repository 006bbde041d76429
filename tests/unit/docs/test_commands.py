"""Every command, file, parameter and link that the pages name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from nas_pipeline.cli.app import app
from nas_pipeline.config.params import compose, overlay, parse_params, read_yaml

ROOT = Path(__file__).resolve().parents[3]
PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
         for page in (ROOT / "README.md", ROOT / "mlflow" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
CODE = {name: "\n".join(re.findall(r"`[^`\n]+`|^ {4}\S.*$", text, re.MULTILINE)) for name, text in PAGES.items()}

EXAMPLES = {"key.path=value", "..."}


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", CODE[page])) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_nas_commands_and_their_options_exist(page: str) -> None:
    for name, rest in re.findall(r"(?:`|[ /])nas ([a-z]+(?:-[a-z]+)*)([^`\n#]*)", CODE[page]):
        commands = typer.main.get_group(app).commands
        assert name in commands, name
        if isinstance(commands[name], typer.core.TyperGroup) and (words := rest.split()):  # `nas fleet publish ...`
            commands, name = commands[name].commands, words[0]
            assert name in commands, name
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\w)--[a-z-]+", rest)) <= options, rest


@pytest.mark.parametrize("page", PAGES)
def test_overrides_are_taken(page: str) -> None:
    for command in CODE[page].splitlines():
        quoted = re.findall(r"--set '([^'\n]+)'", command)
        plain = re.findall(r"--set ([a-z_.]+=[^\s`']+)", command)
        of_make = " ".join(re.findall(r'SET="([^"]+)"', command)).split()
        compose(ROOT, "default", tuple(each for each in (*quoted, *plain, *of_make) if each not in EXAMPLES))


@pytest.mark.parametrize("page", PAGES)
def test_profiles_exist(page: str) -> None:
    for profile in re.findall(r"PROFILE=([a-z-]+)|--profile ([a-z-]+)", CODE[page]):
        assert (ROOT / "profiles" / f"{''.join(profile)}.yaml").is_file(), profile


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_repository_exist(page: str) -> None:
    named = re.findall(r"`((?:nas_pipeline|tests|flows|benchmarks|docker|profiles)/[\w/.-]+)`", PAGES[page])
    examples = {"nas_pipeline/space/NAME.py", "nas_pipeline/search/strategies/NAME.py",
                "nas_pipeline/data/sources/NAME.py", "nas_pipeline/latency/probes/NAME.py",
                "nas_pipeline/search/evaluators/NAME.py"}
    assert not [name for name in named if name not in examples and not (ROOT / name).exists()]


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_profiles_are_valid(profile: Path) -> None:
    parse_params(overlay(read_yaml(ROOT / "params.yaml"), yaml.safe_load(profile.read_text())), profile.stem)


def test_the_commands_of_the_readme_are_all_there_are() -> None:
    listed = set(re.findall(r"^\| `nas ([a-z]+(?:-[a-z]+)*)", PAGES["README.md"], re.MULTILINE))
    assert listed == set(typer.main.get_group(app).commands)
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^\| `make ([a-z-]+)", PAGES["README.md"], re.MULTILINE)) == targets - {"help"}
