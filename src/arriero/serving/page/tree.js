// A conversation as a tree: a message knows its parent; an edit and a new try are its siblings.

/**
 * conversation: id, title ("" until somebody names it), system, changed (ms), messages,
 *   leaf (id of the last message shown), first (id of the first message that the model sees).
 * message: id, parent (id or null), role ("user", "assistant"), content; an answer also has
 *   end ("stop", "length", "filter" of the server, "stopped" by the user, "lost" with the
 *   connection, "open" while it comes), seed, and num_tokens and seconds where they are known.
 */
export function newConversation(id) {
  return { id, title: "", system: "", changed: Date.now(), messages: [], leaf: null, first: null };
}

/** What stood in the storage, if it is a whole conversation, else null. */
export function checkConversation(value) {
  const isText = (...texts) => texts.every((text) => typeof text === "string");
  if (!value || !isText(value.id, value.title, value.system)) return null;
  if (!Number.isFinite(value.changed) || !Array.isArray(value.messages)) return null;
  const known = new Set([null]);
  for (const message of value.messages) {
    if (!message || !isText(message.id, message.content)) return null;
    if (!["user", "assistant"].includes(message.role) || !known.has(message.parent)) return null;
    known.add(message.id);
  }
  return known.has(value.leaf) ? value : null;
}

export function findMessage(conversation, id) {
  return conversation.messages.find((message) => message.id === id);
}

/** The messages shown, from the first to the leaf. */
export function pathOf(conversation) {
  const byId = new Map(conversation.messages.map((message) => [message.id, message]));
  const path = [];
  for (let message = byId.get(conversation.leaf); message; message = byId.get(message.parent)) {
    path.push(message);
  }
  return path.reverse();
}

/** The part of the path that the model sees. */
export function seenOf(conversation) {
  const path = pathOf(conversation);
  const start = path.findIndex((message) => message.id === conversation.first);
  return path.slice(Math.max(start, 0));
}

/** A message and the others at its place, oldest first. */
export function siblingsOf(conversation, message) {
  return conversation.messages.filter(
    (other) => other.parent === message.parent && other.role === message.role,
  );
}

/** Adds a message, or brings a known one up to date; the path leads to a new one from `leaf`. */
export function putMessage(conversation, message, leaf = conversation.leaf) {
  const known = findMessage(conversation, message.id);
  if (known) {
    Object.assign(known, message);
  } else {
    conversation.messages.push(message);
    // Another tab may have gone on meanwhile: then its path stays.
    if (conversation.leaf === leaf) conversation.leaf = message.id;
  }
}

/** Shows another message in a sibling's place, with the newest of what follows it. */
export function turnTo(conversation, id) {
  let leaf = id;
  for (const message of conversation.messages) {
    if (message.parent === leaf) leaf = message.id;
  }
  conversation.leaf = leaf;
}

/** Hides the oldest exchange before the question `id` from the model; false where there is none. */
export function leaveOutOldest(conversation, id) {
  const seen = seenOf({ ...conversation, leaf: id });
  const questions = seen.filter((message) => message.role === "user");
  if (questions.length < 2) return false;
  conversation.first = questions[1].id;
  return true;
}

export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const said = pathOf(conversation)[0]?.content.trim().split("\n")[0] ?? "";
  return said.slice(0, 120) || "New conversation";
}

/** Whether an answer did not come to its own end. */
export function isCutOff(message) {
  return message.role === "assistant" && !["stop", "filter"].includes(message.end);
}

/** The messages of a request: role and content only, system prompt first. */
export function wordsOf(conversation, messages) {
  const system = conversation.system.trim();
  return [
    ...(system ? [{ role: "system", content: system }] : []),
    ...messages.map(({ role, content }) => ({ role, content })),
  ];
}

/** The conversation as a row of training data, as `/save` of the terminal writes it. */
export function rowOf(conversation) {
  const path = pathOf(conversation);
  const messages = wordsOf(conversation, path);
  const shift = messages.length - path.length;
  const stopped = path.flatMap((message, index) => (isCutOff(message) ? [index + shift] : []));
  const isCut = stopped.at(-1) === messages.length - 1 && messages.length > 0;
  return { messages, source: "chat", stopped, ...(isCut ? { is_cut: true } : {}) };
}
