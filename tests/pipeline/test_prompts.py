"""Files of prompts as people write them: every good line an item, every bad one a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from pointe_blender.pipeline import InvalidRequest
from pointe_blender.shell import items, prompts
from pointe_blender.shell.items import Item
from pointe_blender.shell.outputs import Style

NOTHING = Item()


def read(
    folder: Path, name: str, content: str | bytes, rest: Item = NOTHING
) -> tuple[list[Item], list[prompts.BadLine]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return prompts.read(path, rest, Style())


def test_text_has_a_prompt_in_each_line(tmp_path: Path) -> None:
    found, bad = read(tmp_path, "p.txt", "# chairs\n\na red chair\n   a blue mug  \nein grüner Stuhl, groß\n")
    assert not bad
    assert [(item.line, item.prompt, item.name) for item in found] == [
        (3, "a red chair", "a-red-chair"),
        (4, "a blue mug", "a-blue-mug"),
        (5, "ein grüner Stuhl, groß", "ein-grüner-stuhl-gross"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"a red chair\na blue mug",
        b"a red chair\r\na blue mug\r\n",
        b"a red chair\ra blue mug\r",
        b"\xef\xbb\xbfa red chair\r\na blue mug\r\n",
        "a red chair\r\na blue mug\r\n".encode("utf-16"),
    ],
    ids=["no last line end", "Windows", "old Mac", "a byte order mark", "PowerShell's UTF-16"],
)
def test_line_ends_and_marks_make_no_difference(tmp_path: Path, content: bytes) -> None:
    found, bad = read(tmp_path, "p.txt", content)
    assert [item.prompt for item in found] == ["a red chair", "a blue mug"] and not bad


def test_other_line_separators_of_unicode_separate_nothing(tmp_path: Path) -> None:
    found, bad = read(tmp_path, "p.txt", "a red\u2028chair\na \x1c mug\n")
    assert [item.prompt for item in found] == ["a red\u2028chair"]
    assert [(line, "control characters" in reason) for line, reason in bad] == [(2, True)]


TABLE = """Prompt, seed,count,models,format,name,steps,guidance,resolution,points,quality
"a ""big"", red chair",3,2,official-text,"glb,ply",hero,8,2.5,32,8192,High
a blue mug,,,,,,,,,,
"a lamp
with a shade",1.0
"""


def test_csv_says_everything_of_an_item(tmp_path: Path) -> None:
    found, bad = read(tmp_path, "p.csv", "\ufeff" + TABLE.replace("\n", "\r\n"), Item(seed=5, count=4))
    assert found[0] == Item(
        line=2,
        name="hero",
        formats=(".glb", ".ply"),
        prompt='a "big", red chair',
        models="official-text",
        seed=3,
        count=2,
        quality="high",
        steps=8,
        guidance=2.5,
        resolution=32,
        points=8192,
    )
    assert found[1] == Item(line=3, name="a-blue-mug", prompt="a blue mug", seed=5, count=4)
    assert [(line, "control characters" in reason) for line, reason in bad] == [(4, True)]


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_spreadsheets_separate_as_they_like(tmp_path: Path, separator: str) -> None:
    table = f"prompt{separator}seed\na red chair{separator}3\n"
    assert read(tmp_path, "p.csv", table)[0][0].name == "a-red-chair-seed3"


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    first, second = (
        '{"prompt": "a mug", "seed": 3, "format": ["glb", "obj"]}',
        '{"prompt": "椅子", "guidance": 2}',
    )
    found, bad = read(tmp_path, "p.jsonl", f"{first}\n\n{second}\n")
    assert not bad
    assert (found[0].formats, found[0].seed) == ((".glb", ".obj"), 3)
    assert (found[1].line, found[1].name, found[1].guidance) == (3, "椅子", 2.0)


def test_pictures_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / "Red Chair.png")
    found, bad = read(tmp_path, "p.csv", "image\npictures/Red Chair.png\nmissing.png\n")
    assert found[0].image == tmp_path / "pictures" / "Red Chair.png" and found[0].name == "red-chair"
    assert bad[0].line == 3 and "missing.png" in bad[0].reason


BAD = {
    "a word for a number": ('{"prompt": "a mug", "seed": "three"}', "'three'"),
    "a broken number": ('{"prompt": "a mug", "count": 1.5}', "whole number"),
    "true for a number": ('{"prompt": "a mug", "steps": true}', "steps"),
    "a number that is none": ('{"prompt": "a mug", "guidance": NaN}', "guidance"),
    "an endless number": ('{"prompt": "a mug", "seed": Infinity}', "whole number"),
    "a number for text": ('{"prompt": 7}', "quotes"),
    "a seed out of range": ('{"prompt": "a mug", "seed": -1}', "seed"),
    "too many variants": ('{"prompt": "a mug", "count": 65}', "variants"),
    "an unknown format": ('{"prompt": "a mug", "format": "stl"}', "'stl'"),
    "a format of Blender's": ('{"prompt": "a mug", "format": "usd"}', "blender --command pointe"),
    "an unknown quality": ('{"prompt": "a mug", "quality": "best"}', "fast, high, exact"),
    "a number for a quality": ('{"prompt": "a mug", "quality": 3}', "quotes"),
    "an unknown model set": ('{"prompt": "a mug", "models": "best"}', "'best'"),
    "a model set for pictures": ('{"prompt": "a mug", "models": "official-40M"}', "does not take a prompt"),
    "an unknown setting": ('{"prompt": "a mug", "sed": 1}', "'sed'"),
    "nothing to make": ('{"seed": 1}', "neither a prompt nor"),
    "two things to make": ('{"prompt": "a mug", "image": "chair.png"}', "both a prompt and"),
    "an empty prompt": ('{"prompt": "  "}', "empty"),
    "no object": ('["a mug"]', "no JSON object"),
    "half an object": ('{"prompt": "a mug"', "no JSON"),
    "much too deep": ("[" * 100_000, "no JSON"),
    "another folder": ('{"prompt": "a mug", "name": "../mug"}', "'../mug'"),
    "another folder of Windows": (r'{"prompt": "a mug", "name": "..\\mug"}', "mug"),
    "a full path": ('{"prompt": "a mug", "name": "/etc/mug"}', "/etc/mug"),
    "a hidden name": ('{"prompt": "a mug", "name": ".mug"}', "'.mug'"),
    "a device of Windows": ('{"prompt": "a mug", "name": "nul.x"}', "'nul.x'"),
    "an endless name": (f'{{"prompt": "a mug", "name": "{"x" * 300}"}}', "too long"),
}


@pytest.mark.parametrize(("line", "hint"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_fails_alone(tmp_path: Path, line: str, hint: str) -> None:
    found, bad = read(tmp_path, "p.jsonl", f'{{"prompt": "a red chair"}}\n{line}\n{{"prompt": "a lamp"}}\n')
    assert [item.prompt for item in found] == ["a red chair", "a lamp"]
    assert [where for where, _ in bad] == [2]
    assert hint in bad[0].reason and bad[0].reason.endswith(".") and ": " in bad[0].reason


def test_quotes_that_do_not_match_fail_alone(tmp_path: Path) -> None:
    found, bad = read(tmp_path, "p.csv", 'prompt\n"a red" chair\na lamp\na mug,7\n"a table\n')
    assert [item.prompt for item in found] == ["a lamp"]
    assert [line for line, _ in bad] == [2, 4, 5]


WRONG = {
    "a missing file": ("missing.txt", None, "missing.txt"),
    "another kind of file": ("p.xlsx", "x", "neither .txt nor .csv nor .jsonl"),
    "nothing": ("p.txt", "", "nothing to make"),
    "only comments": ("p.txt", "# a\n\n", "nothing to make"),
    "only column names": ("p.csv", "prompt,seed\n", "nothing to make"),
    "no column names": ("p.csv", "a red chair\na mug\n", "no column prompt or image"),
    "an unknown column": ("p.csv", "prompt,sed\na mug,1\n", "'sed'"),
    "a column twice": ("p.csv", "prompt,seed,seed\na mug,1,2\n", "twice"),
    "Latin-1": ("p.txt", "a mug\nein Stühlchen\n".encode("latin-1"), "line 2"),
}


@pytest.mark.parametrize(("name", "content", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_file_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, content: str | bytes | None, hint: str
) -> None:
    with pytest.raises(InvalidRequest, match=hint):
        read(tmp_path, name, content) if content is not None else prompts.read(
            tmp_path / name, Item(), Style()
        )


def test_files_never_share_a_name(tmp_path: Path) -> None:
    lines = ["a red chair", "A Red Chair!", "a mug"]
    found, bad = read(tmp_path, "p.txt", "\n".join(lines))
    assert [item.line for item in found] == [1, 3] and bad[0].line == 2 and "line 1" in bad[0].reason
    # As macOS and Windows compare them, and numbered variants with names that look like one.
    table = "prompt,name,count\na mug,Mug,\na cup,mug,\na lamp,lamp,2\na light,LAMP-2,\n"
    found, bad = read(tmp_path, "p.csv", table)
    assert [item.line for item in found] == [2, 4] and [line for line, _ in bad] == [3, 5]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red chair!", "a-red-chair"),
        ("  --a/b\\c--  ", "a-b-c"),
        ("../../etc/passwd", "etc-passwd"),
        ("красный стул", "красный-стул"),
        ("???", "8e5f3aaf"),
        ("con", "con-40cf5dd1"),
    ],
)
def test_prompts_become_file_names(prompt: str, name: str) -> None:
    slug = items.slug(prompt)
    items.check_name(slug)
    assert slug.split("-")[:-1] == name.split("-")[:-1] and len(slug) == len(name)


def test_long_prompts_get_names_of_their_own() -> None:
    slugs = {items.slug("a chair " * 100 + end) for end in ("red", "blue")}
    assert len(slugs) == 2 and all(len(slug.encode()) <= items.LONGEST for slug in slugs)
    assert len(items.slug("椅" * 500).encode()) <= items.LONGEST
