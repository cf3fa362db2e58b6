// The page around a view. It has the viewer's token and asks the server; the view, in its frame, has neither, and says
// what it wants to know over a channel. What it may know is decided by the server, from what the worker declares.

const POLL_MS = 1000;
const QUERIES_MAX = 6; // under way at once
const WAITING_MAX = 200;
const DOUBT_MS = 5000; // until every process of the server knows a new token, or what has just been loaded knows an old one

const [, , worker, key] = location.pathname.split("/");
const api = `/api/v1/workers/${worker}/views/${key}`;
const tokenName = `workers:token:${worker}`;
const themeName = "workers:theme";
const element = (id) => document.getElementById(id);

// ---- the token: from the address, once, then kept as long as this tab ----

let token = null;
let isGood = false; // it was, when it was used last
let doubtUntil = 0; // so long it is tried again when it is refused

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) {
    return false;
  }
  token = given;
  doubtUntil = performance.now() + DOUBT_MS;
  sessionStorage.setItem(tokenName, token);
  history.replaceState(null, "", location.pathname + location.search);
  return true;
}
if (!takeToken()) {
  token = sessionStorage.getItem(tokenName);
  doubtUntil = performance.now() + DOUBT_MS;
}

class Failure extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(method, path, body) {
  const used = token;
  const text = body && JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: { authorization: `Bearer ${used}`, ...(text && { "content-type": "application/json" }) },
      body: text,
    });
  } catch {
    throw new Failure(0, "unreachable", "the server cannot be reached");
  }
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401 && token && used !== token) {
      return ask(method, path, body); // there is another one meanwhile
    }
    if (answer.status === 401 && isGood) {
      isGood = false;
      doubtUntil = performance.now() + DOUBT_MS;
    }
    if (answer.status === 401 && performance.now() < doubtUntil) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      return ask(method, path, body);
    }
    const error = value.error ?? {};
    throw new Failure(answer.status, error.code ?? "failed", error.message ?? `the server answered ${answer.status}`);
  }
  isGood = true;
  return value;
}

// ---- light and dark ----

const dark = matchMedia("(prefers-color-scheme: dark)");
const themes = ["auto", "light", "dark"];
let chosen = localStorage.getItem(themeName);
if (!themes.includes(chosen)) {
  chosen = "auto";
}
const theme = () => (chosen === "auto" ? (dark.matches ? "dark" : "light") : chosen);

function showTheme() {
  document.documentElement.dataset.theme = theme();
  element("theme").textContent = `Theme: ${chosen}`;
  channel?.postMessage({ event: "theme", theme: theme() });
}

// ---- the frame, and what it asks ----

let frame = null;
let channel = null;
let description = null;
let revisions = null; // of each data source, as they were seen last
let watched = false;
let mark = null; // of the view, as it is shown
let isAsking = false; // for a token
let underWay = 0;
const waiting = [];

const methods = {
  async describe() {
    return description;
  },
  query: (params) => ask("POST", `${api}/query`, params),
  async watch() {
    watched = true;
    revisions ??= await ask("GET", `${api}/revisions`);
    return revisions;
  },
};

async function answer(port, { id, method, params }) {
  underWay++;
  try {
    if (!Object.hasOwn(methods, method)) {
      throw new Failure(400, "unknown", `there is no method ${method}`);
    }
    port.postMessage({ id, result: await methods[method](params) });
  } catch (error) {
    port.postMessage({ id, error: { code: error.code ?? "failed", message: error.message } });
    if (error.status === 0 || error.status >= 500) {
      revisions = null; // it is told again of what it may have missed
    }
    noteFailure(error);
  } finally {
    underWay--;
    if (waiting.length > 0) {
      answer(...waiting.shift());
    }
  }
}

function onRequest(port, request) {
  if (typeof request?.id !== "number" || typeof request.method !== "string") {
    return;
  }
  if (underWay < QUERIES_MAX) {
    answer(port, request);
  } else if (waiting.length < WAITING_MAX) {
    waiting.push([port, request]);
  } else {
    port.postMessage({ id: request.id, error: { code: "too_many", message: "too many requests are under way" } });
  }
}

