"""Redraws what docs/architecture.md tells of the code: ``python docs/architecture.py``; ``--check`` only compares."""

from __future__ import annotations

import ast
import itertools
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "napari_fbrs"
PAGE = Path(__file__).with_name("architecture.md")
BEGIN, END = "<!-- drawn from the code by docs/architecture.py -->\n", "<!-- end of what is drawn -->"
ROOMS = (  # from above to below; what they do
    ("gui", "napari layers and Qt: the only room that imports napari"),
    ("cli", "the same work without a window"),
    ("batching", "many images, in one process, several, or a cluster"),
    ("training", "models from labelled images"),
    ("evaluation", "how many clicks objects take, and how long"),
    ("samples", "pictures and clicks to try it with"),
    ("export", "masks in the formats of others"),
    ("annotation", "many planes, many objects: session, history"),
    ("inference", "one image, one object: clicks in, probability out"),
    ("models", "networks, and what reads and writes their files"),
    ("strokes", "clicks that are more than a point"),
    ("clicks", "the words everyone uses"),
    ("processes", "several processes for one kind of work"),
)


def main() -> int | str:
    """Redraw the page, or say whether it is up to date."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    drawn = before + BEGIN + drawing() + END + after
    if "--check" in sys.argv[1:]:
        return 0 if drawn == text else f"{PAGE.name} is out of date: run python docs/architecture.py"
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


def drawing() -> str:
    """Return the graph of rooms, and a table of modules for each."""
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    rooms = [(room, what) for room, what in ROOMS if any(_room(name) == room for name in modules)]
    return "\n".join([*_graph(rooms, modules), "", *_tables(rooms, modules), ""])


def _graph(rooms: list[tuple[str, str]], modules: dict[str, Path]) -> list[str]:
    uses: dict[str, set[str]] = defaultdict(set)
    for name, path in modules.items():
        uses[_room(name)] |= {_room(imported.replace(".", "/") + ".py") for imported in _imports(path)}
    names = [room for room, _ in rooms]
    boxes = [f'  {room}["<b>{room}</b><br>{what}"]' for room, what in rooms]
    edges = [f"  {a} --> {b}" for a, b in itertools.combinations(names, 2) if b in _nearest(uses, a, names)]
    return ["```mermaid", "flowchart TD", *boxes, *edges, "```"]


def _nearest(uses: dict[str, set[str]], room: str, names: list[str]) -> set[str]:
    """Return what a room imports, without what it reaches through others as well."""
    direct = uses[room] & set(names) - {room}
    return direct - {c for b in direct for c in _reach(uses, b) - {b}}


def _reach(uses: dict[str, set[str]], room: str) -> set[str]:
    seen, waiting = set(), [room]
    while waiting:
        at = waiting.pop()
        if at not in seen:
            seen.add(at)
            waiting += uses[at]
    return seen


def _tables(rooms: list[tuple[str, str]], modules: dict[str, Path]) -> list[str]:
    lines = []
    for room, _ in rooms:
        own = [(name, _summary(path)) for name, path in modules.items() if _room(name) == room]
        rows = [f"| `{name}` | {summary} |" for name, summary in own if not name.endswith("__init__.py")]
        lines += [f"### {room}", "", "| module | |", "|---|---|", *rows, ""]
    return lines[:-1]


def _room(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Return the modules of this package that a file imports, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("napari_fbrs."):
            found.add((node.module or "").removeprefix("napari_fbrs."))
        elif isinstance(node, ast.ImportFrom) and node.module == "napari_fbrs":
            found |= {alias.name for alias in node.names}
    return found


def _summary(path: Path) -> str:
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
