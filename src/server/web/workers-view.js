// What a view of workers can ask. It runs in a frame that reaches nothing but the page around it, which asks the server
// with the viewer's token. Types are in workers-view.d.ts (workers types).

export class ViewError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ViewError";
    this.code = code;
  }
}

// ---- the channel ----

let lastId = 0;
const pending = new Map(); // id -> { resolve, reject }
const changes = new EventTarget(); // of type "changed:KEY"

const connected = new Promise((resolve, reject) => {
  if (window.parent === window) {
    reject(new ViewError("not_framed", "open the view through workers: workers view list prints its address"));
    return;
  }
  addEventListener("message", function welcome(event) {
    if (event.source !== window.parent || event.data?.workers !== "welcome") {
      return;
    }
    removeEventListener("message", welcome);
    const port = event.ports[0];
    port.onmessage = ({ data }) => receive(data);
    setTheme(event.data.theme);
    resolve(port);
  });
  window.parent.postMessage({ workers: "hello" }, "*");
});
connected.catch(() => {}); // whoever asks is told

function receive(message) {
  if (message.event === "theme") {
    setTheme(message.theme);
  } else if (message.event === "changed") {
    changes.dispatchEvent(new CustomEvent(`changed:${message.dataSource}`, { detail: message.revision }));
  } else {
    const waiter = pending.get(message.id);
    pending.delete(message.id);
    if (message.error) {
      waiter?.reject(new ViewError(message.error.code, message.error.message));
    } else {
      waiter?.resolve(message.result);
    }
  }
}

async function ask(method, params) {
  const port = await connected;
  return new Promise((resolve, reject) => {
    const id = ++lastId;
    pending.set(id, { resolve, reject });
    port.postMessage({ id, method, params });
  });
}

// ---- data ----

export const describe = () => ask("describe");

export const queryDataSource = (dataSource, query = {}) => ask("query", { ...query, dataSource });

// One question at a time: what changes while one is under way makes one more, however much it was.
export function subscribe(dataSource, query, onRows, onError = (error) => console.error(error)) {
  let stopped = false;
  let busy = false;
  let again = false;
  let shown = null; // revision
  async function refresh() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    do {
      again = false;
      try {
        const answer = await queryDataSource(dataSource, query);
        if (!stopped) {
          shown = answer.revision;
          onRows(answer);
        }
      } catch (error) {
        if (!stopped) {
          onError(error);
        }
      }
    } while (again && !stopped);
    busy = false;
  }
  const onChange = (event) => {
    if (event.detail !== shown) {
      refresh();
    }
  };
  changes.addEventListener(`changed:${dataSource}`, onChange);
  ask("watch").then(refresh, refresh); // changes are told from before the first rows on
  return () => {
    stopped = true;
    changes.removeEventListener(`changed:${dataSource}`, onChange);
  };
}

// ---- light and dark ----

let current = new URLSearchParams(location.hash.slice(1)).get("theme") === "dark" ? "dark" : "light";
const themeListeners = new Set();
document.documentElement.dataset.theme = current;

function setTheme(name) {
  const changed = name !== current;
  current = name;
  document.documentElement.dataset.theme = name;
  if (changed) {
    themeListeners.forEach((listener) => listener(name));
  }
}

export const theme = {
  get current() {
    return current;
  },
  subscribe(listener) {
    themeListeners.add(listener);
    return () => themeListeners.delete(listener);
  },
};
