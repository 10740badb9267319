// What the browser keeps: a conversation an entry, so that two tabs change different entries.
//
// A change is made on what is stored at that moment, never on what this tab read earlier; messages
// are only ever added or completed, so that two tabs in one conversation keep both their messages.

import { checkConversation, newConversation } from "./tree.js";

const PREFIX = "arriero.conversation.";
const known = new Map(); // id -> conversation, as last seen
const unsaved = new Set(); // ids of those that did not fit into the storage
const listeners = new Set();

/** Calls `listener(id, isOurs)` after every change; id null stands for all. */
export function onChange(listener) {
  listeners.add(listener);
}

function tell(id, isOurs) {
  for (const listener of listeners) listener(id, isOurs);
}

function parse(text) {
  try {
    return text === null ? null : checkConversation(JSON.parse(text));
  } catch {
    return null; // left as it is: somebody may still mend it
  }
}

function readItem(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function writeItem(key, value) {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false; // full, or switched off
  }
}

export function loadAll() {
  known.clear();
  try {
    for (let index = 0; index < localStorage.length; index += 1) {
      const key = localStorage.key(index);
      if (!key.startsWith(PREFIX)) continue;
      const conversation = parse(localStorage.getItem(key));
      if (conversation) known.set(conversation.id, conversation);
    }
  } catch {
    // No storage at all: conversations last as long as the page.
  }
}

/** All conversations, the one that changed last first. */
export function listAll() {
  return [...known.values()].sort((a, b) => b.changed - a.changed);
}

export function get(id) {
  return known.get(id) ?? null;
}

/** Applies `change` to a conversation, new if there is none, and keeps it. */
export function update(id, change) {
  const stored = unsaved.has(id) ? null : parse(readItem(PREFIX + id));
  const conversation = stored ?? known.get(id) ?? newConversation(id);
  change(conversation);
  conversation.changed = Date.now();
  known.set(id, conversation);
  save(conversation);
  tell(id, true);
  return conversation;
}

function save(conversation) {
  const isSaved = writeItem(PREFIX + conversation.id, JSON.stringify(conversation));
  if (isSaved) unsaved.delete(conversation.id);
  else unsaved.add(conversation.id);
}

/** Whether something said is kept by this page alone and would be lost with it. */
export function isFull() {
  return unsaved.size > 0;
}

/** Forgets a conversation and gives it back, for `restore`. */
export function remove(id) {
  const conversation = known.get(id);
  known.delete(id);
  unsaved.delete(id);
  try {
    localStorage.removeItem(PREFIX + id);
  } catch {
    // There was no storage to remove it from.
  }
  for (const other of [...unsaved]) save(known.get(other)); // there is room now
  tell(id, true);
  return conversation;
}

export function restore(conversation) {
  known.set(conversation.id, conversation);
  save(conversation);
  tell(conversation.id, true);
}

addEventListener("storage", (event) => {
  if (event.storageArea !== localStorage) return;
  if (event.key === null) {
    loadAll();
    tell(null, false);
  } else if (event.key.startsWith(PREFIX)) {
    const id = event.key.slice(PREFIX.length);
    const conversation = parse(event.newValue);
    if (conversation) known.set(id, conversation);
    else known.delete(id);
    tell(id, false);
  }
});

/** A small thing of the page itself, such as its settings; null where there is none. */
export function readSetting(name) {
  try {
    return JSON.parse(readItem(`arriero.${name}`));
  } catch {
    return null;
  }
}

export function writeSetting(name, value) {
  writeItem(`arriero.${name}`, JSON.stringify(value));
}

/** What lasts as long as the tab, reloads included: drafts, and the key. */
export const tab = {
  get(name) {
    try {
      return sessionStorage.getItem(`arriero.${name}`) ?? "";
    } catch {
      return "";
    }
  },
  set(name, value) {
    try {
      if (value) sessionStorage.setItem(`arriero.${name}`, value);
      else sessionStorage.removeItem(`arriero.${name}`);
    } catch {
      // Then it lasts until the next reload.
    }
  },
};
