"""Pickles that were made to harm whoever reads them: each must be refused, and nothing in it run.

Assembled from instructions, so that they are what no pickler would write. `ACTING` are those that do harm
where `pickle` reads them; commands are `true`, files are `/dev/null`.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from support.first_pickles import first_pickle

START, STOP = b"\x80\x04", b"."
WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def long_text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def row(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def table(**parts: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + part for name, part in parts.items()) + b"u"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + row(*arguments) + b"R"


def made(module: str, name: str, state: bytes = b"") -> bytes:
    """Return an object made without its constructor, and given a state."""
    return named(module, name) + b")\x81" + (state + b"b" if state else b"")


def program(*parts: bytes) -> bytes:
    return START + b"".join(parts) + STOP


def dtype(spelled: bytes, state: bytes = b"") -> bytes:
    return call(named("numpy", "dtype"), spelled, b"\x89", b"\x88") + (state + b"b" if state else b"")


def array(shape: bytes, kind: bytes, data: bytes = b"\x01\xff" + bytes(64), **more: bytes) -> bytes:
    """Return joblib's wrapper of an array, then `data`."""
    state = table(
        subclass=more.pop("subclass", named("numpy", "ndarray")),
        shape=shape,
        order=text("C"),
        dtype=kind,
        allow_mmap=b"\x89",
        numpy_array_alignment_bytes=b"K\x10",
        **more,
    )
    return made(*WRAPPER, state) + data


F8 = dtype(text("f8"))
COMMAND = text("true")
SYSTEM = call(named("os", "system"), COMMAND)
FOREST = ("sklearn.ensemble._forest", "RandomForestClassifier")
PIPELINE = ("sklearn.pipeline", "Pipeline")
TREE = ("sklearn.tree._tree", "Tree")
DECISION_TREE = ("sklearn.tree._classes", "DecisionTreeClassifier")
SCALAR = ("numpy._core.multiarray", "scalar")


def forest(trees: bytes = b"]", **state: bytes) -> bytes:
    classes = array(row(b"K\x02"), dtype(text("i8")), b"\x01\xff" + np.arange(2).tobytes())
    return made(*FOREST, table(n_features_in_=b"K\x04", classes_=classes, estimators_=trees, **state))


def holding(model: bytes, **state: bytes) -> bytes:
    """Return a pipeline of one step."""
    return made(*PIPELINE, table(steps=b"]" + row(text("model"), model) + b"a", **state))


def records(*fields: bytes) -> bytes:
    """Return the type of records of eight bytes with one field, `a`."""
    state = (b"K\x03", text("|"), b"N", row(text("a")), table(a=row(*fields)), b"K\x08", b"K\x01", b"K\x00")
    return dtype(text("V8"), row(*state))


def endless_tree() -> bytes:
    """Return a tree that announces more nodes than any machine holds."""
    return call(named(*TREE), number(2**40), F8, number(2**40)) + table(node_count=number(2**40)) + b"b"


def fitted_forest(**settings: Any) -> Pipeline:
    """Return a small forest, fitted."""
    features = np.random.default_rng(0).normal(size=(80, 4))
    model = RandomForestClassifier(2, random_state=0, **settings).fit(
        features, features[:, 0] + features[:, 1] > 0
    )
    return Pipeline([("model", model)])


def looping_forest() -> bytes:
    """Return a fitted forest, two nodes of which are each other's children."""
    pipeline = fitted_forest(n_jobs=1)
    content = first_pickle(pipeline)
    nodes = pipeline["model"].estimators_[0].tree_.__getstate__()["nodes"]
    spoilt = bytearray(nodes.tobytes())
    table = np.frombuffer(spoilt, nodes.dtype)
    inner = np.flatnonzero(nodes["left_child"] > 0)[1:3]
    table["left_child"][inner] = table["right_child"][inner] = inner[::-1]
    assert content.count(nodes.tobytes()) == 1
    return content.replace(nodes.tobytes(), bytes(spoilt))


_OS = call(named("importlib", "import_module"), text("os"))

