"""`insituml init`: a project of a user's own, and what a newer version would change there."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from insituml_pipelines import init, new_experiment
from insituml_pipelines.common import project_folder
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import check_composition
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import find_from_here
from insituml_pipelines.common.project_folder import MARK, configuration, project_of
from insituml_pipelines.project import upgrading
from insituml_pipelines.project.template import _without_scm, template

ROOT = Path(__file__).parents[2]


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bubble"
    init.main([str(folder)])
    monkeypatch.chdir(folder)
    return folder


def test_a_project_has_our_configuration_and_a_model_and_a_method_of_its_own(project) -> None:
    found = content(project)
    for part in ("conf", ".dvc/plots"):
        for path, text in content(ROOT / part).items():
            assert found.pop(f"{part}/{path}") == text
    own = {"my_model.py", "my_method.py", "conf/model/my_model.yaml", "conf/method/my_method.yaml"}
    own |= {"tests/test_own.py", "pytest.ini", "README.md"}
    dvc = {".dvc/config", ".dvc/.gitignore", ".dvcignore", "dvc.yaml"}
    assert found.keys() == own | dvc | {".gitignore", MARK}
    assert found["README.md"].startswith(b"# bubble\n")
    for kind in ("model", "method"):
        node = yaml.safe_load(found[f"conf/{kind}/my_{kind}.yaml"])
        assert node["_target_"] == f"my_{kind}.My{kind.title()}"


def test_results_are_ignored_but_what_says_how_they_came_about_is_not(project) -> None:
    ignored = (project / ".gitignore").read_text().splitlines()
    clone = (ROOT / ".gitignore").read_text().splitlines()
    assert [line for line in clone if line not in ignored and line[:1] != "#"] == [
        "/*.png",
        "/examples/*.png",
        "/dvc.lock",
    ]


@pytest.mark.parametrize(
    "there, said",
    [
        (["notes.txt"], "holds notes.txt; expected a new or empty folder"),
        (["a", "b", "c", "d"], "holds a, b, c, ...; expected"),
        ([".hidden"], "holds .hidden; expected"),
        ([MARK], "is a project already"),
        (None, "is a file; expected a new or empty folder"),
    ],
)
def test_nothing_is_written_where_anything_lies(there, said, tmp_path) -> None:
    folder = tmp_path / "mine"
    if there is None:
        folder.write_text("mine")
    else:
        folder.mkdir()
        for name in there:
            (folder / name).write_text("mine")
    before = content(tmp_path)
    with pytest.raises(UserError, match=said):
        init.main([str(folder)])
    assert content(tmp_path) == before


def test_an_empty_folder_will_do_and_one_with_a_repository_alone(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine/.git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    init.main(["."])
    assert (tmp_path / "mine/README.md").read_text().startswith("# mine\n")
    assert (tmp_path / "mine/.git").is_dir()


@pytest.mark.parametrize(
    "given, said",
    [
        ([], "init has no folder"),
        (["a", "b"], "unrecognized arguments: b"),
        (["--diff", "a"], "give no folder"),
        (["--diff", "--update"], "not allowed with"),
        (["--diff"], "is in no project"),
    ],
)
def test_what_cannot_be_asked_is_said(given, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        init.main(given)
    assert list(tmp_path.iterdir()) == []


# Whose configuration counts


def test_the_projects_own_configuration_counts_in_all_its_folders(project, monkeypatch) -> None:
    assert configuration() == project / "conf"
    (project / "notes/more").mkdir(parents=True)
    monkeypatch.chdir(project / "notes/more")
    assert configuration() == project / "conf"
    assert project_of(project.parent) is None


def test_elsewhere_that_of_the_clone_counts_or_the_bundled_one(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert configuration() == ROOT / "conf"
    bundled = tmp_path / "site-packages/insituml_pipelines/project/repository"
    bundled.mkdir(parents=True)
    monkeypatch.setattr(project_folder, "BUNDLED", bundled)
    assert configuration() == bundled / "conf"
    # Nobody's experiment belongs into an installed package.
    monkeypatch.setattr("insituml_pipelines.common.cli.CONF", bundled / "conf")
    with pytest.raises(UserError, match=r"is in no project.*insituml init FOLDER"):
        new_experiment.main(["mine", f"data.path={tmp_path}"])


@pytest.mark.parametrize("is_clone", [True, False])
def test_a_configuration_that_would_not_count_is_refused(is_clone, project, monkeypatch) -> None:
    (project / MARK).unlink()
    if is_clone:
        (project / "insituml_pipelines").mkdir()
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    fix = "own environment, or call python -m" if is_clone else "in it, insituml init --record"
    said = f"{project / 'conf'} lies here, but {ROOT / 'conf'} would count; .*{fix}"
    with pytest.raises(UserError, match=said):
        check_composition(Arguments([]))
    with pytest.raises(UserError, match=said):
        new_experiment.main(["mine", f"data.path={project}"])


def test_a_project_that_lost_its_mark_gets_it_back(project, monkeypatch, capsys) -> None:
    (project / MARK).unlink()
    with pytest.raises(UserError, match="is in no project"):
        init.main(["--diff"])
    init.main(["--record"])
    assert configuration() == project / "conf"
    (project / MARK).unlink()
    (project / "insituml_pipelines").mkdir()  # a clone is no project
    with pytest.raises(UserError, match="is in no project"):
        init.main(["--record"])


def test_nothing_is_written_into_a_clone_from_outside(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is in no project, whose conf/ this would be written into"):
        project_folder.check_own(ROOT / "conf")
    monkeypatch.chdir(ROOT / "docs")
    project_folder.check_own(ROOT / "conf")


def test_own_classes_are_found_from_below_the_project(project, monkeypatch) -> None:
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    monkeypatch.setattr(sys, "path", list(sys.path))
    find_from_here()
    assert sys.path[-2:] == [str(project / "below"), str(project)]


def test_a_project_has_no_baseline_whatever_the_clone_has() -> None:
    for text in ("[core]\n    no_scm = false\n    autostage = false\n", "[core]\n[cache]\n"):
        found = configparser.ConfigParser()
        found.read_string(_without_scm(text))
        assert found["core"]["no_scm"] == "true"


# What a newer version changes


@pytest.fixture
def newer(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A template that changed two files, added one and lost one; two the user has changed."""
    files = template("bubble")
    files["conf/method/ewc.yaml"] += b"new: 1\n"
    files["conf/pipeline.yaml"] = files["conf/pipeline.yaml"].replace(b"- naive", b"- agem")
    files["conf/method/newest.yaml"] = b"_target_: insituml.methods.Newest\n"
    del files["conf/data/cifar10.yaml"]
    monkeypatch.setattr(upgrading, "template", lambda name: files)
    monkeypatch.setattr(upgrading, "__version__", "9.9.9")
    for path in ("conf/pipeline.yaml", "my_model.py"):
        (project / path).write_text((project / path).read_text() + "# mine\n")
    return files


