// Asking for answers: one at a time in a conversation, several conversations at once.

import { streamAnswer, Trouble } from "./api.js";
import { newId } from "./dom.js";
import { pickSeed, requestFields } from "./sampling.js";
import * as store from "./store.js";
import { leaveOutOldest, putMessage, seenOf, wordsOf } from "./tree.js";

// A reload loses at most what came in this time.
const SAVE_EVERY_MS = 1000;

/** conversation id -> the answer under way: {parent, message, controller, leaf (before it)}. */
export const running = new Map();
/** conversation id -> why there is no answer, a Trouble that knows the `parent` of what failed. */
export const troubles = new Map();

/**
 * Asks for an answer to the message `parent` of a conversation.
 *
 * `page` is told: onBegin(id), onText(id, text) for each piece, onEnd(id, message or null, end).
 * What came stays whatever happens; an answer that was stopped before its first word leaves none.
 */
export async function ask(id, parent, { getModel, settings, key }, page) {
  if (running.has(id)) return;
  const conversation = store.get(id);
  const attempts = conversation.messages.filter((message) => message.parent === parent).length;
  const seed = pickSeed(settings, attempts);
  const message = { id: newId(), parent, role: "assistant", content: "", end: "open", seed };
  const controller = new AbortController();
  const run = { parent, message, controller, leaf: conversation.leaf };
  running.set(id, run);
  troubles.delete(id);
  page.onBegin(id);

  const upTo = seenOf({ ...conversation, leaf: parent });
  const messages = wordsOf(conversation, upTo);
  let end = "lost";
  let savedAt = performance.now();
  let firstAt = null;
  try {
    const body = { model: await getModel(), messages, ...requestFields(settings, seed) };
    for await (const event of streamAnswer(body, key, controller.signal)) {
      if (event.text) {
        firstAt ??= performance.now();
        message.content += event.text;
        page.onText(id, event.text);
        if (performance.now() - savedAt > SAVE_EVERY_MS) {
          savedAt = performance.now();
          saveUnfinished(id);
        }
      }
      if (event.end) end = event.end;
      if (event.numTokens) message.num_tokens = event.numTokens;
    }
    message.seconds = (performance.now() - (firstAt ?? savedAt)) / 1000;
  } catch (error) {
    if (controller.signal.aborted) end = "stopped";
    else troubles.set(id, Object.assign(asTrouble(error), { parent }));
  }
  running.delete(id);
  message.content = message.content.trim();
  message.end = end;
  const isSaid = message.content !== "" || !["stopped", "lost"].includes(end);
  const isKept = isSaid && store.get(id) !== null; // it may be deleted by now
  if (isKept) store.update(id, (current) => putMessage(current, message, run.leaf));
  page.onEnd(id, isKept ? message : null, end);
}

function asTrouble(error) {
  if (error instanceof Trouble) return error;
  console.error(error);
  return new Trouble("lost", "The server's answer could not be read.");
}

/** Keeps what has come so far, for a reload in the middle of an answer. */
function saveUnfinished(id) {
  const { message, leaf } = running.get(id);
  if (!message.content || !store.get(id)) return;
  store.update(id, (current) => putMessage(current, { ...message }, leaf));
}

addEventListener("pagehide", () => {
  for (const id of running.keys()) saveUnfinished(id);
});

export function stop(id) {
  running.get(id)?.controller.abort();
}

/** Leaves out the oldest exchanges, one after another, until the rest fits or one is left. */
export async function askWithLess(id, parent, request, page) {
  const { first } = store.get(id);
  do {
    let isShorter = false;
    store.update(id, (conversation) => {
      isShorter = leaveOutOldest(conversation, parent);
    });
    if (!isShorter) {
      store.update(id, (conversation) => Object.assign(conversation, { first }));
      const trouble = new Trouble("refused", "This message alone is too long: shorten it.");
      troubles.set(id, Object.assign(trouble, { parent }));
      page.onEnd(id, null, "lost");
      return;
    }
    await ask(id, parent, request, page);
  } while (troubles.get(id)?.kind === "context" && store.get(id));
}
