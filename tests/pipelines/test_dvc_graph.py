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

from insituml_pipelines.common.cli import CONF, reads_only
from insituml_pipelines.common.versions import LIBRARIES
from insituml_pipelines.data.kind import Kind
from insituml_pipelines.experiments.writing import MARK

ROOT = Path(__file__).parents[2]
GRAPH = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES: dict[str, dict[str, Any]] = GRAPH["stages"]
PIPELINE = yaml.safe_load((CONF / "pipeline.yaml").read_text())
EXPERIMENTS = sorted(
    file.stem
    for file in (CONF / "experiment").glob("*.yaml")
    if MARK not in file.read_text().splitlines()[:2]
)
UNTRACKED = {
    "tracking",  # where runs are recorded changes no result
    "part",  # `dvc repro` does not choose it
}
PRODUCE = ("generate", "stream")
CONFIGURED = [stage for stage in STAGES if stage != "versions"]  # which reads no configuration

NO_MATTER = {
    # module: why a change of it makes no stage run again
    "insituml": "loads the names asked for",
    "insituml.lazy_names": "loads the names asked for",
    "insituml.in_transit": "loads the names asked for",
    "insituml.stream": "loads the names asked for",
    "insituml.atomic_file": "brings bytes to the disk, whatever they are",
    "insituml.locations": "brings bytes from an address, or an error",
    "insituml.safe_reading": "brings bytes from the disk, or an error",
    "insituml_pipelines": "ends a command that a signal reaches while it loads",
    "insituml.version": "a new version number alone is no new result",
    "insituml_pipelines.tracking": "results on disk do not depend on it",
}
KIND_METHODS = frozenset(Kind.__abstractmethods__)
ASKED: dict[str, frozenset[str]] = {
    "generate": frozenset({"save"}),
    "split": frozenset({"open", "windows"}),
    "train": frozenset(),
    "evaluate": frozenset({"shown", "picture"}),
    "plot": frozenset({"draw"}),
    "report": frozenset({"draw"}),
}
"""What a stage asks of a kind of data; the others ask for everything."""
NOT_RUN = {
    # a stage's module and one that it imports: when it does so
    (
        "insituml_pipelines.train",
        "insituml_pipelines.evaluate",
    ): "in a sweep, and DVC runs no sweep",
    (
        "insituml_pipelines.common.jobs",
        "insituml_pipelines.sweeps.results",
    ): "after a sweep",
    (
        "insituml_pipelines.report",
        "insituml_pipelines.reporting.sweep_folder",
    ): "DVC runs no sweep",
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
    """Return the configuration groups among files of parameters."""
    parts = [Path(file).parts for file in files]
    return {p[1] for p in parts if p[0] == "conf" and len(p) == 3 and p[1] != "experiment"}


@pytest.mark.parametrize("stage", CONFIGURED)
def test_each_section_a_stage_reads_is_tracked_and_no_other(stage: str) -> None:
    sections = set(importlib.import_module(f"insituml_pipelines.{stage}").SECTIONS) - UNTRACKED
    files = tracked(stage)
    groups = groups_of(files) | {"method" for dep in STAGES[stage]["deps"] if dep == "conf/method"}
    assert groups == sections - {"pipeline"}
    experiment = files.get(f"conf/experiment/{PIPELINE['experiment']}.yaml") or []
    # What an experiment never sets (test_conf says so) need not be looked for there.
    assert set(experiment) - {"name"} == sections - {"pipeline", "method", "transit"}
    assert ("conf/pipeline.yaml" in files) == ("pipeline" in sections)
    assert "conf/config.yaml" in STAGES[stage]["deps"]


@pytest.mark.parametrize("stage", CONFIGURED)
def test_each_stage_depends_on_the_versions_of_libraries(stage: str) -> None:
    groups = tracked(stage)["data/versions.json"] or []
    assert "computing" in groups
    assert set(groups) <= LIBRARIES.keys()
    assert ("data" in groups) == ("insituml/stream/source.py" in deps_of(stage) or stage in PRODUCE)
    assert ("figures" in groups) == ("insituml/plots" in deps_of(stage))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_tracked_files_and_keys_exist(stage: str, experiment: str) -> None:
    for file, keys in tracked(stage, **chosen_by(experiment)).items():
        if file == "data/versions.json":  # made by the first stage
            continue
        content = yaml.safe_load((ROOT / file).read_text())
        assert set(keys or ()) <= set(content), file


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_section_refers_to_is_tracked_too(stage: str, experiment: str) -> None:
    files = tracked(stage, **chosen_by(experiment))
    groups = groups_of(files)
    for file in files:
        own = file.startswith("conf/") and "/experiment/" not in file
        text = (ROOT / file).read_text() if own else ""
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
    from insituml_pipelines.split import split

    split(data.model_copy(update=untracked), tmp_path / "data/raw", stream.folder)
    assert tools.contents(stream.folder) == before


def test_generate_tracks_the_whole_description_of_the_data() -> None:
    """Its source refers to values that stand beside it, in some files alone."""
    files = tracked("generate", data="pic", experiment="pic")
    assert files["conf/data/pic.yaml"] is None
    text = (CONF / "data/pic.yaml").read_text()
    assert {"path", "component", "iterations"} == set(re.findall(r"\$\{data\.(\w+)\}", text))


def test_plot_and_stream_track_the_keys_of_pipeline_yaml_that_they_read() -> None:
    assert tracked("plot")["conf/pipeline.yaml"] == ["methods"]
    source = (ROOT / "insituml_pipelines/plot.py").read_text()
    assert set(re.findall(r'section\("pipeline"\)(\S*\])', source)) == {'["methods"]'}
    assert tracked("stream")["conf/pipeline.yaml"] == ["transit_methods"]
    # A backslash keeps DVC's hands off: Hydra fills in the list, in the stage.
    command = STAGES["stream"]["cmd"]
    assert re.findall(r"pipeline\.\w+", command) == ["pipeline.transit_methods"]
    assert r"'transit.methods=\${pipeline.transit_methods}'" in command


def test_hydra_fills_in_the_methods_that_learn_from_a_stream(tools, tmp_path) -> None:
    sections = ["transit", "pipeline"]
    call = tools.invoke(tmp_path, sections, "transit.methods=${pipeline.transit_methods}")
    assert call.section("transit")["methods"] == PIPELINE["transit_methods"]


def test_a_stage_cannot_read_what_it_does_not_declare() -> None:
    config = OmegaConf.create({"name": "x", "stream": {}, "data": {"a": 1}, "model": {"b": 2}})
    cut = reads_only(config, ["data"])
    assert cut.data.a == 1
    assert set(cut) == {"name", "stream", "data"}


@pytest.mark.parametrize("stage", CONFIGURED)
def test_commands_pass_on_every_choice(stage: str) -> None:
    command = STAGES[stage]["cmd"].split()
    assert command[:3] == ["python", "-m", f"insituml_pipelines.{stage}"]
    choices = set(command[3:])
    assert "experiment=${experiment}" in choices
    assert "data=${data}" in choices  # what every stage checks, or works on
    fixed = {"training", "transit"} | ({"method"} if stage == "stream" else set())
    for group in groups_of(tracked(stage)) - fixed:
        value = "${item.method}" if group == "method" else f"${{{group}}}"
        assert f"{group}={value}" in choices
    if "matrix" in STAGES[stage]:
        assert STAGES[stage]["matrix"] == {"method": "${methods}"}
        assert "method=${item.method}" in choices


def test_stages_follow_from_each_other() -> None:
    made: set[str] = set()
    for name, stage in STAGES.items():
        assert name == "versions" or "data/versions.json" in made
        for dep in stage.get("deps", []):
            path = fill(dep)
            inside = any(path == out or path.startswith(f"{out}/") for out in made)
            # A folder that stages fill one method at a time, or a file of the repository.
            assert (
                inside or any(out.startswith(f"{path}/") for out in made) or (ROOT / path).exists()
            )
        outputs = [*stage["outs"], *(key for entry in stage.get("metrics", []) for key in entry)]
        for method in PIPELINE["methods"]:
            made |= {fill(out, method) for out in outputs}


def test_plots_are_outputs() -> None:
    outputs = {*STAGES["plot"]["outs"]}
    for plot in GRAPH["plots"]:
        name, content = (plot, {}) if isinstance(plot, str) else next(iter(plot.items()))
        files = set(content["y"]) if isinstance(content.get("y"), dict) else {name}
        assert all(f in outputs or Path(f).parent.as_posix() in outputs for f in files)


# The code each stage runs


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


@cache
def lazy_names(package: str) -> dict[str, str]:
    """Return which module each name comes from that a package loads when it is first used."""
    return dict(getattr(importlib.import_module(package), "_MODULES", {}))


def for_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node: ast.AST, without: frozenset[str] = frozenset()) -> list[ast.AST]:
    """Return a node and all below it, but functions of these names."""
    found = [node]
    for child in ast.iter_child_nodes(node):
        left_out = isinstance(child, ast.FunctionDef) and child.name in without
        if not for_type_checking(child) and not left_out:
            found += walk(child, without)
    return found


