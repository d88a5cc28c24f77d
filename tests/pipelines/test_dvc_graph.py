"""dvc.yaml names everything that a stage's results depend on, and nothing that is not there."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from pipelines.common.cli import CONF, reads_only

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = GRAPH["stages"]
PIPELINE = yaml.safe_load((CONF / "pipeline.yaml").read_text())
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))
UNTRACKED = {"tracking"}  # where runs are recorded changes no result

EXEMPT = {
    # module: why a change of it makes no stage run again
    "insituml": "loads the names asked for",
    "insituml.data": "loads the name asked for",
    "insituml.version": "a new version number alone is no new result",
    "insituml.atomic_file": "brings bytes to the disk, whatever they are",
    "pipelines": "empty",
    "pipelines.common.cli": "hands the configuration over, or ends with an error",
    "pipelines.common.errors": "an exception",
    "pipelines.common.schema": "lets the configuration pass unchanged, or ends with an error",
    "pipelines.tracking.mlflow": "results on disk do not depend on it",
}
EXEMPT_FOR = {
    "train": {
        "pipelines.runs.pool": "weights are the same however runs share processes (tested)",
        "pipelines.common.task_files": "a new layout changes data/tasks, which is tracked",
    },
    "evaluate": {
        "pipelines.common.task_files": "a new layout changes data/tasks, which is tracked",
        # Checkpoints hold a digest of the library, so that training again changes runs/.
        "insituml.data.task": "tracked by train",
        "insituml.checkpoint": "tracked by train",
        "insituml.learner": "tracked by train",
        "insituml.verified_file": "tracked by train",
        "pipelines.runs.worker": "tracked by train; only names of files are taken from it",
    },
    "plot": {
        "pipelines.common.task_files": "a new layout changes data/tasks/stream.json",
    },
}


def fill(text: str, method: str = "naive", **chosen: str) -> str:
    values = {**PIPELINE, **chosen, "item.method": method}
    return re.sub(r"\$\{([\w.]+)\}", lambda match: str(values[match[1]]), text)


def chosen_by(experiment: str) -> dict[str, str]:
    content = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    entries = [next(iter(entry.items())) for entry in content["defaults"]]
    chosen = {group.removeprefix("override /"): name for group, name in entries}
    return {**chosen, "experiment": experiment, "source": f"conf/data/{chosen['data']}.yaml"}


def tracked(stage: str, **chosen: str) -> dict[str, list[str] | None]:
    """Return the keys tracked in each file of parameters; None: all of them."""
    found: dict[str, list[str] | None] = {}
    for entry in STAGES[stage].get("params", []):
        for file, keys in entry.items():
            found[fill(file, **chosen)] = keys
    return found


def groups_of(files: dict[str, Any]) -> set[str]:
    return {Path(f).parent.name for f in files if Path(f).parent.name not in ("conf", "experiment")}


@pytest.mark.parametrize("stage", STAGES)
def test_each_section_a_stage_reads_is_tracked_and_no_other(stage: str) -> None:
    sections = set(importlib.import_module(f"pipelines.{stage}").SECTIONS) - UNTRACKED
    files = tracked(stage)
    assert groups_of(files) == sections - {"pipeline"}
    experiment = files.get(f"conf/experiment/{PIPELINE['experiment']}.yaml") or []
    # What an experiment never sets (test_conf says so) need not be looked for there.
    assert set(experiment) - {"name"} == sections - {"pipeline", "method", "transit"}
    assert ("conf/pipeline.yaml" in files) == ("pipeline" in sections)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_tracked_files_and_keys_exist(stage: str, experiment: str) -> None:
    for file, keys in tracked(stage, **chosen_by(experiment)).items():
        content = yaml.safe_load((ROOT / file).read_text())
        assert set(keys or ()) <= set(content), file


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_section_refers_to_is_tracked_too(stage: str, experiment: str) -> None:
    files = tracked(stage, **chosen_by(experiment))
    groups = groups_of(files)
    for file in files:
        text = (ROOT / file).read_text() if "/experiment/" not in file else ""
        for reference in re.findall(r"\$\{(\w+)[.}]", text):
            # `stream` is what data/tasks holds.
            assert reference in groups | {"stream"}, f"{file} refers to {reference}"
        if "for_experiment:" in text:
            assert "name" in (files[f"conf/experiment/{experiment}.yaml"] or ())


def test_no_experiment_sets_how_to_learn_from_streams() -> None:
    for experiment in EXPERIMENTS:
        assert "transit" not in yaml.safe_load((CONF / f"experiment/{experiment}.yaml").read_text())


def test_a_section_tracked_in_part_is_read_in_that_part_only(tools, tmp_path) -> None:
    """Split tracks name, kind and split of the data; all else reaches it through data/raw."""
    (keys,) = (keys for file, keys in tracked("split").items() if file.startswith("conf/data/"))
    assert keys == ["name", "kind", "split"]
    tools.write_fields(tmp_path / "fields")
    data = tools.field_data(tmp_path / "fields")
    stream = tools.make_stream(data, tmp_path)
    before = tools.contents(stream.folder)
    untracked = {"source": {"_target_": "no.such"}, "path": "nowhere", "component": "Q"}
    from pipelines.split import split

    split(data.model_copy(update=untracked), tmp_path / "data/raw", stream.folder)
    assert tools.contents(stream.folder) == before


def test_generate_tracks_the_whole_description_of_the_data() -> None:
    """Its source refers to path and component, which stand beside it, in some files alone."""
    files = tracked("generate", data="pic", experiment="pic")
    assert files["conf/data/pic.yaml"] is None
    text = (CONF / "data/pic.yaml").read_text()
    assert {"path", "component"} == set(re.findall(r"\$\{data\.(\w+)\}", text))


def test_plot_tracks_the_keys_of_pipeline_yaml_that_it_reads() -> None:
    assert tracked("plot")["conf/pipeline.yaml"] == ["methods"]
    source = (ROOT / "pipelines/plot.py").read_text()
    assert set(re.findall(r'section\("pipeline"\)(\S*)', source)) == {'["methods"]'}


def test_a_stage_cannot_read_what_it_does_not_declare() -> None:
    config = OmegaConf.create({"name": "x", "stream": {}, "data": {"a": 1}, "model": {"b": 2}})
    cut = reads_only(config, ["data"])
    assert cut.data.a == 1
    assert set(cut) == {"name", "stream", "data"}


@pytest.mark.parametrize("stage", STAGES)
def test_commands_pass_on_every_choice(stage: str) -> None:
    command = STAGES[stage]["cmd"].split()
    assert command[:3] == ["python", "-m", f"pipelines.{stage}"]
    choices = set(command[3:])
    assert "experiment=${experiment}" in choices
    fixed = {"training", "transit"} | ({"method"} if stage == "stream" else set())
    for group in groups_of(tracked(stage)) - fixed:
        value = "${item.method}" if group == "method" else f"${{{group}}}"
        assert f"{group}={value}" in choices
    if "matrix" in STAGES[stage]:
        assert STAGES[stage]["matrix"] == {"method": "${methods}"}
        assert "method=${item.method}" in choices


def test_stages_follow_from_each_other() -> None:
    made: set[str] = set()
    for stage in STAGES.values():
        for dep in stage["deps"]:
            path = fill(dep)
            inside = any(path == out or path.startswith(f"{out}/") for out in made)
            # A folder that stages fill one method at a time, or a file of the repository.
            assert (
                inside or any(out.startswith(f"{path}/") for out in made) or (ROOT / path).exists()
            )
        outputs = [*stage["outs"], *(key for entry in stage.get("metrics", []) for key in entry)]
        for method in PIPELINE["methods"]:
            made |= {fill(out, method) for out in outputs}


# The code each stage runs


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


@cache
def lazy_names() -> dict[str, str]:
    """Return which module each name of ``import insituml`` comes from."""
    import insituml

    return dict(insituml._MODULES)


def for_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node: ast.AST) -> list[ast.AST]:
    found = [node]
    for child in ast.iter_child_nodes(node):
        if not for_type_checking(child):
            found += walk(child)
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules of ours that a module imports, inside functions too."""
    file = file_of(module)
    assert file is not None
    names: set[str] = set()
    for node in walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "this test reads absolute imports"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if base == "insituml" and alias.name in lazy_names():
                    names.add(lazy_names()[alias.name])
                names.add(full if file_of(full) else base)
    ours = {name for name in names if name.split(".")[0] in ("insituml", "pipelines")}
    return frozenset(ours)