def test_the_difference_is_what_changed_in_insituml(project, newer, capsys) -> None:
    capsys.readouterr()
    init.main(["--diff"])
    said = capsys.readouterr()
    assert "# conf/method/ewc.yaml: changed in the template\n" in said.out
    assert "+new: 1\n" in said.out
    assert (
        "# conf/method/newest.yaml: new\n--- /dev/null\n+++ b/conf/method/newest.yaml" in said.out
    )
    assert "# conf/data/cifar10.yaml: gone from the template\n" in said.out
    assert "# conf/pipeline.yaml: changed in the template and by you" in said.out
    assert "my_model.py" not in said.out
    assert "4 files differ by what changed in insituml from 0.1.0 to 9.9.9" in said.err
    assert "yours alone: my_model.py\n" in said.err


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_difference_is_one_that_can_be_applied(project, newer, capsys) -> None:
    capsys.readouterr()
    init.main(["--diff"])
    patch = capsys.readouterr().out
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=project, check=True)
    assert not (project / "conf/data/cifar10.yaml").exists()
    ours = {path: text for path, text in content(project).items() if path != MARK}
    assert ours == newer | {"my_model.py": newer["my_model.py"] + b"# mine\n"}


def test_an_update_takes_what_the_user_did_not_change(project, newer, capsys) -> None:
    before = content(project)
    init.main(["--update"])
    after = content(project)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {"conf/method/ewc.yaml", "conf/method/newest.yaml", MARK}
    assert after["conf/method/ewc.yaml"] == newer["conf/method/ewc.yaml"]
    assert before.keys() <= after.keys()  # what is gone from the template stays
    capsys.readouterr()
    init.main(["--diff"])
    said = capsys.readouterr()
    assert "conf/pipeline.yaml" in said.out  # still to be merged
    assert "ewc.yaml" not in said.out
    init.main(["--record"])
    capsys.readouterr()
    init.main(["--diff"])
    assert capsys.readouterr().out == ""


def test_where_nothing_changed_nothing_is_shown(project, capsys) -> None:
    capsys.readouterr()
    init.main(["--diff"])
    said = capsys.readouterr()
    assert said.out == ""
    assert "0 files differ" in said.err


@pytest.mark.parametrize("damage", ["", "{}", "[]"])
def test_a_damaged_record_is_named_and_can_be_written_anew(damage, project, capsys) -> None:
    (project / MARK).write_text(damage)
    with pytest.raises(UserError, match=r"is no record of a template.*init --record"):
        init.main(["--diff"])
    init.main(["--record"])
    init.main(["--diff"])
    assert "0 files differ" in capsys.readouterr().err


def test_selecting_and_writing_experiments_change_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, tools: Any
) -> None:
    from insituml_pipelines.common import cli

    tools.write_fields(project / "fields", 9)
    monkeypatch.setattr(cli, "CONF", configuration())
    new_experiment.main(["mine", "data.path=fields"])
    assert (project / "conf/experiment/mine.yaml").exists()
    assert not (ROOT / "conf/experiment/mine.yaml").exists()
