"""Tests of what the benchmarks share."""

import json

from benchmarks.report import Row, concluded, options, print_columns, print_table, write_json


def test_goals_are_judged():
    assert Row.at_most("a", 1.0, 1.0).ok
    assert not Row.at_most("a", 1.1, 1.0).ok
    assert Row.at_least("a", 5.0, 5.0).ok
    assert not Row.at_least("a", 4.9, 5.0).ok
    assert Row.at_most("a", 1.0, 1.05).goal == "<= 1.05"


def test_a_missing_number_meets_no_goal():
    assert not Row.at_most("a", float("nan"), 1.0).ok
    assert not Row.at_least("a", float("nan"), 1.0).ok


def test_json_holds_every_row_and_only_valid_json(tmp_path):
    file = tmp_path / "rows.json"
    write_json([Row("a", 2.0, "<= 3", True), Row.at_most("b", float("nan"), 1)], file)
    assert json.loads(file.read_text()) == [
        {"name": "a", "value": 2.0, "goal": "<= 3", "ok": True},
        {"name": "b", "value": None, "goal": "<= 1", "ok": False},
    ]


def test_table_marks_what_is_missed(capsys):
    print_table([Row.at_most("good", 1.0, 2.0), Row.at_most("bad", 3.0, 2.0)])
    heading, good, bad = capsys.readouterr().out.splitlines()
    assert "value" in heading
    assert "missed" not in good
    assert "missed" in bad


def test_a_goal_that_is_missed_is_the_exit_code(tmp_path, capsys):
    good, bad, told = Row.at_most("good", 1.0, 2.0), Row.at_most("bad", 3.0, 2.0), Row("told", 5.0)
    file = tmp_path / "rows.json"
    assert concluded([good, told], None) == 0
    assert concluded([good, bad], file) == 1
    assert capsys.readouterr().out.count("missed") == 1
    assert [row["ok"] for row in json.loads(file.read_text())] == [True, False]


def test_columns_are_aligned(capsys):
    print_columns(("name", "x"), [("a", "1.0"), ("longer", "10.0")])
    assert capsys.readouterr().out.splitlines() == ["name       x", "a        1.0", "longer  10.0"]


def test_options_of_every_benchmark(tmp_path):
    args = options("text").parse_args(["--quick", "--json", str(tmp_path / "rows.json")])
    assert args.quick
    assert args.json == tmp_path / "rows.json"
