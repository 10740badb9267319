// The conversation as drawn: an article a message, kept in place as long as it stays the same.

import { copyButton, icon, iconButton, make } from "./dom.js";
import { createRenderer, renderText, visible } from "./render.js";
import { pathOf, siblingsOf } from "./tree.js";

const ENDS = {
  length: "Cut off at the last token allowed. Settings may allow more.",
  stopped: "Stopped.",
  filter: "Said by a check of the server in the model's place.",
  lost: "The answer broke off here.",
  open: "Unfinished: closed too early, or still coming in another tab.",
};
// Things that the embedded world's chat model has learned, whatever its seed.
const EXAMPLES = [
  "I have 7 apples and give away 3. How many are left?",
  "My song needs two rhymes for light.",
  "Is it true that a joiner works with wood?",
];

/**
 * Draws into `place`. `actions` is what its buttons do: ask(text), retry(), askWithLess(),
 * enterKey(), regenerate(id), turn(id), beginEdit(id), endEdit(id), edit(id, text), showAll(),
 * openSettings(); and announce(text), isSendKey(event).
 */
export function createLog(place, actions) {
  const drawn = new Map(); // message id -> {article, body, contentKey, foot, footKey}
  let editing = null; // id of the message under edit
  let shownId = null; // id of the conversation drawn
  let live = null; // {id, renderer, pending} of the answer that is coming
  let extras = new Map(); // what is drawn beside the messages, by what it says

  /** Brings the page up to date with a conversation, which may be null, and its state. */
  function draw(id, conversation, { run, trouble, model }) {
    if (id !== shownId) {
      drawn.clear();
      place.replaceChildren();
      editing = null;
      live = null;
      extras.clear();
      shownId = id;
    }
    const path = conversation ? messagesToDraw(conversation, run) : [];
    const wanted = [];
    const kept = new Map();
    // Redrawn only when they say something else, so that a button keeps its focus.
    const extra = (build, ...said) => {
      const key = [build.name, ...said].join("/");
      kept.set(key, extras.get(key) ?? build(...said));
      wanted.push(kept.get(key));
    };
    const system = conversation?.system.trim();
    if (system) extra(systemLine, system);
    if (!path.length) extra(welcome, model);
    const start = path.findIndex((message) => message.id === conversation.first);
    path.forEach((message, index) => {
      if (index === start && start > 0) extra(boundary);
      wanted.push(
        articleOf(message, conversation, {
          isUnseen: index < start,
          isLast: index >= path.length - 2, // the last exchange
          isRunning: run !== undefined,
          isLive: run?.message.id === message.id,
          isExplained: trouble !== undefined && index === path.length - 1,
        }),
      );
    });
    const isUnanswered = path.at(-1)?.role === "user";
    if (!run && path.length && (trouble || isUnanswered)) {
      const { kind, message, waitSeconds } = trouble ?? {};
      extra(troubleLine, kind, message ?? "This message has no answer yet.", waitSeconds);
    }
    extras = kept;
    arrange(place, wanted);
    const ids = new Set(path.map((message) => message.id));
    for (const one of drawn.keys()) if (!ids.has(one)) drawn.delete(one);
    if (live && !ids.has(live.id)) live = null;
  }

  function messagesToDraw(conversation, run) {
    if (!run) return pathOf(conversation);
    return [...pathOf({ ...conversation, leaf: run.parent }), run.message];
  }

  function articleOf(message, conversation, state) {
    let one = drawn.get(message.id);
    if (!one) {
      one = { body: make("div", { class: "said" }), foot: make("div", { class: "foot-line" }) };
      const name = message.role === "user" ? "You" : "The model";
      one.article = make(
        "article",
        { class: `message ${message.role}`, "aria-label": name, tabindex: "-1" },
        one.body,
        one.foot,
      );
      drawn.set(message.id, one);
    }
    one.article.classList.toggle("unseen", state.isUnseen);
    drawContent(one, message, state);
    drawFoot(one, message, conversation, state);
    return one.article;
  }

  function drawContent(one, message, { isLive }) {
    const isEdited = editing === message.id;
    const key = isLive ? "live" : `${isEdited}/${message.content.length}`;
    one.article.setAttribute("aria-busy", String(isLive));
    if (one.contentKey === key) return;
    // What has been drawn as it came needs no second drawing.
    const wasLive = one.contentKey === "live" && live?.id === message.id;
    one.contentKey = key;
    if (wasLive) {
      flush();
      live.renderer.finish();
      live = null;
      return;
    }
    one.body.replaceChildren();
    if (isLive) {
      const renderer = createRenderer(one.body, actions.announce);
      live = { id: message.id, renderer, pending: message.content };
      flush();
    } else if (isEdited) {
      one.body.append(editForm(message));
    } else if (message.role === "assistant") {
      renderText(one.body, message.content, actions.announce);
    } else {
      one.body.append(make("p", { dir: "auto" }, visible(message.content)));
    }
  }

  function drawFoot(one, message, conversation, { isLast, isRunning, isLive, isExplained }) {
    const siblings = siblingsOf(conversation, message);
    const index = siblings.findIndex((other) => other.id === message.id);
    const isEdited = editing === message.id;
    const flags = [isLast, isRunning, isLive, isExplained, isEdited];
    const key = [index, siblings.length, message.end, ...flags].join();
    if (one.footKey === key) return;
    one.footKey = key;
    one.article.classList.toggle("last", isLast);
    if (isLive) {
      one.foot.replaceChildren(make("span", { class: "dots", "aria-hidden": "true" }, "…"));
      return;
    }
    const parts = [];
    const isEmpty = message.role === "assistant" && !message.content;
    const end = ENDS[message.end] ?? (isEmpty ? "An empty answer." : "");
    if (end && !isExplained) parts.push(make("p", { class: "end" }, end));
    if (!isEdited) parts.push(tools(message, siblings, index, isRunning));
    one.foot.replaceChildren(...parts);
  }

  function tools(message, siblings, index, isRunning) {
    const isAnswer = message.role === "assistant";
    const row = make("div", { class: "tools" });
    if (siblings.length > 1) {
      const turn = (step) => () => actions.turn(siblings[index + step].id);
      const what = isAnswer ? "answer" : "version";
      const isFirst = isRunning || index === 0;
      const isNewest = isRunning || index === siblings.length - 1;
      row.append(
        iconButton("before", `Earlier ${what}`, turn(-1), { disabled: isFirst }),
        make("span", { class: "count" }, `${index + 1}/${siblings.length}`),
        iconButton("next", `Later ${what}`, turn(1), { disabled: isNewest }),
      );
    }
    const text = () => visible(message.content);
    row.append(copyButton(isAnswer ? "Copy this answer" : "Copy", text, actions.announce));
    if (!isRunning && isAnswer) {
      const again = () => actions.regenerate(message.id);
      row.append(iconButton("again", "Answer once more", again));
    } else if (!isRunning) {
      row.append(iconButton("edit", "Edit", () => actions.beginEdit(message.id)));
    }
    if (isAnswer && message.num_tokens) {
      row.append(make("span", { class: "meter" }, meter(message)));
    }
    return row;
  }

  function editForm(message) {
    const area = make("textarea", { rows: "2", dir: "auto", "aria-label": "Edit your message" });
    area.value = message.content;
    const submit = () => {
      const text = area.value.trim();
      if (text) actions.edit(message.id, text);
    };
    area.addEventListener("keydown", (event) => {
      if (actions.isSendKey(event)) {
        event.preventDefault();
        submit();
      } else if (event.key === "Escape" && !event.isComposing) {
        event.stopPropagation();
        actions.endEdit(message.id);
      }
    });
    return make(
      "form",
      {
        class: "edit",
        onsubmit: (event) => {
          event.preventDefault();
          submit();
        },
      },
      area,
      make(
        "div",
        { class: "buttons" },
        make("span", { class: "faint space" }, "The conversation goes on from here."),
        make(
          "button",
          { type: "button", class: "plain", onclick: () => actions.endEdit(message.id) },
          "Cancel",
        ),
        make("button", { type: "submit", class: "main" }, "Send"),
      ),
    );
  }

  function troubleLine(kind, said, waitSeconds) {
    const wait = waitSeconds ? ` It asks to wait ${seconds(waitSeconds)}.` : "";
    const [label, action] =
      {
        context: ["Leave out the oldest and try again", actions.askWithLess],
        key: ["Enter the key", actions.enterKey],
      }[kind] ?? ["Try again", actions.retry];
    return make(
      "div",
      { class: "trouble" },
      make("p", { dir: "auto" }, visible(said + wait)),
      make("button", { type: "button", class: "plain", onclick: action }, label),
    );
  }

  function welcome(model) {
    const examples = EXAMPLES.map((text) =>
      make("li", {}, make("button", { type: "button", onclick: () => actions.ask(text) }, text)),
    );
    const mark = icon("arriero");
    mark.classList.add("mark");
    const name = model ? make("bdi", {}, visible(model)) : "the model";
    return make(
      "div",
      { class: "welcome" },
      mark,
      make("h2", {}, "Talk with ", name),
      make("p", {}, "Ask something, or begin with one of these."),
      make("ul", {}, ...examples),
    );
  }

  function systemLine(text) {
    return make(
      "button",
      { type: "button", class: "system", title: "System prompt", onclick: actions.openSettings },
      make("span", {}, "System prompt"),
      make("bdi", {}, visible(text)),
    );
  }

  function boundary() {
    return make(
      "div",
      { class: "boundary" },
      make("p", {}, "The model no longer sees what stands above."),
      make("button", { type: "button", class: "plain", onclick: actions.showAll }, "Show it all"),
    );
  }

  /** Takes a piece of the answer that is coming; drawn with the next frame. */
  function addText(text) {
    if (live) live.pending += text;
  }

  /** Draws what has come since the last frame; says whether there was anything. */
  function flush() {
    if (!live?.pending) return false;
    live.renderer.feed(live.pending);
    live.pending = "";
    return true;
  }

  return {
    draw,
    addText,
    flush,
    isEditing: () => editing !== null,
    setEditing: (id) => {
      editing = id;
    },
    articleOf: (id) => drawn.get(id)?.article,
  };
}

/** Makes the children of `place` the wanted ones without touching those that stay. */
function arrange(place, wanted) {
  const kept = new Set(wanted);
  for (const child of [...place.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((element, index) => {
    const there = place.children[index] ?? null;
    if (there !== element) place.insertBefore(element, there);
  });
}

function meter({ num_tokens: numTokens, seconds: time }) {
  const count = numTokens === 1 ? "1 token" : `${numTokens} tokens`;
  const rate = time > 0.05 && numTokens > 4 ? ` · ${Math.round((numTokens - 1) / time)}/s` : "";
  return count + rate;
}

function seconds(number) {
  return number === 1 ? "1 second" : `${number} seconds`;
}
