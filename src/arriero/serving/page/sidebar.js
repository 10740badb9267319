// The list of conversations: open, rename, delete with a way back; a drawer where it is narrow.

import { iconButton, make } from "./dom.js";
import { visible } from "./render.js";
import * as store from "./store.js";
import { titleOf } from "./tree.js";

const UNDO_MS = 10000;
const byId = (id) => document.getElementById(id);

/** `actions`: begin() a new conversation, leave(id) one that goes, redraw(). */
export function createSidebar(actions) {
  const list = byId("list");
  const narrow = matchMedia("(max-width: 50rem)");
  let renaming = null; // id of the conversation whose title is being typed
  let drawn = ""; // what the list says

  function draw(currentId, isRunning) {
    if (renaming) return; // what is typed stays; drawn again when it is done
    const conversations = store.listAll();
    const rows = conversations.map((conversation) => {
      const { id } = conversation;
      return [id, titleOf(conversation), id === currentId, isRunning(id)];
    });
    const key = JSON.stringify(rows);
    if (key === drawn) return; // a button under a pressed finger stays
    drawn = key;
    const focused = document.activeElement?.closest?.("#list [data-key]")?.dataset.key;
    list.replaceChildren(
      ...conversations.map((conversation) =>
        itemOf(conversation, conversation.id === currentId, isRunning(conversation.id)),
      ),
    );
    byId("none-yet").hidden = conversations.length > 0;
    if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  function itemOf(conversation, isCurrent, isRunning) {
    const { id } = conversation;
    const title = visible(titleOf(conversation));
    const link = make(
      "a",
      {
        href: `#${id}`,
        title,
        dir: "auto",
        "data-key": `open-${id}`,
        "aria-current": isCurrent && "page",
        onclick: closeDrawer,
      },
      title,
    );
    if (isRunning) link.append(make("span", { class: "unseen-label" }, " (is being answered)"));
    const rename = () => beginRename(item, conversation);
    const item = make(
      "li",
      { class: isRunning ? "running" : "" },
      link,
      iconButton("edit", `Rename ${title}`, rename, { "data-key": `rename-${id}` }),
      iconButton("delete", `Delete ${title}`, () => remove(id), { "data-key": `delete-${id}` }),
    );
    return item;
  }

  function beginRename(item, conversation) {
    renaming = conversation.id;
    const input = make("input", { "aria-label": "Title", maxlength: "120", dir: "auto" });
    input.value = titleOf(conversation);
    const end = (isKept) => {
      if (renaming !== conversation.id) return;
      renaming = null;
      drawn = "";
      const title = input.value.trim();
      const hadFocus = document.activeElement === input;
      const isChanged = title !== "" && title !== titleOf(conversation);
      if (isKept && isChanged && store.get(conversation.id)) {
        store.update(conversation.id, (current) => {
          current.title = title;
        });
      } else {
        actions.redraw();
      }
      if (hadFocus) list.querySelector(`[data-key="open-${conversation.id}"]`)?.focus();
    };
    input.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
    item.replaceChildren(input);
    input.focus();
    input.select();
  }

  function remove(id) {
    const ids = store.listAll().map((conversation) => conversation.id);
    const next = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1];
    actions.leave(id);
    const conversation = store.remove(id);
    const target = next && list.querySelector(`[data-key="open-${next}"]`);
    (target ?? byId("new")).focus();
    offerUndo(conversation);
  }

  let undoTimer = null;

  function offerUndo(conversation) {
    const toast = byId("toast");
    const undo = make("button", { type: "button", class: "plain" }, "Undo");
    const close = () => toast.replaceChildren();
    const wait = () => {
      clearTimeout(undoTimer);
      undoTimer = setTimeout(close, UNDO_MS);
    };
    undo.addEventListener("click", () => {
      clearTimeout(undoTimer);
      close();
      store.restore(conversation);
      location.hash = conversation.id;
      list.querySelector(`[data-key="open-${conversation.id}"]`)?.focus();
    });
    // Who reads or reaches for it is not hurried.
    for (const event of ["pointerenter", "focusin"]) {
      toast.addEventListener(event, () => clearTimeout(undoTimer));
    }
    for (const event of ["pointerleave", "focusout"]) toast.addEventListener(event, wait);
    const title = visible(titleOf(conversation));
    toast.replaceChildren(make("bdi", {}, `Deleted: ${title}`), undo);
    wait();
  }

  function openDrawer() {
    byId("shell").classList.add("drawer-open");
    byId("open-sidebar").setAttribute("aria-expanded", "true");
    byId("talk").inert = true;
    byId("new").focus();
  }

  function closeDrawer() {
    if (!isDrawerOpen()) return;
    byId("shell").classList.remove("drawer-open");
    byId("open-sidebar").setAttribute("aria-expanded", "false");
    byId("talk").inert = false;
    if (narrow.matches) byId("open-sidebar").focus();
  }

  function isDrawerOpen() {
    return byId("shell").classList.contains("drawer-open");
  }

  byId("open-sidebar").addEventListener("click", openDrawer);
  byId("close-sidebar").addEventListener("click", closeDrawer);
  byId("scrim").addEventListener("click", closeDrawer);
  narrow.addEventListener("change", closeDrawer);
  byId("new").addEventListener("click", () => {
    closeDrawer();
    actions.begin();
  });

  return { draw, closeDrawer, isDrawerOpen };
}