# Programs that harm whoever runs them.
ACTING: dict[str, bytes] = {
    "a command": program(SYSTEM),
    "a command, named in text": START + b"cos\nsystem\n" + row(COMMAND) + b"R.",
    "a command through an allowed package": program(call(named("sklearn", "os.system"), COMMAND)),
    "a command through one of its modules": program(
        call(named("sklearn.datasets._base", "os.system"), COMMAND)
    ),
    "a command through three modules": program(
        call(named("sklearn.utils.fixes", "platform.os.system"), COMMAND)
    ),
    "a command through joblib": program(call(named("joblib.numpy_pickle", "os.system"), COMMAND)),
    "a command through our own package": program(call(named("lockstep.models.store", "os.system"), COMMAND)),
    "a process": program(call(named("subprocess", "Popen"), text("/bin/true"))),
    "code": program(call(named("builtins", "eval"), text("__import__('os').system('true')"))),
    "statements": program(call(named("builtins", "exec"), text("import os; os.system('true')"))),
    "an import": program(call(named("importlib", "import_module"), text("this"))),
    "an attribute of a module": program(
        call(call(named("builtins", "getattr"), _OS, text("system")), COMMAND)
    ),
    "a file that is written": program(call(named("builtins", "open"), text("/dev/null"), text("w"))),
    "a pickle inside": program(call(named("pickle", "loads"), raw(program(SYSTEM)))),
    "code of marshal": program(call(named("marshal", "loads"), raw(b"N"))),
    "a library": program(call(named("ctypes", "CDLL"), b"N")),
    "a socket": program(call(named("socket", "socket"))),
    "a partial call": program(call(call(named("functools", "partial"), named("os", "system"), COMMAND))),
    "a method by name": program(call(call(named("operator", "methodcaller"), text("system"), COMMAND), _OS)),
    "an old instance": START + b"(" + COMMAND + b"ios\nsystem\n.",
    "an old object": START + b"(" + named("os", "system") + COMMAND + b"o.",
    "a loader of data sets": program(call(named("sklearn.datasets", "load_iris"))),
    "a command in an array of objects": program(
        array(row(b"K\x01"), dtype(text("O8")), program(b"]", SYSTEM, b"a"))
    ),
    "a state that is a call": program(made(*PIPELINE, table(steps=SYSTEM))),
    "a mapped file": program(call(named("numpy", "memmap"), text("/dev/null"))),
    "a temporary folder": program(call(named("tempfile", "mkdtemp"))),
}

