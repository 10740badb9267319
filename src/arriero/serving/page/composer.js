// The box to write in: sends, stops, grows with its text, and keeps a draft over a reload.

import { tab } from "./store.js";

const byId = (id) => document.getElementById(id);
// Where there is no keyboard with Shift, Enter is the only way to a new line.
const hasKeyboard = matchMedia("(hover: hover), (pointer: fine)");

/** Whether a key press means "send", and not a new line or a choice of the input method. */
export function isSendKey(event) {
  // Some browsers report the Enter that ends a composition only as key code 229.
  if (event.isComposing || event.keyCode === 229) return false;
  return event.key === "Enter" && !event.shiftKey && hasKeyboard.matches;
}

/** `actions`: send(text), stop(). */
export function createComposer(actions) {
  const form = byId("composer");
  const area = byId("said");
  let id = null;

  byId("hint").textContent = hasKeyboard.matches
    ? "Enter sends, Shift+Enter begins a line. A model can be wrong."
    : "A model can be wrong.";
  area.enterKeyHint = hasKeyboard.matches ? "send" : "enter";

  function fit() {
    // What is empty is free to send nothing; the look of the button says so.
    byId("send").classList.toggle("idle", !area.value.trim());
    if (CSS.supports("field-sizing", "content")) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }

  function send() {
    const text = area.value.trim();
    if (text && actions.send(text)) {
      area.value = "";
      tab.set(`draft.${id}`, "");
      fit();
    }
    focus();
  }

  area.addEventListener("input", () => {
    tab.set(`draft.${id}`, area.value);
    fit();
  });
  area.addEventListener("keydown", (event) => {
    if (!isSendKey(event)) return;
    event.preventDefault();
    send();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  byId("stop").addEventListener("click", () => {
    actions.stop();
    focus();
  });

  /** Back to writing; on a phone that would bring up the keyboard unasked. */
  function focus() {
    if (hasKeyboard.matches) area.focus();
  }

  return {
    focus,
    /** Shows the draft of another conversation. */
    show(newId) {
      id = newId;
      area.value = tab.get(`draft.${id}`);
      fit();
    },
    setRunning(isRunning) {
      byId("stop").hidden = !isRunning;
      byId("send").hidden = isRunning;
    },
  };
}
