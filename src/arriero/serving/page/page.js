// The page: which conversation is shown, and what its buttons do.

import { listModels } from "./api.js";
import { ask, askWithLess, running, stop, troubles } from "./answering.js";
import { createComposer, isSendKey } from "./composer.js";
import { make, newId } from "./dom.js";
import { createLog } from "./log.js";
import { visible } from "./render.js";
import { followEnd } from "./scrolling.js";
import { askKey, bindTheme, openSettings, readSettings } from "./settings.js";
import { createSidebar } from "./sidebar.js";
import * as store from "./store.js";
import { findMessage, pathOf, putMessage, rowOf, titleOf, turnTo } from "./tree.js";

const byId = (id) => document.getElementById(id);
let current = null; // id of the conversation shown
let model = null; // name of the model that answers, once known

function announce(text) {
  const announcer = byId("announcer");
  // The same words twice are two announcements.
  announcer.replaceChildren(make("p", {}, visible(text)));
}

const request = () => ({ getModel, settings: readSettings(), key: store.tab.get("key") });

const answerPage = {
  onBegin(id) {
    redraw();
    if (id === current) scrolling.follow();
  },
  onText(id, text) {
    if (id !== current) return;
    log.addText(text);
    frame ??= requestAnimationFrame(() => {
      frame = null;
      log.flush();
    });
  },
  onEnd(id, message, end) {
    redraw();
    if (id !== current) return;
    const trouble = troubles.get(id);
    // Another server may come up in its place, with another model.
    if (trouble) model = null;
    if (trouble) announce(trouble.message);
    else if (end === "stopped") announce("Stopped.");
    else announce(`The model: ${message.content || "an empty answer."}`);
    if (trouble?.kind === "key") enterKey();
  },
};
let frame = null;

/** Says something at the end; says false while an answer is coming. */
function say(text) {
  if (running.has(current)) return false;
  store.update(current, (conversation) => {
    const last = pathOf(conversation).at(-1);
    // The roles take turns: what had no answer becomes an earlier version of this message.
    const parent = last?.role === "user" ? last.parent : (last?.id ?? null);
    putMessage(conversation, userMessage(parent, text));
  });
  troubles.delete(current);
  answer();
  return true;
}

const userMessage = (parent, content) => ({
  id: newId(),
  parent,
  role: "user",
  content: content.toWellFormed?.() ?? content,
});

/** Asks for an answer: the one that failed, or one to the last question shown. */
function answer(how = ask) {
  const last = pathOf(store.get(current)).findLast((message) => message.role === "user");
  how(current, troubles.get(current)?.parent ?? last.id, request(), answerPage);
}

const actions = {
  ask: (text) => {
    say(text);
    composer.focus();
  },
  retry() {
    answer();
    composer.focus();
  },
  askWithLess() {
    answer(askWithLess);
    composer.focus();
  },
  enterKey,
  regenerate(id) {
    const { parent } = findMessage(store.get(current), id);
    ask(current, parent, request(), answerPage);
    composer.focus();
  },
  turn(id) {
    const label = document.activeElement?.getAttribute("aria-label");
    troubles.delete(current);
    store.update(current, (conversation) => turnTo(conversation, id));
    const buttons = [...log.articleOf(id).querySelectorAll(".tools button:not(:disabled)")];
    (buttons.find((button) => button.ariaLabel === label) ?? buttons[0])?.focus();
  },
  beginEdit(id) {
    log.setEditing(id);
    redraw();
    const area = log.articleOf(id).querySelector("textarea");
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  },
  endEdit(id) {
    log.setEditing(null);
    redraw();
    log.articleOf(id)?.querySelector('[aria-label="Edit"]')?.focus();
  },
  edit(id, text) {
    if (running.has(current)) return;
    log.setEditing(null);
    store.update(current, (conversation) => {
      putMessage(conversation, userMessage(findMessage(conversation, id).parent, text));
    });
    troubles.delete(current);
    answer();
    composer.focus();
  },
  showAll() {
    store.update(current, (conversation) => {
      conversation.first = null;
    });
    composer.focus();
  },
  openSettings: showSettings,
  announce,
  isSendKey,
};

