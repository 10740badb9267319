// Talking to the server: its models, and an answer as a stream of pieces.

const ENDS = { length: "length", content_filter: "filter" };

/** A refusal or a failure; `kind` says what the page can offer. */
export class Trouble extends Error {
  constructor(kind, message, waitSeconds = null) {
    super(message);
    this.kind = kind; // "key", "busy", "context", "refused", "unready", "lost", "unreachable"
    this.waitSeconds = waitSeconds;
  }
}

async function request(path, key, options) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("unreachable", "The server cannot be reached. Is it still running?");
  }
  if (!response.ok) throw await troubleOf(response);
  return response;
}

async function troubleOf(response) {
  let error = null;
  try {
    error = (await response.json()).error;
  } catch {
    // Something between us and the server answered in its own words.
  }
  const said = typeof error?.message === "string" ? error.message : "";
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  switch (response.status) {
    case 401:
      return new Trouble("key", said || "The server asks for an API key.");
    case 413:
      return new Trouble("refused", said || "This is more than the server takes in one request.");
    case 429:
      return new Trouble("busy", "The server is busy.", Number.isFinite(wait) ? wait : null);
    case 503:
      return new Trouble("unready", said || "The server is not ready.");
    default:
      if (error?.code === "context_length_exceeded") {
        return new Trouble("context", "There is no room left in the model's context.");
      }
      return new Trouble("refused", said || `The server answered with status ${response.status}.`);
  }
}

/** Names of the models that the server holds. */
export async function listModels(key) {
  const response = await request("v1/models", key, {});
  const { data } = await response.json();
  return data.map((model) => String(model.id));
}

/** Yields {text}, {end} and {numTokens} as they come. Throws Trouble, or AbortError on a stop. */
export async function* streamAnswer(body, key, signal) {
  const response = await request("v1/chat/completions", key, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  let isEnded = false;
  for await (const data of eventsOf(response.body)) {
    if (data === "[DONE]") break;
    const { error, choices, usage } = JSON.parse(data);
    if (error) throw new Trouble("lost", String(error.message ?? "The server gave up."));
    const choice = choices?.[0];
    if (choice?.delta?.content) yield { text: choice.delta.content };
    if (choice?.finish_reason) {
      isEnded = true;
      yield { end: ENDS[choice.finish_reason] ?? "stop" };
    }
    if (usage) yield { numTokens: usage.completion_tokens };
  }
  if (!isEnded) throw new Trouble("lost", "The connection broke off in the middle of the answer.");
}

/** The data of server-sent events, one string an event. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const ended of lines) {
        const line = ended.replace(/\r$/, "");
        if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        } else if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("lost", "The connection broke off in the middle of the answer.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
