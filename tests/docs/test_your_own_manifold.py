"""The tutorial keeps its word: a manifold in forty lines."""

from __future__ import annotations

import ast
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/your_own_manifold.py"


def lines_of_code(node: ast.ClassDef) -> int:
    """Lines of a class without docstrings, comments and empty ones."""
    docstrings = [
        inner.body[0]
        for inner in ast.walk(node)
        if isinstance(inner, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(inner)
    ]
    dropped = {
        line for text in docstrings for line in range(text.lineno, (text.end_lineno or 0) + 1)
    }
    source = EXAMPLE.read_text(encoding="utf-8").splitlines()
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return sum(
        bool(source[line - 1].partition("#")[0].strip())
        for line in range(first, (node.end_lineno or 0) + 1)
        if line not in dropped
    )


def test_a_manifold_takes_forty_lines() -> None:
    tree = ast.parse(EXAMPLE.read_text(encoding="utf-8"))
    (manifold,) = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "SpecialLinear"
    ]
    assert 30 < lines_of_code(manifold) <= 40
