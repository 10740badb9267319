// The two dialogs, settings and API key, and the choice of colours.

import { cleanSettings, DEFAULTS } from "./sampling.js";
import { readSetting, tab, writeSetting } from "./store.js";

const byId = (id) => document.getElementById(id);

export function readSettings() {
  return cleanSettings(readSetting("sampling") ?? DEFAULTS);
}

/** Asks for the system prompt and the sampling settings; calls `save(system)` if they are kept. */
export function openSettings(system, save) {
  const form = byId("settings-form");
  fill(form, readSettings());
  form.elements.system.value = system;
  byId("key-kept").hidden = !tab.get("key");
  byId("forget-key").onclick = () => {
    tab.set("key", "");
    byId("key-kept").hidden = true;
  };
  byId("defaults").onclick = () => fill(form, DEFAULTS);
  ask(byId("settings"), () => {
    const values = Object.fromEntries(new FormData(form));
    writeSetting("sampling", cleanSettings(values));
    save(values.system.trim());
  });
}

function fill(form, settings) {
  for (const name of Object.keys(DEFAULTS)) form.elements[name].value = settings[name] ?? "";
}

/** Asks for an API key, kept in this tab only, and calls `go` once there is one. */
export function askKey(why, go) {
  const form = byId("key-form");
  form.reset();
  byId("key-why").textContent = why;
  ask(byId("key"), () => {
    // What a header cannot hold would fail before it reaches the server.
    tab.set("key", form.elements.key.value.replace(/[^\x21-\x7e]/g, ""));
    form.reset();
    go();
  });
}

/** Opens a dialog, which keeps the focus inside and gives it back; Escape cancels. */
function ask(dialog, save) {
  if (dialog.open) return;
  dialog.returnValue = "cancel";
  dialog.querySelector("form").onsubmit = (event) => {
    event.preventDefault(); // nothing is ever sent: a policy against forms may stand
    dialog.close("save");
  };
  dialog.querySelector(".cancel").onclick = () => dialog.close("cancel");
  dialog.onclose = () => {
    if (dialog.returnValue === "save") save();
  };
  dialog.showModal();
}

/** Lets the switch at the foot of the list choose light, dark, or what the system says. */
export function bindTheme() {
  const root = document.documentElement;
  const chosen = root.dataset.theme ?? "system";
  for (const radio of byId("theme").querySelectorAll("input")) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => {
      if (radio.value === "system") delete root.dataset.theme;
      else root.dataset.theme = radio.value;
      try {
        localStorage.setItem("arriero.theme", radio.value);
      } catch {
        // Then the choice lasts until the next reload.
      }
    });
  }
}
