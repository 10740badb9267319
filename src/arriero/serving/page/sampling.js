// The settings that decide how an answer is drawn: their ranges, and the request made of them.

export const DEFAULTS = { temperature: 0.6, top_p: 0.9, top_k: 0, max_tokens: 256, seed: null };
const RANGES = {
  temperature: [0, 2],
  top_p: [0.05, 1],
  top_k: [0, 1000],
  max_tokens: [1, 32768],
  seed: [0, 2147483647],
};
const WHOLE = new Set(["top_k", "max_tokens", "seed"]);
const MAY_BE_EMPTY = new Set(["max_tokens", "seed"]);

/** Settings with every value in its range, whatever was typed or stored. */
export function cleanSettings(values) {
  const settings = {};
  for (const [name, [low, high]] of Object.entries(RANGES)) {
    const value = values?.[name];
    const number = Number(value);
    if (value === null || value === undefined || value === "" || !Number.isFinite(number)) {
      const isLeftEmpty = MAY_BE_EMPTY.has(name) && (value === null || value === "");
      settings[name] = isLeftEmpty ? null : DEFAULTS[name];
    } else {
      settings[name] = Math.min(high, Math.max(low, WHOLE.has(name) ? Math.round(number) : number));
    }
  }
  return settings;
}

/** The seed of a message's answer, the `attempt`-th one from 0: given and counted on, or random. */
export function pickSeed(settings, attempt) {
  const size = RANGES.seed[1] + 1;
  if (settings.seed !== null) return (settings.seed + attempt) % size;
  return crypto.getRandomValues(new Uint32Array(1))[0] % size;
}

/** The fields of a request that the settings fill. */
export function requestFields(settings, seed) {
  const fields = { temperature: settings.temperature, top_p: settings.top_p, seed };
  if (settings.top_k > 0) fields.top_k = settings.top_k;
  if (settings.max_tokens !== null) fields.max_tokens = settings.max_tokens;
  return fields;
}
