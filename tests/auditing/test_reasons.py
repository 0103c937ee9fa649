"""Every reason for which a layer is left out can be said in both languages."""

from __future__ import annotations

import ast
from pathlib import Path

import immersion
from immersion.report.catalog import catalog


def templates() -> dict[str, str]:
    """Ids and English templates of every `Reason(...)` in the source."""
    found: dict[str, str] = {}
    for path in Path(immersion.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason"):
                continue
            id_, template = node.args
            assert isinstance(id_, ast.Constant)
            if isinstance(template, ast.Name):
                template = assigned(ast.parse(path.read_text(encoding="utf-8")), node, template.id)
            assert isinstance(template, ast.Constant)
            found[id_.value] = template.value
    return found


def assigned(tree: ast.Module, call: ast.Call, name: str) -> ast.expr:
    """The value last given to `name` before the call."""
    values = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and node.lineno < call.lineno
        and getattr(node.targets[0], "id", "") == name
    ]
    return max(values, key=lambda value: value.lineno)


def test_reasons_and_catalogues_agree() -> None:
    found = templates()
    assert len(found) >= 10
    english = {
        k.removeprefix("skip."): v for k, v in catalog("en").items() if k.startswith("skip.")
    }
    assert found == english
    assert english.keys() == {
        k.removeprefix("skip.") for k in catalog("zh") if k.startswith("skip.")
    }
