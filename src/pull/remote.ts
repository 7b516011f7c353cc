/*
 * Opens models on a server, with range requests.
 */
import { Llama2Error } from "../errors.ts";
import type { Files } from "../files/bytes.ts";
import { NetError, shown, type Waiting } from "../net/answers.ts";
import { type Client, httpClient, webUrl } from "../net/client.ts";
import { type HttpSource, openHttp } from "../net/source.ts";
import { parseReference } from "./reference.ts";
import { fileUrl, readRepository } from "./repository.ts";
import { offlineError, settingsOf, tokenOf } from "./settings.ts";

/** A model on a server. */
export interface RemoteModel {
  name: string;
  files: Files;
  /** How many bytes of its files have been fetched so far. */
  fetched(): number;
  close(): void;
}

/**
 * The model at `url`: a file, or a Hugging Face repository.
 * @throws Llama2Error E_USAGE, E_NET; the signal's reason
 */
export async function openRemote(url: string, waiting: Waiting = {}): Promise<RemoteModel> {
  webUrl(url);
  const { endpoint, offline } = settingsOf();
  if (offline) throw offlineError(`${shown(url)} is on a server`);
  const client = await httpClient({ secret: tokenOf(), secretFor: endpoint, ...waiting });
  const opened: HttpSource[] = [];
  const open = async (from: string) => {
    const source = await openHttp(client.get, from, waiting);
    opened.push(source);
    return source;
  };
  const fetched = () => opened.reduce((sum, source) => sum + source.fetched, 0);
  const close = () => client.close();
  try {
    return { ...(await filesAt(url, endpoint, client, open, waiting)), fetched, close };
  } catch (error) {
    close();
    throw error;
  }
}

type Open = (url: string) => Promise<HttpSource>;

async function filesAt(
  url: string,
  endpoint: string,
  { get }: Client,
  open: Open,
  waiting: Waiting,
): Promise<Pick<RemoteModel, "name" | "files">> {
  const reference = parseReference(url, endpoint);
  if (reference?.kind === "url" || reference === undefined) {
    const name = new URL(url).pathname.split("/").at(-1) || "model";
    return { name, files: { name: url, list: async () => [name], open: () => open(url), folder: folderOf(url, open) } };
  }
  const { repository: id, revision, file } = reference.kind === "listed" ? reference.listed.model : reference;
  const repository = await readRepository(get, endpoint, id, revision, waiting);
  const folder = (path: string): Files => ({
    name: `${id}/${path}`.replace(/\/$/, ""),
    list: async () =>
      repository.files
        .filter(({ path: p }) => p.startsWith(path) && !p.slice(path.length).includes("/"))
        .map(({ path: p }) => p.slice(path.length)),
    open: (name) => open(fileUrl(endpoint, repository, path + name)),
  });
  if (file === undefined) return { name: id.split("/")[1], files: folder("") };
  if (!repository.files.some(({ path }) => path === file)) {
    throw new Llama2Error("E_FORMAT", `${id} has no file ${file}`);
  }
  const slash = file.lastIndexOf("/") + 1;
  const name = file.slice(slash);
  const around = folder(file.slice(0, slash));
  return { name, files: { name: `${id}/${file}`, list: async () => [name], open: around.open, folder: around } };
}

/** The names of files that a model may need beside it. */
const BESIDE = ["config.json", "params.json", "model.safetensors.index.json", "pytorch_model.bin.index.json"];

/** The folder of a file on a server without listings: the files that a model may need are tried. */
function folderOf(url: string, open: Open): Files {
  const { pathname } = new URL(url);
  const own = pathname.slice(pathname.lastIndexOf("/") + 1);
  const open1 = (name: string) => open(new URL(name, url).href);
  return {
    name: new URL(".", url).href,
    async list() {
      const there = await Promise.all(BESIDE.map(async (name) => ((await isThere(open1, name)) ? [name] : [])));
      return [own, ...there.flat()];
    },
    open: open1,
  };
}

async function isThere(open: Open, name: string): Promise<boolean> {
  try {
    await open(name);
    return true;
  } catch (error) {
    if (error instanceof NetError && !error.passing) return false;
    throw error;
  }
}
