#!/usr/bin/env python3
"""workers types: the definition files for editors have every function that a script sees, and are Lua with annotations that
lua-language-server can read."""
import json
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from harness import REPOSITORY, TestCase, main  # noqa: E402

TAGS = {"alias", "class", "field", "generic", "meta", "overload", "param", "return", "type"}


def module_names():
    """Every module that require finds."""
    table = (REPOSITORY / "src/modules/modules.c").read_text(encoding="utf-8")
    names = re.findall(r'\{"([\w.]+)",\s+luaopen_', table)
    lua = REPOSITORY / "lua"
    return sorted({*names, *(".".join(path.relative_to(lua).with_suffix("").parts) for path in lua.rglob("*.lua"))})


class TypesTest(TestCase):
    def setUp(self):
        self.p = self.project("return require('workers').new()")

    def written(self):
        """Module name -> text of its definition file."""
        self.ok(self.p.run("types", "definitions"))
        folder = self.p.folder / "definitions"
        return {".".join(path.relative_to(folder).with_suffix("").parts): path.read_text(encoding="utf-8")
                for path in folder.rglob("*.lua")}

    def test_where_they_go(self):
        result = self.ok(self.p.run("types"))
        folder = self.p.folder / ".workers" / "types"
        count = len([path for path in folder.rglob("*.*") if path.is_file()])
        self.assertEqual([path.name for path in folder.rglob("*.ts")], ["workers-view.d.ts"])
        self.assertEqual(result.stdout, f"Wrote {count} files to {self.p.folder.resolve()}/.workers/types\n")
        self.assertEqual(stat.S_IMODE(folder.parent.stat().st_mode), 0o700, "the folder that will hold secrets")
        (folder / "workers" / "http.lua").write_text("old\n" * 10000)
        self.ok(self.p.run("types"))
        self.assertIn("---@class workers.http\n", (folder / "workers" / "http.lua").read_text())
        self.assertNotIn("old", (folder / "workers" / "http.lua").read_text())
        result = self.ok(self.p.run("types", "a/b/c/"))
        self.assertEqual(result.stdout, f"Wrote {count} files to a/b/c/\n")
        self.assertEqual(len([path for path in (self.p.folder / "a/b/c").rglob("*.*") if path.is_file()]), count)
        self.assertFalse(self.p.store.exists())

    def test_where_they_cannot_go(self):
        self.p.write("file", "text")
        for folder, message in (("file", "Not a directory"), ("file/x", "cannot make the folder file"),
                                ("x" * 300, "cannot make the folder xxx"), ("y/" * 3000, "too long")):
            result = self.p.run("types", folder)
            self.assertEqual((result.returncode, result.stdout), (1, ""), folder[:20])
            self.assertIn(message, result.stderr)
        self.assertEqual(self.p.run("types", "").returncode, 2)
        (self.p.folder / "workers.yaml").unlink()
        result = self.p.run("types")
        self.assertEqual(result.returncode, 1)
        self.assertIn("there is no workers.yaml here or in a folder above", result.stderr)
        self.assertFalse((self.p.folder / ".workers").exists())

    def test_a_new_project_has_them(self):
        self.ok(self.p.run("new", "demo"))
        demo = self.p.folder / "demo"
        settings = json.loads((demo / ".luarc.json").read_text())
        self.assertIn(".workers/types", settings["workspace.library"])
        self.assertEqual(set(module_names()), {".".join(path.relative_to(demo / ".workers/types").with_suffix("").parts)
                                               for path in (demo / ".workers/types").rglob("*.lua")})

    def test_every_module_has_a_file_that_is_lua(self):
        written = self.written()
        self.assertEqual(sorted(written), module_names())
        compiler = shutil.which("luac5.4") or shutil.which("luac")
        if compiler is None:
            raise unittest.SkipTest("luac5.4 is not installed (package lua5.4)")
        for name, text in written.items():
            self.assertTrue(text.startswith(f"---@meta {name}\n"), name)
            result = subprocess.run([compiler, "-p", "-"], input=text, capture_output=True, encoding="utf-8")
            self.assertEqual((result.returncode, result.stderr), (0, ""), name)

    def seen_by_scripts(self):
        """Module name -> what a script finds in it, name -> type."""
        # workers.test is for tests alone: tests/docs/test_docs.py looks into it.
        names = ", ".join(json.dumps(name) for name in module_names() if not name.startswith("workers.test"))
        self.p.write("main.lua", f"""
            local workers = require "workers"
            local worker, found = workers.new(), {{}}
            for _, name in ipairs {{ {names} }} do
              found[name] = workers.object {{}}
              for key, value in next, require(name) do found[name][key] = type(value) end
            end
            for _, part in ipairs {{ "schema", "builder", "j" }} do found.workers[part] = type(workers[part]) end
            worker:tool("list", {{ title = "t", description = "d", schema = workers.j.object {{}},
              execute = function() return found end }})
            return worker""")
        return json.loads(self.ok(self.p.run("exec", "list")).stdout)

    def test_every_function_that_a_script_sees_is_defined(self):
        written, seen = self.written(), self.seen_by_scripts()
        functions = 0
        for name, fields in seen.items():
            text = written[name]
            self.assertNotIn("---@field [string] any\n", text, f"give {name} a struct script_docs in modules.c")
            if name == "cjson.safe":
                text += written["cjson"]  # whose fields it inherits
            classes = re.findall(r"---@class ([\w.]+)[^\n]*\n((?:---@field [^\n]*\n)*)", text)
            declared = {field for owner, block in classes if owner in (name, "cjson")
                        for field in re.findall(r"---@field (\w+)", block)}
            declared |= {a or b or c for a, b, c in re.findall(r'^(?:function \w+\.(\w+)\(|\w+\.(\w+) =|\w+\["(\w+)"\] =)',
                                                             text, re.M)}
            for field, kind in fields.items():
                self.assertIn(field, declared, f"the definition of {name} does not have {field}, a {kind}")
                functions += kind == "function"
            if not (REPOSITORY / "lua" / pathlib.Path(*name.split("."))).with_suffix(".lua").exists():
                self.assertEqual(declared - set(fields), set(), f"the definition of {name} has what there is not")
        self.assertGreater(functions, 100)

    def test_annotations_are_well_formed(self):
        written = self.written()
        text = "\n".join(written.values())
        defined = set(re.findall(r"^---@(?:class|alias) ([\w.]+)", text, re.M))
        defined |= {f"workers.{field}" for field in self.fields(text, "workers")}
        lines = [(name, line) for name, body in written.items() for line in body.split("\n") if line.startswith("---@")]
        for name, line in lines:
            with self.subTest(module=name, line=line):
                tag, _, rest = line[4:].partition(" ")
                self.assertIn(tag, TAGS)
                self.assertEqual(rest, rest.rstrip())
                for opening, closing in ("()", "{}", "[]", "<>"):
                    self.assertEqual(rest.count(opening), rest.count(closing), opening)
                if tag == "field" and not rest.startswith("["):
                    self.assertRegex(rest, r"^\w+\?? \S")
                if " fun" in rest:
                    self.assertRegex(rest, r"fun\(")
        for name, line in lines:
            if line.startswith(("---@meta", "---@class", "---@generic")):
                continue
            for found in re.findall(r"\bworkers(?:\.\w+)+\b", line):
                self.assertIn(found, defined, f"{name}: {line}")

    def fields(self, text, name):
        """The fields of a class."""
        block = re.search(rf"^---@class {re.escape(name)}(?=[\s:])[^\n]*\n((?:---@field [^\n]*\n)*)", text, re.M)
        return re.findall(r"---@field (\w+)", block[1])

    def said(self, call):
        """What the program says of a call at the top of a script, or in a tool when it is one of http."""
        declare = f"local workers = require 'workers' local http, j = require 'workers.http', workers.j local worker = workers.new() "
        if call.startswith("http"):
            call = f"worker:tool('t', {{ title = 't', description = 'd', schema = j.object {{}}, execute = function() {call} end }})"
        self.p.write("main.lua", declare + call + " return worker")
        return self.p.run("exec", "t").stderr

    def test_methods_and_options_are_those_of_the_program(self):
        written = self.written()
        text = "\n".join(written.values())
        methods = re.search(r"it has ([\w, ]+)", self.said("worker:zzzzzzzzzz()"))[1].replace(" and ", ", ").split(", ")
        # The original's name of view is known, and not offered.
        self.assertEqual([field for field in self.fields(text, "workers.Worker") if field != "customBlock"], methods)
        for method in methods:
            if method == "onAlert":  # it takes a function, no options
                continue
            known = re.search(r"the options are: ([\w, ]+)", self.said(f"worker:{method}('K', {{ zzzzzzzzzz = 1 }})"))
            self.assertEqual(sorted(self.fields(text, f"workers.{method.capitalize()}Options")), sorted(known[1].split(", ")), method)
        known = re.search(r"the options are: ([\w, ]+)", self.said("http.get('http://localhost', { zzzzzzzzzz = 1 })"))
        self.assertEqual(sorted(self.fields(text, "workers.http.Options")), sorted(known[1].split(", ")))

    def test_help_of_functions_is_one_sentence_without_its_stop(self):
        for name, text in self.written().items():
            if (REPOSITORY / "lua" / pathlib.Path(*name.split("."))).with_suffix(".lua").exists():
                continue
            for field, rest in re.findall(r"^---@field (\w+) (fun\(.*)$", text, re.M):
                self.assertNotRegex(rest, r"[.]$", f"{name}.{field}")


if __name__ == "__main__":
    main()
