"""solution: the answer as code that runs as it stands in the learner's notebook, with its explanation.

What is printed is a program of its own: the function under the stub's own name, after the imports, constants and helper
functions that it needs. These are gathered from the exercise's module by its syntax tree: whatever name the function
uses (annotations included) and the module defines or imports is printed too, and so on for what that uses.

A solution teaches. Where the reference is a call of the library, the exercise gives a written-out ``@ex.solution``; a
name of ``course_lib.exercises`` in a solution is an error of ours, and refused.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

from course_lib.exercises.engine.display import Note
from course_lib.exercises.engine.exercise import Exercise
from course_lib.exercises.engine.registry import find

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def solution(id: str) -> Note:
    """The answer's source, complete, with its explanation.

    Raises: ValueError: there is no such exercise.
    """
    exercise = find(id)
    source = solution_source(exercise)
    title = f"Solution of {exercise.id} {exercise.title}"
    explanation = inspect.cleandoc(exercise.explanation)
    text = "\n\n".join(part for part in (title, explanation, source) if part)
    return Note(text, markdown=f"**{title}**\n\n{explanation}\n\n```python\n{source}\n```")


def solution_source(exercise: Exercise) -> str:
    """A program that defines the answer under the reference's name.

    Raises: ValueError: it would need a name of ``course_lib.exercises``.
    """
    answer = inspect.unwrap(exercise.solution_fn or exercise.reference_fn)
    source = _Gathered(sys.modules[answer.__module__], answer).text()
    if exercise.solution_fn is not None and answer.__name__ != exercise.reference_fn.__name__:
        source = _renamed(source, answer.__name__, exercise.reference_fn.__name__)
    if "course_lib.exercises" in source:
        raise ValueError(f"exercise {exercise.id}: its solution needs {source.split('course_lib.exercises')[1][:40]!r}")
    return source


class _Gathered:
    """A function of a module with everything of the module that it needs."""

    def __init__(self, module: ModuleType, function: Callable):
        self.source = inspect.getsource(module)
        self.imports: dict[str, tuple[str | None, ast.alias]] = {}
        self.definitions: dict[str, Definition] = {}
        for node in ast.parse(self.source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    origin = node.module if isinstance(node, ast.ImportFrom) else None
                    self.imports[alias.asname or alias.name.split(".")[0]] = (origin, alias)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign):
                self.definitions |= dict.fromkeys(_defined(node), node)
        self.needed: list[Definition] = []
        self.imported: set[str] = set()
        self._need(self.definitions[function.__name__])

    def _need(self, node: Definition) -> None:
        """The names that a definition uses, those of what it uses, then itself."""
        if node in self.needed:
            return
        self.needed.append(node)
        for name in _used(node):
            if name in self.imports:
                self.imported.add(name)
            elif name in self.definitions:
                self._need(self.definitions[name])
            elif not hasattr(builtins, name):
                continue  # a parameter or a local name

    def text(self) -> str:
        """Imports first, then definitions in the order of the module; decorators of the exercise are left out."""
        plain = [name for name in self.imported if self.imports[name][0] is None]
        given = [name for name in self.imported if self.imports[name][0] is not None]
        lines = sorted(f"import {_alias(self.imports[name][1])}" for name in plain)
        origins = sorted({str(self.imports[name][0]) for name in given if self.imports[name][0] != "__future__"})
        for origin in origins:
            names = sorted(_alias(self.imports[name][1]) for name in given if self.imports[name][0] == origin)
            lines.append(f"from {origin} import {', '.join(names)}")
        parts = [self._segment(node) for node in sorted(self.needed, key=lambda node: node.lineno)]
        return "\n\n\n".join(["\n".join(lines), *parts] if lines else parts)

    def _segment(self, node: Definition) -> str:
        return ast.get_source_segment(self.source, node) or ""


def _defined(node: Definition) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _used(node: Definition) -> Iterator[str]:
    """Names read anywhere in a definition but in its decorators, each once, in order."""
    decorators = {id(part) for top in getattr(node, "decorator_list", ()) for part in ast.walk(top)}
    seen: dict[str, None] = {}
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and id(part) not in decorators and isinstance(part.ctx, ast.Load):
            seen[part.id] = None
    yield from seen


def _alias(alias: ast.alias) -> str:
    return alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"


def _renamed(source: str, old: str, new: str) -> str:
    """The program with one function under another name, also where it calls itself."""
    lines = source.splitlines()
    tree = ast.parse(source)
    places = [(n.lineno, n.col_offset) for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == old]
    places += [(n.lineno, n.col_offset + 4) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == old]
    for line, column in sorted(places, reverse=True):
        raw = lines[line - 1].encode()
        lines[line - 1] = (raw[:column] + new.encode() + raw[column + len(old) :]).decode()
    return "\n".join(lines)
