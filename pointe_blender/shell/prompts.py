"""A file of prompts to items: plain text, CSV or JSON lines, as text editors and spreadsheets write them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..pipeline.errors import InvalidRequest
from . import items, outputs
from .items import Item
from .outputs import Style

FIELDS = (
    *("prompt", "image", "name", "format", "models", "seed", "count", "quality"),
    *("steps", "guidance", "resolution", "points"),
)
WHOLE = ("seed", "count", "steps", "resolution", "points")  # the others are texts, guidance any number
Row = dict[str, Any]


class BadLine(NamedTuple):
    """A line that cannot be made, and why."""

    line: int
    reason: str


def read(path: Path, rest: Item, style: Style) -> tuple[list[Item], list[BadLine]]:
    """Read a file of prompts.

    Parameters
    ----------
    path
        .txt: a prompt in each line; empty ones and those that begin with # are left out.
        .csv: a line of column names, then an item in each; separated by commas, semicolons or tabs.
        .jsonl: a JSON object in each line.
        Columns and keys are `FIELDS`. Pictures are looked for from the folder of the file.
    rest
        What holds where a line says nothing.
    style
        How files are written, which says what formats there are.

    Returns
    -------
    The items, with names that are unique, and the lines that are none, both in the order of the file.

    Raises
    ------
    InvalidRequest
        The file as a whole cannot be used.
    """
    found: list[Item] = []
    bad: list[BadLine] = []
    lines: dict[str, int] = {}  # by file name, as file systems compare them
    for line, row in _rows(path):
        try:
            if isinstance(row, str):
                raise InvalidRequest(row)
            item = _item(line, row, rest, path.parent)
            outputs.check(item.formats, style)
            taken = [lines[_key(stem)] for stem in item.stems if _key(stem) in lines]
            if taken:
                raise InvalidRequest(
                    f"Its files would be called {item.name}, as those of line {taken[0]}: give it a name."
                )
        except InvalidRequest as error:
            bad.append(BadLine(line, str(error)))
        else:
            found.append(item)
            lines |= {_key(stem): line for stem in item.stems}
    if not found and not bad:
        raise InvalidRequest(f"There is nothing to make in {path}: write one prompt in each line.")
    return found, bad


def _item(line: int, row: Row, rest: Item, folder: Path) -> Item:
    """What one line says, checked."""
    unknown = [key for key in row if key not in FIELDS]
    if unknown:
        raise InvalidRequest(f"There is no setting {unknown[0]!r}: use {', '.join(FIELDS)}.")
    said = {key: _value(key, value) for key, value in row.items() if value is not None and value != ""}
    if "format" in said:
        said["formats"] = outputs.formats(said.pop("format"))
    if "image" in said:
        said["image"] = folder / said["image"]
    if "quality" in said:
        said["quality"] = said["quality"].lower()
    if "name" not in said:
        said["name"] = items.slug(said["image"].stem if "image" in said else said.get("prompt", ""))
        said["name"] += f"-seed{said['seed']}" if "seed" in said else ""
    item = replace(rest, line=line, **said)
    items.check(item)
    return item


def _value(key: str, value: Any) -> Any:
    """A cell of CSV, or a value of JSON, in its type."""
    if key in WHOLE or key == "guidance":
        try:
            number = float(value) if isinstance(value, (str, int, float)) and value is not True else None
        except ValueError:
            number = None
        if number is None or (key in WHOLE and not number.is_integer()):
            kind = "whole number" if key in WHOLE else "number"
            raise InvalidRequest(f"The {key} {value!r} is no {kind}: write it in digits.")
        return int(number) if key in WHOLE else number
    if key == "format" and isinstance(value, list):
        value = ",".join(str(part) for part in value)
    if not isinstance(value, str):
        raise InvalidRequest(f"The {key} {value!r} is no text: put it into quotes.")
    return value.strip()


def _rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Line numbers, each with what it says or why that cannot be told."""
    readers = {".txt": _text, ".csv": _csv, ".jsonl": _json_lines}
    if path.suffix.lower() not in readers:
        raise InvalidRequest(
            f"{path.name} is neither .txt nor .csv nor .jsonl: give it one of these endings."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read ({error.strerror}): choose another file.") from error
    try:
        # Older PowerShells write UTF-16, Excel and Notepad a mark before UTF-8.
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRequest(f"{path.name} is not UTF-8 in line {line}: save it as UTF-8.") from error
    return readers[path.suffix.lower()](text)


def _text(text: str) -> Iterator[tuple[int, Row | str]]:
    for line, prompt in _lines(text):
        if not prompt.startswith("#"):
            yield line, {"prompt": prompt}


def _json_lines(text: str) -> Iterator[tuple[int, Row | str]]:
    for line, value in _lines(text):
        try:
            row = json.loads(value)
        except (ValueError, RecursionError) as error:
            yield line, f"This is no JSON ({error}): write one object in each line."
        else:
            yield line, row if isinstance(row, dict) else 'This is no JSON object: write {"prompt": …}.'


def _csv(text: str) -> Iterator[tuple[int, Row | str]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"This is no CSV ({error}): close every quote, and write quotes inside twice."
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if not names:
            names = [cell.strip().lower() for cell in cells]
            _check_columns(names)
        elif len(cells) > len(names):
            yield line, f"There are {len(cells)} cells for {len(names)} columns: put commas into quotes."
        else:
            yield line, dict(zip(names, cells, strict=False))


def _check_columns(names: list[str]) -> None:
    """Refuse a table that would be misunderstood in every line."""
    if "prompt" not in names and "image" not in names:
        raise InvalidRequest(
            "The first line names no column prompt or image: write the names of the columns there."
        )
    for name in names:
        if name not in FIELDS:
            raise InvalidRequest(f"There is no column {name!r}: use {', '.join(FIELDS)}.")
        if names.count(name) > 1:
            raise InvalidRequest(f"The column {name!r} is there twice: remove one.")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with something in them; only line ends separate them, not what else Unicode calls one."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _key(stem: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", stem).casefold()
