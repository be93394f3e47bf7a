"""A small, safe language for labels and sample spaces: ``is_click == 1``, ``marital in ['Divorced', 'Widowed']``.

Grammar: column names (in backticks where they are no identifiers), numbers, text in quotes, True and False,
``== != < <= > >=`` (also chained), ``in`` and ``not in`` with a list, ``and or not``, ``+ - * /``, ``isnull(column)``,
``abs(...)``, parentheses. Everything else is refused; nothing is ever executed.

Missing values stay missing: a comparison with null (or NaN) is null, hence "not observed", never False. ``and`` and
``or`` follow Kleene's logic: ``False and null`` is False, ``True and null`` is null.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from polytask.data.expression_kernels import Literal, Operand, TypeMistake, apply
from polytask.errors import Problem, UserError, suggest

_MOST_CHARACTERS = 10_000
_DEEPEST = 100
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_FUNCTIONS = ("isnull", "abs")


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of an expression: a column, a literal, a list of literals, or an operator and its operands."""

    kind: str
    operands: tuple[Node, ...] = ()
    column: str = ""
    values: tuple[Literal, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; make one with `parse`.

    Attributes:
        text: As the user wrote it.
        columns: The columns it reads, in order of appearance.
    """

    text: str
    columns: tuple[str, ...]
    _root: Node = field(repr=False)

    def evaluate(self, batch: pa.RecordBatch) -> pa.Array:
        """One value a row; a plain column name gives that column as it is.

        Raises:
            UserError: Types do not go together (text and number), or integers overflow.
        """
        try:
            return _evaluate(self._root, batch).array
        except TypeMistake as mistake:
            raise UserError(Problem(f"expression {self.text!r}", mistake.what, mistake.remedy)) from mistake

    def type(self, schema: pa.Schema) -> pa.DataType:
        """The type of the result for columns of these types; finds all type mistakes without reading data.

        Raises:
            UserError: As in `evaluate`.
        """
        fields = [schema.field(name) for name in self.columns]
        empty = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in fields], schema=pa.schema(fields))
        return self.evaluate(empty).type

    def literals_by_column(self) -> dict[str, tuple[Literal, ...]]:
        """Per column, the values that ``==``, ``!=``, ``in`` and ``not in`` compare it with.

        Example:
            >>> parse("sex == 'F' and age in [1, 2]", ["sex", "age"]).literals_by_column()
            {'sex': ('F',), 'age': (1, 2)}
        """
        found: dict[str, tuple[Literal, ...]] = {}
        pending = [self._root]
        while pending:
            node = pending.pop(0)
            pending.extend(node.operands)
            if node.kind in ("==", "!=", "in", "not in"):
                columns = [operand.column for operand in node.operands if operand.kind == "column"]
                values = [value for operand in node.operands for value in operand.values]
                if len(columns) == 1 and values:
                    found[columns[0]] = tuple(dict.fromkeys((*found.get(columns[0], ()), *values)))
        return found


def parse(text: str, names: Sequence[str]) -> Expression:
    """Reads an expression over the columns ``names``.

    Args:
        text: The expression; a column name alone (of any characters) is one too.
        names: All columns of the table.

    Raises:
        UserError: Unknown columns (with close names), syntax errors, or anything outside the grammar.

    Example:
        >>> clicked = parse("is_click == 1 and `hours per week` > 40", ["is_click", "hours per week"])
        >>> clicked.columns
        ('is_click', 'hours per week')
        >>> batch = pa.record_batch({"is_click": [1, 0, None], "hours per week": [50, 50, 50]})
        >>> clicked.evaluate(batch).to_pylist()
        [True, False, None]
    """
    if text.strip() in names:
        return Expression(text, (text.strip(),), Node("column", column=text.strip()))
    if len(text) > _MOST_CHARACTERS:
        raise UserError(Problem("expression", f"has {len(text):,} characters, at most {_MOST_CHARACTERS:,} are read"))
    source, quoted = _without_backticks(text)
    try:
        body = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = getattr(error, "msg", None) or str(error) or "nested too deeply"
        remedy = "write a comparison such as age > 30; put names with spaces, and Python's keywords, in `backticks`"
        raise UserError(Problem(f"expression {text!r}", f"cannot be read ({what})", remedy)) from error
    reader = _Reader(text, tuple(names), quoted)
    root = reader.read(body, 0)
    columns = tuple(dict.fromkeys(reader.columns))
    if not columns and not reader.problems:
        reader.refuse("reads no column", "name at least one column")
    if reader.problems:
        raise UserError(dict.fromkeys(reader.problems))
    return Expression(text, columns, root)


def _without_backticks(text: str) -> tuple[str, dict[str, str]]:
    """Replaces names in backticks by identifiers; backticks inside of quoted text stay."""
    quoted: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        placeholder = f"_quoted_{len(quoted)}_"
        quoted[placeholder] = match.group(1)
        return f" {placeholder} "

    return re.sub(r"`([^`]*)`|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", replace, text), quoted


@dataclass(slots=True)
class _Reader:
    """Turns Python's syntax tree into nodes, and notes everything that does not belong."""

    text: str
    names: tuple[str, ...]
    quoted: dict[str, str]
    columns: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, what: str, remedy: str = "") -> Node:
        self.problems.append(Problem(f"expression {self.text!r}", what, remedy))
        return Node("literal", values=(0,))

    def read(self, tree: ast.expr, depth: int) -> Node:
        if depth > _DEEPEST:
            return self.refuse("is nested too deeply", "use fewer parentheses")
        match tree:
            case ast.Name(id=name):
                return self._column(self.quoted.get(name, name))
            case ast.Constant(value=int() as value) if value >= 2**64:
                return self.refuse("contains a number that needs more than 64 bits", "use a smaller number")
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return Node("literal", values=(value,))
            case ast.Constant(value=None):
                return self.refuse("compares with None", "write isnull(column) or not isnull(column)")
            case ast.BoolOp(op=op, values=parts):
                kind = "and" if isinstance(op, ast.And) else "or"
                return Node(kind, tuple(self.read(part, depth + 1) for part in parts))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return Node("not", (self.read(part, depth + 1),))
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return self._negated(self.read(part, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return Node(_ARITHMETIC[type(op)], (self.read(left, depth + 1), self.read(right, depth + 1)))
            case ast.Compare():
                return self._comparison(tree, depth)
            case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]) if name in _FUNCTIONS:
                return Node(name, (self.read(part, depth + 1),))
            case ast.Call(func=ast.Name(id=name)):
                return self.refuse(f"calls {name}(...)", "only isnull(column) and abs(number) can be called")
        remedy = "only columns, literals, comparisons, in, and, or, not, + - * /, isnull() and abs() are allowed"
        return self.refuse(f"contains {_spelled(tree)}, which is not part of the language", remedy)

    def _column(self, name: str) -> Node:
        if name not in self.names:
            remedy = suggest(name, self.names)
            if not name.startswith("_quoted_"):
                remedy += " (text goes in quotes)"
            return self.refuse(f"column '{name}' does not exist", remedy)
        self.columns.append(name)
        return Node("column", column=name)

    def _negated(self, part: Node) -> Node:
        value = part.values[0] if part.kind == "literal" else None
        if isinstance(value, int) and value > 2**63:
            return self.refuse("contains a number that needs more than 64 bits", "use a number nearer to zero")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Node("literal", values=(-value,))
        return Node("-", (Node("literal", values=(0,)), part))

    def _comparison(self, tree: ast.Compare, depth: int) -> Node:
        parts: list[Node] = []
        left = tree.left
        for op, right in zip(tree.ops, tree.comparators, strict=True):
            if type(op) not in _COMPARISONS:
                return self.refuse("uses 'is'", "write == or isnull(column)")
            kind = _COMPARISONS[type(op)]
            second = self._list(right, depth) if kind in ("in", "not in") else self.read(right, depth + 1)
            parts.append(Node(kind, (self.read(left, depth + 1), second)))
            left = right
        return parts[0] if len(parts) == 1 else Node("and", tuple(parts))

    def _list(self, tree: ast.expr, depth: int) -> Node:
        if not isinstance(tree, ast.List | ast.Tuple | ast.Set):
            return self.refuse("needs a list after 'in'", "write for example city in ['Rome', 'Oslo']")
        items = [self.read(item, depth + 1) for item in tree.elts]
        if not items or any(item.kind != "literal" for item in items):
            return self.refuse("needs a list of numbers or texts after 'in'", "write the values themselves")
        return Node("list", values=tuple(item.values[0] for item in items))


def _evaluate(node: Node, batch: pa.RecordBatch) -> Operand:
    if node.kind == "column":
        return Operand.of_column(batch.column(batch.schema.get_field_index(node.column)), node.column)
    if node.kind in ("literal", "list"):
        return Operand.of_literals(node.values)
    return apply(node.kind, [_evaluate(operand, batch) for operand in node.operands])


def _spelled(tree: ast.expr) -> str:
    try:
        text = ast.unparse(tree)
    except (RecursionError, ValueError):
        return type(tree).__name__
    return f"'{text[:60]}'"
