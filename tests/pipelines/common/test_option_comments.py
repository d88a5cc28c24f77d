"""Options are read with the comments that stand beside them in the configuration."""

from __future__ import annotations

import pytest
import yaml

from insituml_pipelines.common.composition import CONF
from insituml_pipelines.common.option_comments import Option, read_options

EXAMPLE = """\
# @package _global_
# What the file is for,
# on two lines.
defaults:
  - other: one
plain: 1 # behind it
long: "a # b" # behind it,
# and below

# Above it.
both: [1,
  2] # and behind it

# Above what has options.
section: # of its own
  inner: null
  deeper:
    last: ${for_experiment:{default:1,toy8:2}} # the end
bare: word
items:
  - one
  - two
"""


def test_each_comment_belongs_to_one_option(tmp_path) -> None:
    (tmp_path / "file.yaml").write_text(EXAMPLE)
    read = read_options(tmp_path / "file.yaml")
    assert read.description == "What the file is for, on two lines."
    assert read.options == (
        Option("plain", "1", "behind it"),
        Option("long", '"a # b"', "behind it, and below"),
        Option("both", "[1, 2]", "Above it.; and behind it"),
        Option("section", "", "Above what has options.; of its own"),
        Option("section.inner", "null", ""),
        Option("section.deeper", "", ""),
        Option("section.deeper.last", "${for_experiment:{default:1,toy8:2}}", "the end"),
        Option("bare", "word", ""),
        Option("items", "[one, two]", ""),
    )


def test_a_file_of_comments_alone_has_no_options(tmp_path) -> None:
    (tmp_path / "file.yaml").write_text("# Nothing\n# here.\n")
    read = read_options(tmp_path / "file.yaml")
    assert (read.description, read.options) == ("Nothing here.", ())


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_values_are_those_of_the_file_and_no_comment_is_lost(path) -> None:
    read = read_options(path)
    tree = yaml.safe_load(path.read_text()) or {}
    for option in read.options:
        value = _at(tree, option.key)
        # Within brackets, references are no YAML.
        if option.value and not ("{${" in option.value or " ${" in option.value):
            assert yaml.safe_load(option.value) == value, option.key
    said = " ".join([read.description, *(option.comment for option in read.options)])
    for line in path.read_text().splitlines():
        if line.lstrip().startswith("#") and "@package" not in line:
            assert line.strip(" #") in said


def _at(node: dict | list, key: str) -> object:
    """Return what lies at a path of keys, which may have dots of their own."""
    pairs = [(str(k), v) for k, v in (node.items() if isinstance(node, dict) else enumerate(node))]
    if key in dict(pairs):
        return dict(pairs)[key]
    own, value = next(
        (k, v) for k, v in pairs if key.startswith(f"{k}.") and isinstance(v, dict | list)
    )
    return _at(value, key.removeprefix(f"{own}."))


@pytest.mark.parametrize("mark", [">-", "|"])
@pytest.mark.parametrize("end", ["", "\n", "\n# Above it.\nlast: 1 # behind it\n"])
def test_a_text_of_many_lines_has_the_comment_beside_its_key(mark, end, tmp_path) -> None:
    text = f"first: 1\n# Above.\ntext: {mark} # beside it\n  some # words\n  # and more{end}"
    (tmp_path / "file.yaml").write_text(text)
    options = read_options(tmp_path / "file.yaml").options
    expected = [
        Option("first", "1", ""),
        Option("text", "some # words # and more", "Above.; beside it"),
    ]
    expected += [Option("last", "1", "Above it.; behind it")] if "last" in end else []
    assert list(options) == expected
