// From text to elements as it comes: paragraphs, lists, headings, code. Appends, never redraws.
//
// What a model says is not trusted: it only ever becomes text nodes inside elements made here.

import { copyButton, make } from "./dom.js";

// C0 without tab and newline, DEL, C1, marks of writing direction, lone surrogates.
const CONTROL =
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]/gu;

/** The text with control characters made visible as in the terminal: ESC is ␛, others are �. */
export function visible(text) {
  return text
    .replaceAll("\r\n", "\n")
    .replace(CONTROL, (sign) =>
      sign < " " ? String.fromCharCode(0x2400 + sign.charCodeAt(0)) : "\ufffd",
    );
}

// The beginning of a line that may still become a fence, a heading or an item of a list.
const UNDECIDED = /^[ \t]*(`{0,2}|`{3,}[^`]*|#{1,6}|[-*+]|\d{1,3}[.)]?)$/;
const FENCE = /^[ \t]*(`{3,})\s*([^`]*)$/;
const HEADING = /^#{1,6}[ \t]+/;
const ITEM = /^([ \t]*)(?:[-*+]|(\d{1,3})[.)])[ \t]+/;

const BLOCKS_IN_PART = 32;

/**
 * A renderer that fills `body`. `feed(text)` takes the next piece of the text, wherever it was cut;
 * `finish()` ends it.
 *
 * A line is held back until its first characters say what it is; from then on its text goes to the
 * end of the document at once. Work per piece does not grow with what came before.
 */
export function createRenderer(body, announce) {
  let carried = ""; // the end of a piece, where it may be half of a sign
  let held = ""; // the beginning of a line, while undecided
  let isInLine = false; // whether the line's kind is decided
  let fence = null; // {ticks, code, isEmpty} inside a block of code
  let lists = []; // {indent, list} of the open lists, the outermost first
  let inline = null; // the inline writer of the open paragraph, item or heading
  let isAfterBlank = true;
  let part = null; // the last part of the body

  function feed(text) {
    const whole = carried + text;
    // A carriage return is half a line end until the next sign comes.
    carried = whole.endsWith("\r") ? "\r" : "";
    let rest = visible(carried ? whole.slice(0, -1) : whole);
    while (rest) {
      const end = rest.indexOf("\n");
      const piece = end < 0 ? rest : rest.slice(0, end);
      rest = end < 0 ? "" : rest.slice(end + 1);
      if (isInLine) {
        write(piece);
      } else {
        held += piece;
        if (end >= 0 || !isUndecided()) beginLine(end >= 0);
      }
      if (end >= 0) endLine();
    }
  }

  function finish() {
    if (carried) feed(" ");
    if (!isInLine && held) beginLine(true);
    closeBlock();
  }

  function isUndecided() {
    return fence ? /^[ \t]*`*[ \t]*$/.test(held) : UNDECIDED.test(held);
  }

  function beginLine(isWhole) {
    const line = held;
    held = "";
    isInLine = true;
    if (fence) {
      const mark = line.trim();
      if (isWhole && /^`+$/.test(mark) && mark.length >= fence.ticks) fence = null;
      else write((fence.isEmpty ? "" : "\n") + line);
      return;
    }
    const opening = isWhole && FENCE.exec(line);
    const item = ITEM.exec(line);
    if (opening) beginCode(opening[1].length, opening[2].trim());
    else if (!line.trim()) isAfterBlank = true;
    else if (HEADING.test(line)) beginHeading(line);
    else if (item) beginItem(line, item);
    else beginText(line);
  }

  function endLine() {
    isInLine = false;
    inline?.endLine();
    if (fence?.isOpening) {
      fence.isOpening = false;
      fence.isEmpty = true;
    }
  }

  function place(block) {
    // What comes is laid out anew together with its siblings: so they stay few.
    if (!part || part.childElementCount === BLOCKS_IN_PART) {
      part = make("div", { class: "part" });
      body.append(part);
    }
    part.append(block);
  }

  function beginCode(ticks, language) {
    closeBlock();
    const code = make("code", {});
    const text = () => code.textContent;
    place(
      make(
        "div",
        { class: "code" },
        make(
          "div",
          { class: "code-bar" },
          make("span", {}, language.slice(0, 30) || "code"),
          copyButton("Copy this code", text, announce),
        ),
        make("pre", { tabindex: "0", dir: "ltr" }, code),
      ),
    );
    fence = { ticks, code, isOpening: true, isEmpty: false };
  }

  function beginHeading(line) {
    closeBlock();
    const heading = make("h3", { dir: "auto" });
    place(heading);
    inline = createInline(heading);
    inline.write(line.replace(HEADING, ""));
    isAfterBlank = true; // what follows is a paragraph of its own
  }

  function beginItem(line, [mark, indentation, number]) {
    inline?.close();
    const indent = indentation.length;
    while (lists.length > 1 && indent <= lists.at(-1).indent - 2) lists.pop();
    const tag = number === undefined ? "ul" : "ol";
    const isDeeper = lists.length > 0 && indent >= lists.at(-1).indent + 2;
    if (!lists.length || isDeeper || lists.at(-1).list.localName !== tag) {
      const list = make(tag, number === undefined ? {} : { start: number });
      if (isDeeper) {
        lists.at(-1).list.lastElementChild.append(list);
      } else {
        const closed = lists.pop();
        // A nested list of the other kind follows in the same item.
        if (lists.length) closed.list.parentElement.append(list);
        else place(list);
      }
      lists.push({ indent, list });
    }
    const said = make("span", { dir: "auto" });
    lists.at(-1).list.append(make("li", {}, said));
    inline = createInline(said);
    inline.write(line.slice(mark.length));
    isAfterBlank = false;
  }

  function beginText(line) {
    const goesOn = inline && !isAfterBlank;
    if (goesOn) {
      inline.write("\n" + (lists.length ? line.trimStart() : line));
      return;
    }
    closeBlock();
    const paragraph = make("p", { dir: "auto" });
    place(paragraph);
    inline = createInline(paragraph);
    inline.write(line);
    isAfterBlank = false;
  }

  function write(text) {
    if (!text) return;
    if (fence) {
      appendText(fence.code, text);
      fence.isEmpty = false;
    } else {
      inline?.write(text);
    }
  }

  function closeBlock() {
    inline?.close();
    inline = null;
    lists = [];
  }

  return { feed, finish };
}

/** Draws a whole text at once. */
export function renderText(body, text, announce) {
  const renderer = createRenderer(body, announce);
  renderer.feed(text);
  renderer.finish();
}

/** Writes into `block`; `code` and **strong** text open at once and are undone if never closed. */
function createInline(block) {
  let open = []; // {mark, element}, the outermost first
  let held = ""; // marks at the end of what came: the next character decides
  let last = " "; // the character before

  const target = () => open.at(-1)?.element ?? block;

  function write(text) {
    const whole = held + text;
    held = /[`*]*$/.exec(whole)[0];
    put(whole.slice(0, whole.length - held.length));
  }

  function put(text) {
    let position = 0;
    for (const { 0: mark, index } of text.matchAll(/`+|\*\*/g)) {
      appendText(target(), text.slice(position, index));
      position = index + mark.length;
      takeMark(mark, text[index - 1] ?? last, text[position] ?? " ");
    }
    appendText(target(), text.slice(position));
    last = text.at(-1) ?? last;
  }

  function takeMark(mark, before, after) {
    const innermost = open.at(-1);
    const isStrong = mark === "**";
    if (innermost?.mark === mark && (!isStrong || before.trim())) {
      open.pop();
    } else if (
      innermost?.element.localName === "code" ||
      (isStrong && (!after.trim() || open.some((one) => one.mark === mark)))
    ) {
      appendText(target(), mark);
    } else {
      const element = isStrong ? make("strong") : make("code", { dir: "ltr" });
      target().append(element);
      open.push({ mark, element });
    }
  }

  function flush() {
    const marks = held;
    held = "";
    put(marks);
  }

  /** Undoes what is open, from `depth` on: its mark was no mark. */
  function undo(depth) {
    for (const { mark, element } of open.splice(depth).reverse()) {
      element.replaceWith(mark, ...element.childNodes);
    }
    block.normalize();
  }

  /** Code ends with its line at the latest, so that a lone quote mark does not spoil the rest. */
  function endLine() {
    flush();
    const depth = open.findIndex((one) => one.element.localName === "code");
    if (depth >= 0) undo(depth);
  }

  function close() {
    flush();
    if (open.length) undo(0);
  }

  return { write, endLine, close };
}

function appendText(element, text) {
  if (!text) return;
  if (element.lastChild instanceof Text) element.lastChild.appendData(text);
  else element.append(text);
}
