// The first script of every page of a view (server/view_guard.h says what for). A script before it may have declared
// functions of any name: what is used here has to be a property of the thing itself, or this fails, and no script runs.
for (const name of Object.getOwnPropertyNames(window)) {
  if (name.includes("RTC")) {
    Object.defineProperty(window, name, { value: undefined, writable: false, configurable: false });
  }
}
{
  const own = (object, name) => Object.getOwnPropertyDescriptor(object, name);
  const apply = own(Reflect, "apply").value;
  const dispatch = own(EventTarget.prototype, "dispatchEvent").value;
  const type = own(Event.prototype, "type").get;
  const keys = (event) => ["ctrlKey", "shiftKey", "altKey", "metaKey"].map((name) => own(event.prototype, name).get);
  const mouse = [...keys(MouseEvent), own(MouseEvent.prototype, "button").get];
  const keyboard = keys(KeyboardEvent);
  const aMouse = new MouseEvent("click");
  const aKeyboard = new KeyboardEvent("keypress");
  // Whether one of them is true of the event; not if it is of another kind than the sample.
  const isAny = (getters, sample, event) => {
    for (let i = 0; i < getters.length; i++) {
      let value;
      try {
        value = apply(getters[i], event, []);
      } catch {
        apply(getters[i], sample, []); // throws as well if it was for want of stack
        return false;
      }
      if (value) {
        return true;
      }
    }
    return false;
  };
  const opensTab = (event) => {
    const name = apply(type, event, []);
    return (name === "click" || name === "auxclick" || name === "keypress") &&
      (isAny(mouse, aMouse, event) || isAny(keyboard, aKeyboard, event));
  };
  EventTarget.prototype.dispatchEvent = function dispatchEvent(event) {
    if (opensTab(event)) {
      throw new Error("a view's scripts may not click with Ctrl, Shift, Alt, Meta or another button");
    }
    return apply(dispatch, this, [event]);
  };
}
Object.defineProperty(Function.prototype, "workersView", { value() {} });
