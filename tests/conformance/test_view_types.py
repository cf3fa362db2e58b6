#!/usr/bin/env python3
"""TypeScript's compiler beside what views import: the templates' scripts and the page's example fit the types, and misuse does not."""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import npm  # noqa: E402
from harness import REPOSITORY, TestCase, main  # noqa: E402

MISUSES = {
    'queryDataSource("tasks", { limit: "10" });': "'string' is not assignable to type 'number'",
    'queryDataSource("tasks", { filter: { property: "name", is: 1 } });': "'is' does not exist in type 'Filter'",
    'queryDataSource("tasks", { sorts: [{ property: "name", direction: "up" }] });': '"up"',
    "queryDataSource();": "Expected 1-2 arguments",
    'subscribe("tasks", {}, (rows) => rows.map(String));': "'map' does not exist on type 'Answer'",
    'theme.current = "dark";': "read-only property",
    'theme.subscribe((name) => name === "blue");': "have no overlap",
}


class ViewTypes(TestCase):
    def setUp(self):
        self.compiler = npm.ensure() / "node_modules/typescript/bin/tsc"
        self.p = self.project()

    def make(self, template):
        self.ok(self.p.run("new", template.replace("/", "-"), "--template", template, "--no-git"))
        [settings] = (self.p.folder / template.replace("/", "-")).glob("views/*/jsconfig.json")
        return settings.parent

    def said(self, folder):
        return subprocess.run(["node", self.compiler, "--noEmit", "-p", folder / "jsconfig.json"], capture_output=True, text=True,
                              timeout=120).stdout

    def test_templates(self):
        for template in ("views/empty", "views/table"):
            self.assertEqual(self.said(self.make(template)), "")

    def test_the_example_of_the_page(self):
        folder = self.make("views/empty")
        [example] = re.findall(r"^```js\n(.*?)^```$", (REPOSITORY / "docs/views.md").read_text(encoding="utf-8"), re.M | re.S)
        (folder / "example.js").write_text(example)
        self.assertEqual(self.said(folder), "")

    def test_misuse(self):
        folder = self.make("views/empty")
        for line in MISUSES:
            (folder / "app.js").write_text('import { queryDataSource, subscribe, theme } from "./workers-view.js";\n'
                                           "export { queryDataSource, subscribe, theme };\n" + line + "\n")
            said = self.said(folder)
            self.assertIn("app.js(3,", said, line)
            self.assertIn(MISUSES[line], said, line)


if __name__ == "__main__":
    main()
