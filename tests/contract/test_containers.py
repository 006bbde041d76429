"""The containers without an engine: compose by its schema, Dockerfiles by a linter, and what they name is there."""

from __future__ import annotations

import fnmatch
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
DOCKER = REPO / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"bucket"}
"""Services that end when their work is done."""
OF_THE_IMAGE = {"pg_isready", "wget", "weed", "/bin/sh", "bash", "sh", "python"}
"""Programs that come with the images of others, or with the base image of ours."""
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
each_service = pytest.mark.parametrize("name", SERVICES)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest) of a Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in whole)]


def stages(path: Path) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions(path):
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def sent_to_the_builder(name: str) -> bool:
    """What .dockerignore lets through: the last pattern that fits decides."""
    answer = True
    for line in (REPO / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").rstrip("/")
        parents = [name, *(str(each) for each in Path(name).parents)]
        if any(fnmatch.fnmatch(each, pattern) for each in parents if each != "."):
            answer = line.startswith("!")
    return answer


def command_exists(program: str) -> bool:
    """A program of the images: one that the virtual environment has, that comes with an image, or that is copied in."""
    copied = {rest.split()[-1] for path in DOCKERFILES for word, rest in instructions(path) if word == "COPY"}
    return program in OF_THE_IMAGE | copied or Path(sys.executable).with_name(program).exists()


def test_there_is_one_for_each_role() -> None:
    assert [path.stem for path in DOCKERFILES] == ["edge", "mlflow", "pipeline"]


def test_compose_keeps_its_schema() -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, DOCKER / "compose.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_sees_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(yaml.safe_dump({**COMPOSE, "services": {"a": {"imagee": "b"}}}))
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec"]
    assert subprocess.run([*command, wrong], capture_output=True).returncode == 1


@each_dockerfile
def test_the_linter_has_nothing_to_say(path: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint has no build for this machine")
    done = subprocess.run([linter, "--no-color", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""


@each_dockerfile
def test_several_stages_and_no_root(path: Path) -> None:
    build, final = stages(path)
    assert [rest for word, rest in final if word == "USER"] == ["10001"]
    assert any(word == "COPY" and rest.startswith("--from=build ") for word, rest in final)
    assert not [rest for word, rest in final if word == "RUN" and ("pip install" in rest or " uv " in rest)]
    installs = [rest for word, rest in build if word == "RUN" and "uv pip install" in rest]
    assert all("requirements.lock" in rest for rest in installs), "versions are those of the lock"


@each_dockerfile
def test_what_is_copied_is_there_and_is_sent(path: Path) -> None:
    for word, rest in instructions(path):
        if word in {"COPY", "ADD"} and not rest.startswith("--from="):
            for source in rest.split()[:-1]:
                assert (REPO / source).exists(), source
                assert sent_to_the_builder(source), f".dockerignore holds {source} back"


@each_dockerfile
def test_what_is_installed_by_name_is_in_the_lock(path: Path) -> None:
    locked = {line.partition("==")[0].lower() for line in (REPO / "requirements.lock").read_text().splitlines()}
    for _, rest in (item for item in instructions(path) if item[0] == "RUN"):
        fixed = re.sub(r"\$\([^)]*\)", "", rest)
        for names in re.findall(r"uv pip install ((?:--\S+(?: \S+\.lock| cpu)? )*)([^&]+)", fixed):
            for name in names[1].replace("'", "").replace('"', "").split():
                if name[0].isalpha():
                    assert re.split(r"[\[=]", name)[0] in locked, name


@each_dockerfile
def test_its_command_exists(path: Path) -> None:
    for word, rest in stages(path)[-1]:
        if word in {"CMD", "ENTRYPOINT"}:
            program, *arguments = yaml.safe_load(rest)
            assert command_exists(program)
            if arguments[:1] == ["-m"]:
                assert (REPO / f"{arguments[1].replace('.', '/')}.py").is_file()


def test_the_bench_of_the_edge_has_all_it_imports(tmp_path: Path) -> None:
    """Laid out as the image is; every module it loads of ours comes from there, and no heavy one of others."""
    for word, rest in stages(DOCKER / "edge.Dockerfile")[-1]:
        if word == "COPY" and "/opt/nas/" in rest:
            *sources, to = rest.split()
            for source in sources:
                target = tmp_path / Path(to).relative_to("/opt/nas")
                if (REPO / source).is_dir():
                    shutil.copytree(REPO / source, target)
                else:
                    target.mkdir(parents=True, exist_ok=True)
                    shutil.copy(REPO / source, target)
    code = (
        "import sys, nas_pipeline.latency.bench\n"
        "ours = [m.__file__ for n, m in sys.modules.items() if n.startswith('nas_pipeline')]\n"
        f"assert all(file.startswith({str(tmp_path)!r}) for file in ours), ours\n"
        "assert not {'onnx', 'torch', 'mlflow', 'prefect', 'pandas', 'yaml'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@each_service
def test_each_service_is_watched_bounded_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory"} <= set(limits)
    if name not in ONCE:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert command_exists(service["healthcheck"]["test"][1])
    for needed, how in service.get("depends_on", {}).items():
        assert needed in SERVICES
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        assert (how["condition"] == "service_completed_successfully") == (needed in ONCE)


@each_service
def test_its_command_and_its_files_exist(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() in DOCKERFILES
    else:
        image = service["image"]
        assert ":" in image or any(other.get("build") and other["image"] == image for other in SERVICES.values())
    for words in (service.get("entrypoint"), service.get("command")):
        if isinstance(words, list) and service.get("entrypoint") != ["/bin/sh", "-c"]:
            assert command_exists(words[0]), words[0]
            copied = [word for word in words if word.startswith("/usr/local/bin/")]
            assert all((DOCKER / Path(word).name).is_file() for word in copied)
    for volume in service.get("volumes", []):
        source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).partition(":")[0]
        assert source in COMPOSE["volumes"] or (DOCKER / source).exists(), source


@each_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_the_secrets_are_those_that_are_made_and_none_has_a_default(tmp_path: Path) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    files = [tmp_path / name for name in (".env", "second.env")]
    for file in files:
        subprocess.run(["bash", DOCKER / "write_env.sh", file], check=True)
    made = [dict(line.split("=") for line in file.read_text().splitlines()) for file in files]
    assert set(made[0]) == asked
    assert len({*made[0].values(), *made[1].values()}) == 2 * len(asked), "each one is random"
    assert all(len(value) == 48 for value in made[0].values())
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    secret = re.findall(r"\$\{(\w*(?:PASSWORD|KEY|SECRET)\w*)(:?[^}?]*)\}", text)
    assert not [name for name, default in secret if default.strip(":")]
    written = yaml.safe_dump(COMPOSE)
    assert not re.search(r"(?i)(password|secret|access_?key\w*): (?!\$\{)['\"]?\w", written)


def test_secrets_that_are_there_already_stay(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD=mine\nWORKER_CPUS=2\n")
    subprocess.run(["bash", DOCKER / "write_env.sh", file], check=True)
    once = file.read_text()
    assert once.startswith("POSTGRES_PASSWORD=mine\nWORKER_CPUS=2\n")
    subprocess.run(["bash", DOCKER / "write_env.sh", file], check=True)
    assert file.read_text() == once


def test_git_does_not_take_the_secrets() -> None:
    assert subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=REPO).returncode == 0


def test_without_an_engine_make_up_says_what_is_missing(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    copy = tmp_path / "repo" / "docker"
    shutil.copytree(DOCKER, copy)
    done = subprocess.run(["bash", copy / "up.sh", "up"], env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
                          capture_output=True, text=True)
    assert done.returncode == 2
    assert "'docker compose' does not work" in done.stderr
    assert "make pipeline" in done.stderr
    assert not (tmp_path / "repo" / ".env").exists()


@pytest.mark.parametrize("script", sorted(DOCKER.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_shell(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
