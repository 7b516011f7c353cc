/*
 * Files in and out: dropped models, tokenizers, run.c and traces; exported pictures, numbers and links.
 */
import { Llama2Error } from "../src/errors.ts";
import { npz, stopJson } from "../src/trace/export.ts";
import { readTrace } from "../src/trace/readTrace.ts";
import { nameOf } from "../src/trace/stops.ts";
import { app, config, go, here } from "./app.ts";
import { compareTrace } from "./check.ts";
import { $, download, el } from "./dom.ts";
import { palette } from "./draw.ts";
import { MissingTokenizer, type NamedBytes, openFolder, openModel, type Session } from "./session.ts";
import { showRunC } from "./source.ts";
import { addressOf, state } from "./state.ts";

export function say(message: string): void {
  $("message").textContent = message;
  $("message").hidden = message === "";
}

const bytesOf = async (file: File): Promise<NamedBytes> => ({
  name: file.name,
  bytes: new Uint8Array(await file.arrayBuffer()),
});

/** Handle dropped or chosen files. A model is passed to `open`. */
export async function receive(files: File[], folder: string, open: (session: Session) => Promise<void>): Promise<void> {
  try {
    if (folder !== "") {
      say(`opening ${folder} …`);
      const session = await openFolder(folder, await Promise.all(files.map(bytesOf)));
      say("");
      await open(session);
      return;
    }
    const source = files.find(({ name }) => name.endsWith(".c"));
    if (source) {
      say(await showRunC(await source.text()));
      go({ view: "step" });
    }
    const binaries = files.filter((file) => file !== source).sort((a, b) => b.size - a.size);
    const [model, tokenizer] = binaries;
    if (!model) return;
    if (binaries.length === 1 && model.name.endsWith(".json")) {
      say("");
      await compareTrace(readTrace(await model.text(), model.name));
      return;
    }
    say(`opening ${model.name} …`);
    const session = await openModel(await bytesOf(model), tokenizer && (await bytesOf(tokenizer)));
    say("");
    await open(session);
  } catch (error) {
    if (!(error instanceof Llama2Error || error instanceof MissingTokenizer)) throw error;
    say(error.message);
  }
}

/** The files of a drop, and the folder's name if it is a folder. */
export async function dropped(items: DataTransferItemList): Promise<[File[], folder: string]> {
  const entries = Array.from(items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const [first] = entries;
  if (entries.length !== 1 || !first.isDirectory) {
    const files = entries.filter((entry) => entry.isFile) as FileSystemFileEntry[];
    return [await Promise.all(files.map(fileOf)), ""];
  }
  const reader = (first as FileSystemDirectoryEntry).createReader();
  const files: FileSystemFileEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    files.push(...(some.filter((entry) => entry.isFile) as FileSystemFileEntry[]));
  }
  return [await Promise.all(files.map(fileOf)), first.name];
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));

// ----------------------------------------------------------------------------
// out

const EXPORTS: Record<string, () => void> = {
  png() {
    const canvas =
      document.querySelector<HTMLCanvasElement>(`#${state.view} canvas.main`) ?? $<HTMLCanvasElement>("figure");
    const copy = el("canvas", { width: canvas.width + 48, height: canvas.height + 48 });
    const context = copy.getContext("2d") as CanvasRenderingContext2D;
    context.fillStyle = palette.paper;
    context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(canvas, 24, 24);
    copy.toBlob((blob) => blob && download(`${fileName()}-${nameOf(here())}.png`, blob));
  },
  json() {
    const { run } = app.story;
    const object = {
      model: app.session.model.name,
      backend: "ts",
      prompt: state.prompt,
      tokens: run.tokens,
      position: state.pos,
      stops: run.at(state.pos).stops.map(stopJson),
    };
    download(`${fileName()}.json`, new Blob([JSON.stringify(object)], { type: "application/json" }));
  },
  npz() {
    const { stops } = app.story.run.at(state.pos);
    const bytes = npz(stops, config().dim / config().nHeads) as Uint8Array<ArrayBuffer>;
    download(`${fileName()}.npz`, new Blob([bytes]));
  },
  link: () => takeText(addressOf(), "The address of this page brings you back here."),
  embed() {
    const address = addressOf({ embed: true, tour: 0, ask: false }).replaceAll("&", "&amp;");
    const words = "A course page shows this stop with these lines, wherever this page is hosted.";
    takeText(
      `<iframe src="${address}" title="llama2.ts study" width="100%" height="640" loading="lazy"></iframe>`,
      words,
    );
  },
};

const fileName = () => `${app.session.model.name}-${state.pos}`;

/** Show a text, select it, and copy it to the clipboard if the browser allows it. */
function takeText(text: string, words: string): void {
  const box = $<HTMLTextAreaElement>("taken");
  box.value = text;
  box.hidden = false;
  box.select();
  say(words);
  navigator.clipboard?.writeText(text).then(
    () => say(`${words} It is in the clipboard.`),
    () => {}, // the text is shown, and can be copied by hand
  );
}

export function listenToExports(): void {
  for (const button of document.querySelectorAll<HTMLElement>("[data-export]")) {
    button.onclick = () => EXPORTS[button.dataset.export ?? ""]();
  }
}