function showSettings() {
  openSettings(store.get(current)?.system ?? "", (system) => {
    if (system === (store.get(current)?.system ?? "")) return;
    store.update(current, (conversation) => {
      conversation.system = system;
    });
  });
}

function enterKey() {
  const hadKey = store.tab.get("key") !== "";
  const why = hadKey ? "The server did not accept the key." : "The server asks for an API key.";
  askKey(why, async () => {
    if (troubles.get(current)?.kind === "key") answer();
    else await meetModel();
  });
}

async function getModel() {
  model ??= (await listModels(store.tab.get("key")))[0];
  byId("model").textContent = visible(model);
  return model;
}

/** Learns the model's name; what is wrong with the server shows in its place. */
async function meetModel() {
  try {
    await getModel();
  } catch (trouble) {
    byId("model").textContent = visible(trouble.message);
    if (trouble.kind === "key") enterKey();
  }
  redraw();
}

function exportRow() {
  const conversation = store.get(current);
  const row = JSON.stringify(rowOf(conversation)) + "\n";
  const url = URL.createObjectURL(new Blob([row], { type: "application/json" }));
  const name = titleOf(conversation).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  make("a", { href: url, download: `${name.slice(0, 60) || "conversation"}.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function redraw() {
  const conversation = store.get(current);
  const title = conversation ? visible(titleOf(conversation)) : "New conversation";
  const run = running.get(current);
  byId("title").textContent = title;
  document.title = conversation ? `${title} · arriero` : "arriero";
  byId("export").disabled = !conversation?.messages.length;
  byId("banner").hidden = !store.isFull();
  byId("banner").textContent = store.isFull()
    ? "The browser has no room left: what is said now goes when this page closes. " +
      "Export what you need, or delete old conversations."
    : "";
  log.draw(current, conversation, { run, trouble: troubles.get(current), model });
  sidebar.draw(current, (id) => running.has(id));
  composer.setRunning(run !== undefined);
}

/** Shows the conversation that the address names, or a new one. */
function show() {
  const named = location.hash.slice(1);
  const id = /^[a-z0-9]{12}$/.test(named) ? named : newId();
  if (id !== named) history.replaceState(null, "", `#${id}`);
  if (id === current) return;
  current = id;
  composer.show(id);
  redraw();
  scrolling.follow();
}

const log = createLog(byId("log"), actions);
const scrolling = followEnd(byId("scroller"), byId("log"), byId("jump"));
const composer = createComposer({ send: say, stop: () => stop(current) });
const sidebar = createSidebar({
  redraw,
  begin() {
    if (store.get(current)) location.hash = newId();
    composer.focus();
  },
  leave(id) {
    if (id === current) location.hash = newId();
  },
});

store.onChange((id, isOurs) => {
  if (id !== null && !store.get(id)) stop(id);
  // What somebody is editing is not torn away by another tab.
  if (isOurs || !log.isEditing() || (id !== null && id !== current)) redraw();
});
addEventListener("hashchange", show);
byId("open-settings").addEventListener("click", showSettings);
byId("export").addEventListener("click", exportRow);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the conversation
  byId("said").focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || document.querySelector("dialog[open]")) return;
  if (sidebar.isDrawerOpen()) sidebar.closeDrawer();
  else if (running.has(current)) {
    stop(current);
    composer.focus();
  }
});
// Where the keyboard covers the page instead of shrinking it, the page shrinks itself.
visualViewport?.addEventListener("resize", () => {
  const height = visualViewport.scale === 1 ? `${visualViewport.height}px` : "";
  document.documentElement.style.setProperty("--height", height);
});

bindTheme();
store.loadAll();
show();
composer.focus();
meetModel();
