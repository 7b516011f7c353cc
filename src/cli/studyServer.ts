/*
 * Serves the study page to this machine: the files of dist/study/, one model and its tokenizer, and nothing else.
 */
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname } from "node:path";
import { Llama2Error } from "../errors.ts";
import { packagePath } from "../files/packageFolder.ts";
import { reasonOf } from "../files/reasons.ts";

export interface StudyFiles {
  model: string;
  /** Absent: it is inside the model. */
  tokenizer: string | undefined;
  prompt: string | undefined;
}

const PAGE = ["index.html", "study.js", "style.css", "kernels.wasm"];

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".wasm": "application/wasm",
};

const HEADERS = {
  "Cache-Control": "no-store",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

/**
 * Serve the page on 127.0.0.1.
 * @param port 0: any free one
 * @throws Llama2Error E_FILE if the page has not been built, E_USAGE if the port is taken
 */
export async function serveStudy(files: StudyFiles, port: number): Promise<{ server: Server; url: string }> {
  const folder = packagePath("dist", "study");
  if (!existsSync(packagePath("dist", "study", "index.html"))) {
    throw new Llama2Error("E_FILE", `the study page is not built: there is no ${folder}. Run \`npm run build\``);
  }
  const paths = new Map(PAGE.map((name) => [`/${name}`, packagePath("dist", "study", name)]));
  paths.set("/", packagePath("dist", "study", "index.html"));
  // encode names that are valid in a file system but not in a URL
  const add = (kind: string, path: string) => {
    const url = `${kind}/${encodeURIComponent(basename(path))}`;
    paths.set(`/${url}`, path);
    return url;
  };
  const page = {
    model: add("model", files.model),
    tokenizer: files.tokenizer === undefined ? undefined : add("tokenizer", files.tokenizer),
    prompt: files.prompt,
  };
  const server = createServer((request, response) => answer(request, response, paths, JSON.stringify(page)));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "it is taken" : reasonOf(error);
      reject(
        new Llama2Error("E_DEVICE_UNAVAILABLE", `cannot listen on port ${port}: ${why}. --port 0 takes a free one`),
      );
    });
    server.listen(port, "127.0.0.1", resolve);
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

/** Whether a request names this machine. Against DNS rebinding: another site's name may point here. */
const isOwnName = (host: string | undefined): boolean => /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(host ?? "");

function answer(
  { method, url, headers }: IncomingMessage,
  response: ServerResponse,
  paths: ReadonlyMap<string, string>,
  page: string,
): void {
  const refuse = (status: number) => response.writeHead(status, HEADERS).end();
  if (!isOwnName(headers.host)) return void refuse(403);
  if (method !== "GET" && method !== "HEAD") return void refuse(405);
  const [path] = (url ?? "/").split("?", 1);
  if (path === "/page.json") {
    response
      .writeHead(200, { ...HEADERS, "Content-Type": "application/json" })
      .end(method === "HEAD" ? undefined : page);
    return;
  }
  const file = paths.get(path);
  const stat = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false });
  if (file === undefined || !stat) return void refuse(404);
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  response.writeHead(200, { ...HEADERS, "Content-Type": type, "Content-Length": stat.size });
  if (method === "HEAD") return void response.end();
  createReadStream(file)
    .on("error", () => response.destroy())
    .pipe(response);
}