@cache
def imports(module: str, stage: str = "") -> frozenset[str]:
    """Return the modules of ours that a module imports, inside functions too.

    Of a kind of data, only inside what the stage asks of it.
    """
    file = file_of(module)
    assert file is not None
    names: set[str] = set()
    without = KIND_METHODS - ASKED.get(stage, KIND_METHODS)
    of_a_kind = module.startswith("insituml_pipelines.data.")
    for node in walk(ast.parse(file.read_text()), without if of_a_kind else frozenset()):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "this test reads absolute imports"
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if base.startswith("insituml") and alias.name in lazy_names(base):
                    names.add(lazy_names(base)[alias.name])
                names.add(full if file_of(full) else base)
    ours = {name for name in names if name.split(".")[0] in ("insituml", "insituml_pipelines")}
    return frozenset(ours)


def built_by(stage: str) -> set[str]:
    """Return the modules of the targets in the configuration that a stage instantiates."""
    groups = {
        "generate": ["data"],
        "train": ["model", "method"],
        "evaluate": ["model"],
        "stream": ["data", "model", "method"],
    }.get(stage, [])
    found = set()
    for group in groups:
        for file in (CONF / group).glob("*.yaml"):
            found |= set(re.findall(r"_target_: (\S+)\.\w+", file.read_text()))
    if stage == "split":
        found |= {"insituml.data.openpmd.series", "insituml.data.npy_folder"}
    return found