def built_by(stage: str) -> set[str]:
    """Return the modules of the targets in the configuration that a stage instantiates."""
    groups = {
        "generate": ["data"],
        "train": ["model", "method"],
        "stream": ["data", "model", "method"],
    }.get(stage, [])
    found = set()
    for group in groups:
        for file in (CONF / group).glob("*.yaml"):
            text = file.read_text()
            if stage == "stream" and group == "data" and "kind: field" not in text:
                continue  # refused: a stream is of fields
            found |= set(re.findall(r"_target_: (\S+)\.\w+", text))
    if stage == "split":
        found |= {"insituml.data.openpmd.series", "insituml.data.npy_folder"}
    return found


def code_of(stage: str) -> set[str]:
    """Return all modules of ours that a stage runs."""
    waiting, seen = {f"pipelines.{stage}", *built_by(stage)}, set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        packages = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}
        # What an exempt module imports in turn does not matter either.
        waiting |= packages - seen
        if not exempt(module, stage):
            waiting |= imports(module) - seen
    if stage == "train":  # only a sweep's job evaluates within train, and DVC runs no sweep
        seen -= {"pipelines.evaluate", "pipelines.results.examples", "pipelines.results.plane"}
        seen -= {"insituml.evaluation"}
        seen -= {"insituml.metrics", "insituml.data.chunks", "insituml.data.normalisation"}
    return seen