// The view says hello when its script runs, at every load of the frame.
addEventListener("message", (event) => {
  if (!frame || event.source !== frame.contentWindow || event.data?.workers !== "hello") {
    return;
  }
  channel?.close();
  waiting.length = 0; // of the page that was there before
  const { port1, port2 } = new MessageChannel();
  channel = port1;
  watched = false;
  port1.onmessage = (message) => onRequest(port1, message.data);
  event.source.postMessage({ workers: "welcome", theme: theme() }, "*", [port2]);
});

function showFrame(files) {
  frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = description.name;
  frame.src = `${location.pathname}${files}#theme=${theme()}`;
  channel?.close();
  channel = null;
  waiting.length = 0;
  revisions = null;
  watched = false;
  element("main").replaceChildren(frame);
}

// ---- what changes ----

function noteFailure(error) {
  if (error.status === 401 && frame) {
    askForToken("The token is not good any more.");
  } else if (error.status === 0) {
    element("status").textContent = "The server cannot be reached; trying again…";
  }
}

function tellChanges(seen) {
  for (const [source, revision] of Object.entries(seen)) {
    if (revisions?.[source] !== revision) {
      channel?.postMessage({ event: "changed", dataSource: source, revision });
    }
  }
  revisions = seen;
}

async function look() {
  if (isAsking || document.hidden) {
    return;
  }
  if (!frame) {
    await openView();
    return;
  }
  try {
    const opened = await ask("POST", "open");
    if (opened.mark !== mark) {
      await show(opened);
    } else if (watched) {
      tellChanges(await ask("GET", `${api}/revisions`));
    }
    element("status").textContent = "";
  } catch (error) {
    noteFailure(error);
    if (error.status > 401) {
      element("status").textContent = error.message;
    }
  }
}

async function keepLooking() {
  await look();
  setTimeout(keepLooking, POLL_MS);
}

// ---- the beginning ----

function readableKey() {
  try {
    return decodeURIComponent(key);
  } catch {
    return key; // an address that was typed, with a "%" as it is
  }
}

function askForToken(why) {
  isAsking = true;
  token = null;
  frame = null;
  channel?.close();
  channel = null;
  waiting.length = 0;
  sessionStorage.removeItem(tokenName);
  const main = element("main");
  main.replaceChildren(element("ask").content.cloneNode(true));
  element("why").textContent = why;
  element("key").textContent = readableKey();
  element("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    isGood = false;
    doubtUntil = 0;
    token = element("token").value.trim();
    sessionStorage.setItem(tokenName, token);
    openView();
  });
  element("token").focus();
}

async function show(opened) {
  description = await ask("GET", api);
  document.title = description.name;
  element("name").textContent = description.name;
  showFrame(opened.files);
  mark = opened.mark; // last: what failed is tried again
}

async function openView() {
  isAsking = false;
  if (!token) {
    askForToken("This view shows data of a worker. Who looks at it needs a token.");
    return;
  }
  try {
    if (!/^[!-~]+$/.test(token)) {
      throw new Failure(401, "unauthorized", "no token has such characters"); // nor can a header have them
    }
    await show(await ask("POST", "open"));
    element("status").textContent = "";
  } catch (error) {
    if (error.status === 401) {
      askForToken("This token is not good for the worker.");
    } else {
      element("status").textContent = error.message; // keepLooking tries again
    }
  }
}

dark.addEventListener("change", showTheme);
element("theme").addEventListener("click", () => {
  chosen = themes[(themes.indexOf(chosen) + 1) % themes.length];
  localStorage.setItem(themeName, chosen);
  showTheme();
});
document.addEventListener("visibilitychange", look);
addEventListener("hashchange", () => takeToken() && openView());
showTheme();
await openView();
keepLooking();
