/*
 * Everything that the visitor has chosen. It is kept in the address, so that a link leads to the same place.
 */
export const VIEWS = ["step", "attention", "rope", "sampler", "compare"] as const;
export type View = (typeof VIEWS)[number];

export interface State {
  view: View;
  prompt: string;
  seed: number;
  temp: number;
  topp: number;
  /** Tokens after the prompt. */
  more: number;
  pos: number;
  stop: number;
  /** The chosen number of the tensor, or -1. */
  cell: number;
  head: number;
  log: boolean;
  /** Show RoPE with half-split pairs, which is wrong for these weights. */
  half: boolean;
  /** The sampler's sliders, if they differ from the story's: "0.5,0.9,0.1234". */
  bench: string;
  /** Parts that are switched off in the other run: "L2.H5,L3.att". */
  off: string;
  /** A token that replaces the story's in the other run: "12:345", position and token. */
  fork: string;
  /** A changed weight of the other run: "wq[1][44][176]=0.5". */
  weight: string;
  /** A pasted activation of the other run: "L2.res1@5<4", position 5 with the source's position 4. */
  patch: string;
  /** The prompt of the run that `patch` takes it from. */
  source: string;
  /** The other run's temperature, or -1, and its seed, or 0: the story's. */
  temp2: number;
  seed2: number;
  /** The breakpoints of key `c`: lines by their stops, and layers: "scores,L2". */
  breaks: string;
  tour: number;
  /** Predict mode: ask about a stop before it is shown. */
  ask: boolean;
  /** Only the screen, as part of another page. */
  embed: boolean;
  theme: "light" | "dark";
  contrast: "" | "more";
  /** The first digits of the model's sha256. */
  model: string;
}

export const state: State = {
  view: "step",
  prompt: "Once upon a time, there was a little",
  seed: 42,
  temp: 0.8,
  topp: 0.9,
  more: 24,
  pos: 3,
  stop: 0,
  cell: -1,
  head: 0,
  log: false,
  half: false,
  bench: "",
  off: "",
  fork: "",
  weight: "",
  patch: "",
  source: "The dog ran to the park",
  temp2: -1,
  seed2: 0,
  breaks: "",
  tour: 0,
  ask: false,
  embed: false,
  theme: "light",
  contrast: "",
  model: "",
};

const defaults: State = { ...state };

/** Read the state from the address. Invalid parts are ignored. */
export function fromHash(): void {
  const prefers = (what: string) => matchMedia(`(prefers-${what})`).matches;
  const [dark, contrast] = [prefers("color-scheme: dark"), prefers("contrast: more")];
  Object.assign(state, defaults, { theme: dark ? "dark" : "light", contrast: contrast ? "more" : "" });
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    const now = state[name as keyof State];
    if (typeof now === "number" && text !== "" && Number.isFinite(Number(text))) set(name, Number(text));
    if (typeof now === "boolean") set(name, text === "1");
    if (typeof now === "string") set(name, text);
  }
  if (!VIEWS.includes(state.view)) state.view = "step";
  if (state.theme !== "dark") state.theme = "light";
  if (state.contrast !== "more") state.contrast = "";
  state.seed = Math.max(1, Math.floor(Math.min(state.seed, 2 ** 31 - 1)));
  state.temp = Math.max(0, Math.min(5, state.temp));
  state.topp = Math.max(0, Math.min(1, state.topp));
  state.more = Math.max(0, Math.min(4096, Math.floor(state.more)));
}

function set(name: string, value: string | number | boolean): void {
  Object.assign(state, { [name]: value });
}

/** The address of the state: everything that differs from the defaults, and always the place. */
export function addressOf(change: Partial<State> = {}): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...state, ...change })) {
    const isPlace = ["view", "prompt", "pos", "stop", "model"].includes(name);
    if (!isPlace && value === defaults[name as keyof State]) continue;
    if (value !== "") params.set(name, typeof value === "boolean" ? (value ? "1" : "0") : `${value}`);
  }
  const [page] = location.href.split("#");
  return `${page}#${params}`;
}

let writing: ReturnType<typeof setTimeout> | undefined;

/** Write the state to the address, soon: browsers are slow at it, and allow it only a few times a second. */
export function toHash(): void {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", addressOf()), 150);
}