def covered(module: str, stage: str) -> bool:
    file = file_of(module)
    assert file is not None
    path = file.relative_to(ROOT).as_posix()
    return any(path == dep or path.startswith(f"{dep}/") for dep in STAGES[stage]["deps"])


def exempt(module: str, stage: str) -> bool:
    return module in EXEMPT | EXEMPT_FOR.get(stage, {})


@pytest.mark.parametrize("stage", STAGES)
def test_code_that_a_stage_runs_is_a_dependency(stage: str) -> None:
    missing = {m for m in code_of(stage) if not covered(m, stage) and not exempt(m, stage)}
    assert missing == set()


def test_exemptions_are_needed_and_hold() -> None:
    for stage, names in EXEMPT_FOR.items():
        code = code_of(stage)
        for name, reason in names.items():
            assert name in code, (stage, name)
            assert not covered(name, stage), (stage, name)
            if reason.startswith("tracked by train"):
                assert covered(name, "train"), name
            if reason == "empty":
                assert len(ast.parse((file_of(name) or Path()).read_text()).body) == 1
    for stage in ("generate", "split"):
        assert covered("pipelines.common.task_files", stage)
    everything = set().union(*map(code_of, STAGES))
    assert set(EXEMPT) <= everything


def test_the_walk_finds_imports_in_functions_and_of_lazy_names() -> None:
    assert "insituml.checkpoint" in imports("pipelines.evaluate")  # from insituml import ...
    assert "insituml.data.openpmd.writer" in imports("pipelines.generate")  # within a function
    assert "pipelines.tracking.mlflow" in imports("pipelines.plot")
    assert "insituml.learner" not in imports("pipelines.common.task_files")
    assert "insituml.data.lwfa" in code_of("generate")  # a target in conf/
    assert "insituml.gradients.importance" in code_of("train")
