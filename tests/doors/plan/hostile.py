"""Crafted hostile files: plans and machines as somebody would write them who wants harm, not a plan."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import marshal
import zipfile
from collections.abc import Callable

from einsplit.solver.plan import FORMAT
from tests.doors.plan.damages import DATA, changed, fields

MEGABYTE = "x" * 2**20


def swapped(old: bytes, new: bytes, data: bytes = DATA) -> bytes:
    """The file with the first of some text replaced: what no JSON writer would write."""
    assert old in data, old
    return data.replace(old, new, 1)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("plan.json", DATA)
        archive.writestr("../../escape", b"x")
    return buffer.getvalue()


def tree(change: Callable[[dict], object]) -> bytes:
    """The file after a change of the tree."""
    found = fields()
    change(found)
    return json.dumps(found).encode()


def value(place: list[str | int], new: object) -> bytes:
    return changed(place, new)


def bomb(levels: int) -> bytes:
    """Nested objects, each with itself as the only field: as deep as a stack may be."""
    return b'{"format":%d,"machine":' % FORMAT + b'{"axes":[' * levels


# Of a pickle: call os.system with a command. Written out, so that nothing here can pickle or unpickle.
PICKLE = b"cos\nsystem\n(S'touch hacked'\ntR."
PICKLE_2 = b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94."
CODE = "__import__('os').system('touch hacked')"

# What it is, and its bytes. All are refused when read; none needs the graph.
FILES: list[tuple[str, bytes]] = [
    # other kinds of files, renamed
    ("a pickle of a command", PICKLE),
    ("a pickle of protocol 4", PICKLE_2),
    ("a pickle behind white space", b"\n \n" + PICKLE),
    ("marshalled code", marshal.dumps(compile("1 + 1", "plan", "eval"))),
    ("a zip archive", zipped()),
    ("gzip", gzip.compress(DATA)),
    ("a gzip bomb", gzip.compress(bytes(2**24))),
    ("an ELF header", b"\x7fELF\x02\x01\x01" + bytes(1000)),
    ("a script", b"#!/bin/sh\ntouch hacked\n"),
    ("Python", CODE.encode()),
    ("YAML that makes objects", b"!!python/object/apply:os.system ['touch hacked']\n"),
    ("YAML anchors", b"a: &a [x]\nb: &b [*a, *a]\n"),
    ("XML entities", b"<!DOCTYPE p [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><p>&a;</p>"),
    ("a safetensors header", (8).to_bytes(8, "little") + b'{"a":{}}'),
    # encodings
    ("a byte order mark", codecs.BOM_UTF8 + DATA),
    ("UTF-16", DATA.decode().encode("utf-16")),
    ("UTF-32", DATA.decode().encode("utf-32")),
    ("a null byte in front", b"\0" + DATA),
    ("a null byte behind", DATA + b"\0"),
    ("a null byte in a name", swapped(b'"x"', b'"x\0"')),
    ("overlong UTF-8", swapped(b'"x"', b'"\xc0\xaf"')),
    ("a surrogate in UTF-8", swapped(b'"x"', b'"\xed\xa0\x80"')),
    ("a lone surrogate", swapped(b'"x"', b'"\\ud800"')),
    ("a lone low surrogate in a label", swapped(b'"digits": {', b'"digits": {"\\udc00":[],')),
    ("half an escape", swapped(b'"x"', b'"\\u12"')),
    ("comments", swapped(b'{\n  "format"', b'{ // a plan\n  "format"')),
    ("single quotes", DATA.replace(b'"', b"'")),
    # numbers
    ("1e999999", swapped(b'"format": %d' % FORMAT, b'"format": 1e999999')),
    ("seconds of 1e999999", value(["seconds"], 1.0).replace(b'"seconds": 1.0', b'"seconds": 1e999999', 1)),
    ("seconds of a million digits", value(["seconds"], 1.0).replace(b'"seconds": 1.0', b'"seconds": ' + b"9" * 10**6)),
    ("bytes of a million digits", swapped(b'"bytes": ', b'"bytes": ' + b"9" * 10**6)),
    ("an exponent of a million digits", swapped(b'"bytes": ', b'"bytes": 1e' + b"9" * 10**6)),
    ("a hexadecimal number", swapped(b'"format": %d' % FORMAT, b'"format": 0x2')),
    ("a number with a leading zero", swapped(b'"format": %d' % FORMAT, b'"format": 02')),
    ("-Infinity", value(["seconds"], float("-inf"))),
    ("a negative peak", value(["peak_bytes"], -1)),
    ("bytes as a fraction", value(["bytes"], 0.5)),
    ("bytes as a numeric string", value(["bytes"], "0")),
    ("seconds as true", value(["seconds"], True)),
    ("an axis as a numeric string", value(["digits", "b"], ["0"])),
    ("an axis beyond all bits", value(["digits", "b"], [2**200])),
    ("a machine of 10^18 devices", value(["machine", "axes", 0, "size"], 10**18)),
    ("a machine of no bandwidth", value(["machine", "axes", 0, "bytes_per_second"], 0)),
    # structure
    ("an object as deep as a stack", bomb(200_000)),
    ("a choice as deep as a stack", swapped(b'"cut":[', b'"cut":[' + b'{"sum":' * 100_000)),
    ("a million open lists in a list", b"[" + b"[]," * 10**6),
    ("a million nodes", swapped(b'"nodes": [', b'"nodes": [' + b"{}," * 10**6)),
    ("a node that reads itself", value(["nodes", 4, "reads"], [4])),
    ("a cycle of two nodes", tree(lambda t: [t["nodes"][3].update(reads=[4]), t["nodes"][4].update(reads=[3])])),
    ("a node that reads what is not there", value(["nodes", 4, "reads"], [-1])),
    ("a cut for more axes than there are", value(["nodes", 1, "cut"], [None] * 10**5)),
    ("a runner-up for no axes", value(["nodes", 4, "runner_up"], [])),
    ("a machine that is a path", value(["machine"], "/etc/passwd")),
    ("nodes that are a path", value(["nodes"], "file:///etc/passwd")),
    ("a reference for nodes", value(["nodes"], {"$ref": "file:///etc/passwd"})),
    ("a class to make", tree(lambda t: t.update(__class__="os.system"))),
    ("a prototype", tree(lambda t: t.update(__proto__={"format": FORMAT}))),
    ("a reduction", value(["nodes", 2, "cut", 0], {"__reduce__": ["os.system", ["x"]]})),
    ("a choice with two tags", value(["nodes", 2, "cut", 0], {"sum": [0], "call": CODE})),
    ("a status to call", value(["status"], CODE)),
    ("a thousand unknown fields", tree(lambda t: t.update({f"k{n}": n for n in range(1000)}))),
    ("an unknown field of a megabyte", tree(lambda t: t.update({MEGABYTE: 1}))),
    ("a field twice by an escape", swapped(b'"bytes": ', b'"byt\\u0065s": 7, "bytes": ')),
    ("a class of a megabyte with a wrong axis", tree(lambda t: t["digits"].update({MEGABYTE: [7]}))),
    ("an axis named twice", value(["machine", "axes", 0, "name"], "axis1")),
    ("an axis without its link", value(["machine", "axes", 0, "bytes_per_second"], ...)),
]

# Well-formed plans of nothing: they are read, and refused by the graph at hand.
STRANGERS: list[tuple[str, bytes]] = [
    ("a graph that is a path", value(["graph"], "../../etc/passwd")),
    ("a graph that is code", value(["graph"], CODE)),
    ("a graph of control characters", value(["graph"], "\x1b[2J\x1b]0;x\x07")),
    ("a graph of a megabyte", value(["graph"], MEGABYTE)),
    ("a label that is a path", value(["nodes", 2, "cut", 0], "/etc/passwd")),
    ("a label that is code", value(["nodes", 2, "cut", 0], CODE)),
    ("a label of a megabyte", value(["nodes", 2, "cut", 0], MEGABYTE)),
    ("an empty label", value(["nodes", 2, "cut", 0], "")),
    ("control characters for a label", value(["nodes", 2, "cut", 0], "\x1b[2J")),
    ("a class that is a path", value(["digits", "/etc/passwd"], [0])),
    ("a class of a megabyte", value(["digits", MEGABYTE], [0])),
    ("carriers that are not there", value(["nodes", 4, "cut", 0], {"sum": [9] * 1000})),
    ("carriers beyond all bits", value(["nodes", 4, "cut", 0], {"sum": [2**70]})),
    ("negative carriers", value(["nodes", 4, "cut", 0], {"sum": [-1]})),
    ("work that is code", value(["nodes", 4, "does"], CODE)),
    ("work of a megabyte", value(["nodes", 4, "does"], MEGABYTE)),
    ("no nodes at all", value(["nodes"], [])),
    ("ten thousand nodes", tree(lambda t: t.update(nodes=t["nodes"][:1] * 10**4))),
    ("a node too many", tree(lambda t: t["nodes"].append(t["nodes"][0]))),
    ("nodes in another order", tree(lambda t: t["nodes"].__setitem__(slice(1, 3), t["nodes"][2:0:-1]))),
    ("another machine's name and rates", value(["machine", "memory_bytes_per_second"], 1e-300)),
]
