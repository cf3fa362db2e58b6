"""npm's certified oidc-provider, in a process of its own, and people who sign in to it and say yes or no."""
import http.cookiejar
import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import npm

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "conformance/oauth/provider.mjs"
SECRETS = {"BODY_SECRET": "secret of body", "BASIC_SECRET": "s:e%c r&t+e", "MACHINE_SECRET": "secret of machine"}


class Provider:
    def __init__(self):
        self.process = subprocess.Popen([npm.node(), SCRIPT, npm.ensure()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = next(line.strip() for line in self.process.stdout if line.startswith("http"))

    def close(self):
        self.process.kill()
        self.process.communicate()

    def control(self, **wanted):
        with urllib.request.urlopen(urllib.request.Request(self.url + "/control", json.dumps(wanted).encode()), timeout=30) as answer:
            return json.loads(answer.read())

    def reset(self):
        self.control(requests=[], fail=0, delay=0, drop=0, lifetime=3600)

    def requests(self):
        return self.control()["requests"]

    def who(self, token):
        """Whom the access token stands for, or the status that it is refused with."""
        request = urllib.request.Request(self.url + "/me", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())["sub"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code


def visit(address, yes=True):
    """A person in a browser: signs in and gives access. The last page: its address, its text and its headers."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    page = browser.open(address, timeout=30)
    for _ in range(5):
        text = page.read().decode()
        form = re.search(r'action="([^"]*)" method="post"', text)
        if form is None:
            page.close()
            return page.url, text, page.headers
        prompt = re.search(r'name="prompt" value="(\w+)"', text)[1]
        target = form[1].replace("&amp;", "&")
        if not yes and prompt == "consent":
            target = re.search(r'href="([^"]*/abort)"', text)[1]
            try:
                page = browser.open(urllib.parse.urljoin(page.url, target), timeout=30)
            except urllib.error.HTTPError as error:
                page = error
            continue
        given = {"prompt": prompt} | ({"login": "ada", "password": "x"} if prompt == "login" else {})
        try:
            page = browser.open(urllib.parse.urljoin(page.url, target), urllib.parse.urlencode(given).encode(), timeout=30)
        except urllib.error.HTTPError as error:
            page = error
    raise AssertionError("the browser goes in circles")