# Programs that mislead, exhaust or crash a reader.
MISLEADING: dict[str, bytes] = {
    "a file that is read": program(call(named("numpy", "fromfile"), text("/dev/null"))),
    "a pickle inside, through joblib": program(call(named("joblib", "load"), text("/dev/null"))),
    "a new object with named arguments": (
        START + named("subprocess", "Popen") + row(text("/bin/true")) + b"}\x92."
    ),
    "an extension": START + b"\x82\x01.",
    "a longer extension": START + b"\x83\x01\x00.",
    "the longest extension": START + b"\x84\x01\x00\x00\x00.",
    "a persistent id": START + b"P0\n.",
    "a persistent id from the stack": START + text("0") + b"Q.",
    "a memo by name": START + b"Np0\n0g0\n.",
    "a memo by number": START + b"Nq\x000h\x00.",
    "a memo that is not there": START + b"h\x07.",
    "a value twice": START + b"N20.",
    "a call of what was called": program(call(call(named("numpy", "dtype"), text("f8")), text("f8"))),
    "a call of a number": program(call(b"K\x01", text("f8"))),
    "a state for a class": program(named(*PIPELINE) + table(predict_proba=b"N") + b"b"),
    "a state of slots": program(made(*PIPELINE, row(b"N", table(steps=b"]")))),
    "a state for a list": program(b"]" + table(append=b"N") + b"b"),
    "a state twice": program(made(*PIPELINE, table(steps=b"]")) + table(steps=b"]") + b"b"),
    "a reconstructor": program(
        call(named("copyreg", "_reconstructor"), named(*PIPELINE), named("builtins", "object"), b"N")
    ),
    "an encoder": program(call(named("_codecs", "encode"), text("x"), text("rot13"))),
    "a decoder": program(call(named("codecs", "decode"), raw(b"x"), text("zlib"))),
    "a scalar of objects": program(call(named(*SCALAR), dtype(text("O8")), raw(SYSTEM))),
    "a scalar that is too short": program(call(named(*SCALAR), F8, raw(b"1"))),
    "an array with objects": program(array(row(b"K\x01"), dtype(text("O8")))),
    "an array of records with objects": program(array(row(b"K\x01"), records(dtype(text("O8")), b"K\x00"))),
    "an array in an array": program(array(row(b"K\x01"), dtype(long_text("(1000000000,)f8")))),
    "a type by a list": program(array(row(b"K\x01"), dtype(b"](" + row(text("a"), text("O")) + b"e"))),
    "an array of 10**15": program(array(row(number(10**15)), F8)),
    "an array whose size wraps": program(array(row(number(2**32), number(2**32)), F8)),
    "an array of a negative size": program(array(row(number(-1)), F8)),
    "an array of true by false": program(array(row(b"\x88", b"\x89"), F8)),
    "an empty array of 10**15 columns": program(array(row(b"K\x00", number(10**15)), F8)),
    "an array of 40 dimensions": program(array(row(*[b"K\x01"] * 40), F8)),
    "an array without a shape": program(array(b"N", F8)),
    "an array of another class": program(array(row(b"K\x01"), F8, subclass=named("numpy", "memmap"))),
    "an array of a file": program(
        array(row(b"K\x01"), F8, b"", filename=text("/etc/passwd"), mode=text("r+"))
    ),
    "a wrapper without an array": program(made(*WRAPPER)),
    "a type alone": program(F8),
    "a class alone": program(named(*PIPELINE)),
    "a list that holds itself": START + b"]\x94h\x00a.",
    "lists of lists of lists": (
        START + b"](]\x94" + b"".join(b"](h%ch%ce\x94" % (n, n) for n in range(60)) + b"e."
    ),
    "twenty thousand lists": START + b"]" * 20_000 + b"a" * 19_999 + STOP,
    "a text of 2**63 letters": START + b"\x8d" + struct.pack("<Q", 2**63) + b"x.",
    "bytes of 2**63": START + b"\x8e" + struct.pack("<Q", 2**63) + b"x.",
    "an integer of 2**31 bytes": START + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "an integer of 255 bytes": START + b"\x8a\xff" + b"\x7f" * 255 + STOP,
    "a buffer outside": START + b"\x97\x98.",
    "a byte array": START + b"\x96" + struct.pack("<Q", 1) + b"x.",
    "another protocol": b"\x80\x05N.",
    "no protocol": b"N.",
    "two pickles": program(b"N") + program(SYSTEM),
    "no end": START + b"N",
    "nothing": b"",
    "a key twice": START + b"}(" + text("a") + b"N" + text("a") + b"Nu.",
    "a key that is a list": START + b"}]Ns.",
    "compressed zeros": zlib.compress(bytes(1 << 24)),
    "text that is none": START + b"\x8c\x02\xff\xfe.",
    "an estimator of no list": program(
        made("sklearn.preprocessing._function_transformer", "FunctionTransformer", table(func=b"N"))
    ),
    "an estimator of several threads": first_pickle(fitted_forest(n_jobs=64)),
    "a pipeline that remembers in a folder": program(
        made(*PIPELINE, table(steps=b"]", memory=made("joblib.memory", "Memory")))
    ),
    "a pipeline in itself": (
        START + made(*PIPELINE) + b"\x94" + table(steps=b"]" + row(text("a"), b"h\x00") + b"a") + b"b."
    ),
    "a forest without trees": program(holding(forest())),
    "a forest of pipelines": program(holding(forest(b"](" + made(*PIPELINE, table(steps=b"]")) + b"e"))),
    "a tree without bounds": program(
        holding(
            forest(b"]" + made(*DECISION_TREE, table(max_features_=b"K\x01", tree_=endless_tree())) + b"a")
        )
    ),
    "a tree that loops": looping_forest(),
}

CRAFTED: dict[str, bytes] = {**ACTING, **MISLEADING}
