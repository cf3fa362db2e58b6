// Looks at views in Chromium, for test_views.py: reads one JSON request per line, answers one per line. It asserts nothing.
import { createRequire } from "node:module";
import readline from "node:readline";

const [, , packages, executablePath, ...args] = process.argv;
const { chromium } = createRequire(`${packages}/`)("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });
const pages = new Map();
const WAIT = { timeout: 20000 };

async function frameOf(page) {
  return (await (await page.waitForSelector("iframe", WAIT)).contentFrame());
}

const actions = {
  async open({ id, url, theme = "light", width = 1000, height = 760 }) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
    const page = await context.newPage();
    page.said = [];
    page.on("console", (message) => page.said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => page.said.push(`error: ${error.message}`));
    pages.set(id, page);
    await page.goto(url, WAIT);
    return page.url();
  },
  async goto({ page, url }) {
    await page.goto(url, WAIT);
    return page.url();
  },
  // Waits until the expression, evaluated in the frame (or the page around it), is true.
  async until({ page, expression, outside }) {
    const deadline = Date.now() + WAIT.timeout;
    for (let value; ;) {
      try {
        value = await (outside ? page : await frameOf(page)).evaluate(expression);
      } catch (error) {
        value = undefined; // the frame is being loaded
      }
      if (value) {
        return value;
      }
      if (Date.now() > deadline) {
        throw new Error(`${expression} did not come true; said: ${JSON.stringify(page.said.slice(-5))}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  async evaluate({ page, expression, outside }) {
    return (outside ? page : await frameOf(page)).evaluate(expression);
  },
  async fill({ page, selector, text, outside }) {
    await (outside ? page : await frameOf(page)).fill(selector, text, WAIT);
  },
  async select({ page, selector, text }) {
    await (await frameOf(page)).selectOption(selector, text, WAIT);
  },
  // The next requests of that kind fail as when the server is not there.
  async refuse({ page, pattern, times }) {
    await page.route(pattern, (route) => route.abort(), { times });
  },
  // They wait until they are let go; letting them go waits for their answers.
  async hold({ page, pattern }) {
    page.held = [];
    await page.route(pattern, (route) => (page.held ? page.held.push(route) : route.continue()));
  },
  async held({ page }) {
    return page.held.length;
  },
  async letGo({ page }) {
    const routes = page.held;
    page.held = null;
    await Promise.all(routes.map((route) => route.continue()));
    await Promise.all(routes.map((route) => route.request().response()));
  },
  async click({ page, selector, outside }) {
    await (outside ? page : await frameOf(page)).click(selector, WAIT);
  },
  async theme({ page, theme }) {
    await page.emulateMedia({ colorScheme: theme });
  },
  async screenshot({ page, path }) {
    await page.screenshot({ path });
  },
  async said({ page }) {
    return page.said;
  },
  async frames({ page }) {
    return page.frames().map((frame) => frame.url());
  },
  async close({ id }) {
    await pages.get(id).context().close();
    pages.delete(id);
  },
};

console.log(JSON.stringify({ version: browser.version() }));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { action, ...request } = JSON.parse(line);
  try {
    const result = await actions[action]({ page: pages.get(request.id), ...request });
    console.log(JSON.stringify({ result: result ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
await browser.close();
