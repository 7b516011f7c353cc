/*
 * A server like Hugging Face's on this machine, with a second one that sends the files; a test controls both.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll } from "vitest";

/** The files of each repository. */
export type Repositories = Record<string, Record<string, Uint8Array>>;

/** Answers a request in a way of its own; true if it did. `at` is the server that was asked. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse, at: "hub" | "bytes") => boolean;

export interface Hub {
  /** HF_ENDPOINT. */
  url: string;
  /** The other server, which large files are redirected to. */
  bytesUrl: string;
  /** What was asked for, in order. */
  requests: { at: "hub" | "bytes"; path: string; headers: IncomingMessage["headers"]; status: number }[];
  /** How many bytes of files were sent. */
  sent: number;
  behave: Behaviour | undefined;
}

export const commitOf = (repository: string): string => createHash("sha1").update(repository).digest("hex");

/** The name of bytes: sha256 for large files (here, all but JSON), git's sha1 for others. */
export function digestOf(path: string, bytes: Uint8Array): string {
  if (!path.endsWith(".json")) return createHash("sha256").update(bytes).digest("hex");
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

export async function startHub(repositories: Repositories): Promise<Hub> {
  const hub: Hub = { url: "", bytesUrl: "", requests: [], sent: 0, behave: undefined };
  const serve = (at: "hub" | "bytes") => async (request: IncomingMessage, response: ServerResponse) => {
    const path = decodeURIComponent((request.url ?? "").split("?")[0]);
    response.on("finish", () => {
      hub.requests.push({ at, path, headers: request.headers, status: response.statusCode });
    });
    response.on("error", () => {});
    if (hub.behave?.(request, response, at)) return;
    if (at === "bytes") return sendBytes(hub, request, response, bytesAt(repositories, path));
    answer(hub, repositories, path, request, response);
  };
  const servers = [createServer(serve("hub")), createServer(serve("bytes"))];
  [hub.url, hub.bytesUrl] = await Promise.all(servers.map(listen));
  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });
  return hub;
}

/** Start a server on a free port of this machine; its URL. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** /ORG/REPO/FILE, as the second server has it. */
function bytesAt(repositories: Repositories, path: string): [string, Uint8Array] | undefined {
  const [, org, repo, ...file] = path.split("/");
  const bytes = repositories[`${org}/${repo}`]?.[file.join("/")];
  return bytes && [file.join("/"), bytes];
}

function answer(
  hub: Hub,
  repositories: Repositories,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const [, id = "", file] =
    /^\/api\/models\/([^/]+\/[^/]+)\/revision\/[^/]+$/.exec(path) ??
    /^\/([^/]+\/[^/]+)\/resolve\/[^/]+\/(.+)$/.exec(path) ??
    [];
  const files = repositories[id];
  if (!files || (file !== undefined && !files[file])) {
    response.writeHead(404).end();
  } else if (file === undefined) {
    const siblings = Object.entries(files).map(([name, bytes]) => {
      const lfs = name.endsWith(".json")
        ? {}
        : { lfs: { sha256: digestOf(name, bytes), size: bytes.length, pointerSize: 130 } };
      return { rfilename: name, size: bytes.length, blobId: "0".repeat(40), ...lfs };
    });
    for (const sibling of siblings) {
      if (sibling.rfilename.endsWith(".json")) sibling.blobId = digestOf(sibling.rfilename, files[sibling.rfilename]);
    }
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ id, sha: commitOf(id), siblings }));
  } else if (file.endsWith(".json")) {
    sendBytes(hub, request, response, [file, files[file]]);
  } else {
    response.writeHead(302, { location: `${hub.bytesUrl}/${id}/${encodeURI(file)}?signature=secret` }).end();
  }
}

/** What a server that knows ranges does. */
export function sendBytes(
  hub: Pick<Hub, "sent">,
  request: IncomingMessage,
  response: ServerResponse,
  found: [string, Uint8Array] | undefined,
): void {
  if (!found) {
    response.writeHead(404).end();
    return;
  }
  const [name, bytes] = found;
  const etag = `"${digestOf(name, bytes)}"`;
  response.setHeader("etag", etag);
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  const same = request.headers["if-range"] === undefined || request.headers["if-range"] === etag;
  if (from === undefined || !same) {
    response.setHeader("content-length", bytes.length);
    hub.sent += bytes.length;
    response.end(bytes);
    return;
  }
  const start = Number(from);
  if (start >= bytes.length) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return;
  }
  const part = bytes.subarray(start, to === "" ? undefined : Number(to) + 1);
  hub.sent += part.length;
  response.writeHead(206, {
    "content-length": part.length,
    "content-range": `bytes ${start}-${start + part.length - 1}/${bytes.length}`,
  });
  response.end(part);
}

/** The environment of a user of that server, with a cache of his own. */
export const hubEnv = (hub: Hub, cache: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  HF_ENDPOINT: hub.url,
  HF_HUB_CACHE: cache,
  HF_HOME: cache,
  HF_TOKEN: "",
  HUGGING_FACE_HUB_TOKEN: "",
  HTTP_PROXY: "",
  HTTPS_PROXY: "",
  http_proxy: "",
  https_proxy: "",
  ...more,
});