def code_of(stage: str) -> set[str]:
    """Return all modules of ours that a stage runs."""
    waiting, seen = {f"insituml_pipelines.{stage}", *built_by(stage)}, set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        packages = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}
        # What a module that does not matter imports in turn does not matter either.
        found = (
            set() if no_matter(module) else {m for m in imports(module, stage) if runs(module, m)}
        )
        waiting |= (packages | found) - seen
    return seen


def runs(module: str, imported: str) -> bool:
    return (module, imported) not in NOT_RUN


@cache
def no_matter(module: str) -> bool:
    aside = ("insituml_pipelines.tracking.", "insituml_pipelines.sweeps.")  # DVC runs no sweep
    if module in NO_MATTER or module.startswith(aside):
        return True
    file = file_of(module)
    assert file is not None
    empty = len(ast.parse(file.read_text()).body) <= 1  # a docstring at most
    return file.name == "__init__.py" and empty


def deps_of(stage: str) -> list[str]:
    return STAGES[stage].get("deps", [])


def covered(module: str, stage: str) -> bool:
    file = file_of(module)
    assert file is not None
    path = file.relative_to(ROOT).as_posix()
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps_of(stage))


@pytest.mark.parametrize("stage", CONFIGURED)
def test_code_that_a_stage_runs_is_a_dependency(stage: str) -> None:
    missing = {m for m in code_of(stage) if not covered(m, stage) and not no_matter(m)}
    assert missing == set()


def test_exceptions_are_needed_and_hold() -> None:
    everything = set().union(*map(code_of, STAGES))
    assert NO_MATTER.keys() <= everything
    for module, imported in NOT_RUN:
        assert imported in imports(module)
    for module in NO_MATTER:
        assert not all(covered(module, stage) for stage in STAGES)


@pytest.mark.parametrize("stage", ASKED)
def test_what_stages_ask_of_a_kind_of_data_is_known(stage: str) -> None:
    called: set[str] = set()
    for module in code_of(stage):
        if not module.startswith("insituml_pipelines.") or module.startswith(
            "insituml_pipelines.data."
        ):
            continue
        file = file_of(module)
        assert file is not None
        for node in walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                if owner.startswith(("KINDS[", "kind_of(")) or owner == "kind":
                    called.add(node.func.attr)
    assert called & KIND_METHODS == ASKED[stage]


def test_the_walk_finds_imports_in_functions_and_of_lazy_names() -> None:
    # from insituml import ...; in a function; of a lazy name
    assert "insituml.checkpoint" in imports("insituml_pipelines.runs.seeds")
    assert "insituml.data.openpmd" in imports("insituml_pipelines.data.field", "generate")
    assert "insituml.stream.source" in imports("insituml_pipelines.data.field", "split")
    assert "insituml.stream.source" not in imports("insituml_pipelines.data.field", "generate")
    assert "insituml_pipelines.tracking.opening" in imports("insituml_pipelines.plot")
    assert "insituml.learner" not in imports("insituml_pipelines.common.task_files")
    assert "insituml.data.lwfa" in code_of("generate")  # a target in conf/
    assert "insituml.gradients.importance" in code_of("train")
