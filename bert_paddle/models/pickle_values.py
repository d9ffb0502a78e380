"""An interpreter of pickles that builds values and calls nothing by itself.

Python's unpickler may not be given a stranger's file even if it finds no dangerous name there: it
calls what it finds with arguments that share parts, so that a megabyte can copy or hash terabytes.
Here each operation takes constant time (or that of reading its argument), dict keys are strings,
and a name is resolved, called and given its state only by the functions of a `Names`.
"""

import io
import pickletools
from collections.abc import Callable
from typing import IO, Any, Protocol, cast

from bert_paddle.common import limits
from bert_paddle.common.errors import WeightsError

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "BYTEARRAY8".split()
)
_MARK = object()


class Names(Protocol):
    """What names in a pickle mean. All methods take constant time and raise for what they refuse;
    the values that they return are placeholders, never the objects of those names."""

    def find(self, module: str, name: str) -> Any:
        """The placeholder of a name."""
        ...

    def call(self, target: Any, arguments: tuple[Any, ...]) -> Any:
        """The placeholder of the result of a call."""
        ...

    def set_state(self, target: Any, state: Any) -> None:
        """Give a placeholder its state."""
        ...

    def find_external(self, identifier: Any) -> Any:
        """The placeholder of an object outside the pickle."""
        ...


class _BoundedFile:
    """A file that refuses to read more bytes than it has: they would be allocated first."""

    def __init__(self, file: Any):
        self.size = self._left = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._file = file

    def read(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise ValueError("it ends before its last value")
        return self._file.read(count)

    def readline(self) -> bytes:
        line = self._file.readline()
        self._left -= len(line)
        return line


def read_pickle(file: Any, names: Names, place: str) -> Any:
    """The value of the pickle in a binary file that can seek.

    Raises WeightsError for one with more operations than are allowed, and ValueError, TypeError,
    LookupError and others for one that is malformed. place: the file's name for a message.
    """
    bounded, allowed = _BoundedFile(file), limits.limit("PICKLE_OPERATIONS")
    machine = _Machine(names, bounded.size)
    for count, (opcode, argument, _) in enumerate(
        pickletools.genops(cast("IO[bytes]", bounded)), 1
    ):
        if count > allowed:
            raise WeightsError(limits.exceeded("PICKLE_OPERATIONS", count, place))
        if opcode.name in _LITERALS:
            machine.stack.append(argument)
        elif opcode.name in _CONSTANTS:
            machine.stack.append(_CONSTANTS[opcode.name])
        elif (operation := _OPERATIONS.get(opcode.name)) is None:
            raise ValueError(f"the pickle operation {opcode.name}")
        else:
            operation(machine, argument)
    return machine.stack.pop()


class _Machine:
    """The stack and the memo of a pickle. One method for each group of operations, by which the
    documentation of `pickletools` describes them."""

    def __init__(self, names: Names, size: int):
        self.names, self._size = names, size
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def nothing(self, argument: Any) -> None:
        """PROTO, FRAME and STOP."""

    def mark(self, argument: Any) -> None:
        self.stack.append(_MARK)

    def pop(self, argument: Any) -> None:
        self.stack.pop()

    def duplicate(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def put(self, index: int) -> None:
        if index > self._size:
            raise ValueError("a memo index beyond the file's size")
        self._memo[index] = self.stack[-1]

    def memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self._memo[index])

    def pop_to_mark(self, argument: Any = None) -> list[Any]:
        """The values above the last mark; both are taken off the stack."""
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def push_list(self, argument: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def push_tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def push_dict(self, argument: Any) -> None:
        items, content = self.pop_to_mark(), dict[Any, Any]()
        _set_items(content, items)
        self.stack.append(content)

    def append(self, argument: Any) -> None:
        self._extend([self.stack.pop()])

    def appends(self, argument: Any) -> None:
        self._extend(self.pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("elements of what is not a list")
        self.stack[-1].extend(values)

    def set_item(self, argument: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _set_items(self.stack[-1], [key, value])

    def set_items(self, argument: Any) -> None:
        items = self.pop_to_mark()
        _set_items(self.stack[-1], items)

    def find_name(self, argument: str) -> None:
        """GLOBAL, whose argument is "module name"."""
        self.stack.append(self.names.find(*argument.split(" ", 1)))

    def find_stacked_name(self, argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name that is not a string")
        self.stack.append(self.names.find(module, name))

    def call(self, argument: Any) -> None:
        """REDUCE and NEWOBJ."""
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise ValueError("a call without arguments")
        self.stack.append(self.names.call(target, arguments))

    def call_to_mark(self, argument: Any) -> None:
        """OBJ: the called name is the first value above the mark."""
        target, *arguments = self.pop_to_mark()
        self.stack.append(self.names.call(target, tuple(arguments)))

    def call_name(self, argument: str) -> None:
        """INST, whose argument is "module name"."""
        target = self.names.find(*argument.split(" ", 1))
        self.stack.append(self.names.call(target, tuple(self.pop_to_mark())))

    def set_state(self, argument: Any) -> None:
        """BUILD."""
        state = self.stack.pop()
        self.names.set_state(self.stack[-1], state)

    def find_external(self, argument: str | None) -> None:
        """PERSID, whose argument is the identifier, and BINPERSID, which takes it from the
        stack."""
        identifier = self.stack.pop() if argument is None else argument
        self.stack.append(self.names.find_external(identifier))


def _set_items(target: Any, items: list[Any]) -> None:
    """Set keys, which alternate with their values. Hashing anything but a string could take any
    time: tuples can contain one another, and the hashes of numbers can be made equal. The numbers
    of parameters, which are keys in the state of torch's optimizers, become strings."""
    if not isinstance(target, dict):
        raise ValueError("keys of what is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is int and 0 <= key < 1 << 31:
            key = str(key)
        if not isinstance(key, str):
            raise ValueError("a key that is not a string")
        target[key] = value


_OPERATIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Machine.nothing),
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_to_mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "EMPTY_LIST": lambda machine, argument: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, argument: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, argument: machine.stack.append({}),
    "LIST": _Machine.push_list,
    "TUPLE": _Machine.push_tuple,
    "TUPLE1": lambda machine, argument: machine.stack.append((machine.stack.pop(),)),
    "TUPLE2": lambda machine, argument: machine.stack.append(_pop_tuple(machine.stack, 2)),
    "TUPLE3": lambda machine, argument: machine.stack.append(_pop_tuple(machine.stack, 3)),
    "DICT": _Machine.push_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.find_name,
    "STACK_GLOBAL": _Machine.find_stacked_name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "OBJ": _Machine.call_to_mark,
    "INST": _Machine.call_name,
    "BUILD": _Machine.set_state,
    **dict.fromkeys(("PERSID", "BINPERSID"), _Machine.find_external),
}


def _pop_tuple(stack: list[Any], count: int) -> tuple[Any, ...]:
    values = tuple(stack[-count:])
    del stack[-count:]
    if len(values) < count:
        raise ValueError("a tuple of missing values")
    return values
