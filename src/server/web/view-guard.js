// The first script of every page of a view (server/view_guard.h says what for).
for (const name of Object.getOwnPropertyNames(window)) {
  if (name.includes("RTC")) {
    Object.defineProperty(window, name, { value: undefined, writable: false, configurable: false });
  }
}
Object.defineProperty(Function.prototype, "workersView", { value() {} });
