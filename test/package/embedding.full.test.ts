/*
 * The code in docs/embedding.md, run with the packed package.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { ADDON_PATH } from "../../src/backend/cpu/addon.ts";
import { hasAddon, needsAddon } from "../helpers/backends.ts";
import { hasChromium, needsChromium } from "../helpers/chromium.ts";
import { ROOT } from "../helpers/golden.ts";
import { consumerFolder, installConsumers, pack, run } from "../helpers/packed.ts";
import { openPage } from "../helpers/page.ts";

const DOC = readFileSync(join(ROOT, "docs", "embedding.md"), "utf8");
const STORY = ", there was a";
const APP = `import { loadModel } from "llama2.ts";
  const model = await loadModel();
  for await (const piece of model.generate("Once upon a time", { temperature: 0, maxTokens: 4 })) process.stdout.write(piece);
  await model.dispose();`;

let tarball: string;
let home: string;
beforeAll(() => {
  installConsumers();
  tarball = pack();
  home = consumerFolder(tarball);
  for (const [, name, text] of DOC.matchAll(/^```js\n\/\/ (\S+)\n(.*?)^```/gms)) {
    mkdirSync(dirname(join(home, name)), { recursive: true });
    writeFileSync(join(home, name), text);
  }
}, 300_000);

/** A folder of the consumer with the same program under each of these names. */
function app(folder: string, name: string): string {
  const path = join(home, folder);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, name), APP);
  return path;
}

/** The words of the command of the doc that begins with `start`. */
function command(start: string): [string, string[]] {
  const [name, ...args] = DOC.match(new RegExp(`^\`\`\`sh\\n(?:.*\\n)?(${start}.*)$`, "m"))?.[1].split(" ") ?? [""];
  return [name, args];
}

it("publint and attw find nothing wrong", () => {
  run(home, "publint", [join(home, "node_modules", "llama2.ts"), "--strict"]);
  run(home, "attw", [tarball, "--ignore-rules", "cjs-resolves-to-esm"]);
});

it.each(["node10", "node16", "nodenext", "bundler"])("TypeScript 5 finds the types with moduleResolution %s", (how) => {
  const folder = app(`types-${how}`, "app.ts");
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  const module = how === "node16" || how === "nodenext" ? how : "es2022";
  const options = ["--noEmit", "--strict", "--target", "es2022", "--types", "node"];
  run(folder, "tsc", [...options, "--module", module, "--moduleResolution", how, "app.ts"]);
});

it("CommonJS imports it", () => {
  expect(run(join(home, "cjs"), "node", ["app.cjs"])).toBe(STORY);
});

it("esbuild", () => {
  const folder = app("esbuild", "app.ts");
  run(folder, ...command("esbuild"));
  expect(run(folder, "node", ["app.mjs"])).toBe(STORY);
});

it("webpack", () => {
  const folder = app("webpack", "app.js");
  writeFileSync(
    join(folder, "build.mjs"),
    `import webpack from "webpack"; import config from "./webpack.config.mjs";
     webpack({ ...config, context: import.meta.dirname }, (error, stats) => {
       if (error || stats.hasErrors()) throw error ?? new Error(stats.toString());
     });`,
  );
  run(folder, "node", ["build.mjs"]);
  expect(run(folder, "node", ["dist/app.mjs"])).toBe(STORY);
});

it("vite, for a server", () => {
  const folder = app("vite", "app.ts");
  run(folder, ...command("vite"));
  expect(run(folder, "node", [existsSync(join(folder, "dist", "app.mjs")) ? "dist/app.mjs" : "dist/app.js"])).toBe(
    STORY,
  );
});

describe.skipIf(!hasChromium)(`in a browser${needsChromium}`, () => {
  /** What the program of the page in the doc writes into the page. */
  async function storyFrom(folder: string, entry: string): Promise<string> {
    const page = await openPage({ app: folder, models: join(ROOT, "models") });
    try {
      return await page.run(`await import(argument); return document.body.textContent;`, `/app/${entry}`);
    } finally {
      await page.close();
    }
  }
  const program = (options: string) =>
    readFileSync(join(home, "page", "app.js"), "utf8")
      .replace('("Once upon a time")', '("Once upon a time", { temperature: 0, maxTokens: 4 })')
      .replace('tok2048.bin"', `tok2048.bin"${options}`);

  it("vite finds the worker and the kernels", async () => {
    const folder = join(home, "page-vite");
    mkdirSync(folder);
    writeFileSync(join(folder, "app.js"), program(""));
    writeFileSync(
      join(folder, "build.mjs"),
      `import { build } from "vite";
       const rollupOptions = { input: "app.js", output: { entryFileNames: "app.js" } };
       await build({ base: "/app/", build: { target: "esnext", outDir: "out", rollupOptions } });`,
    );
    run(folder, "node", ["build.mjs"]);
    expect(await storyFrom(join(folder, "out"), "app.js")).toBe(STORY);
  });

  it("esbuild, with a copy of the folder", async () => {
    const folder = join(home, "page-esbuild");
    mkdirSync(folder);
    writeFileSync(join(folder, "app.js"), program(', assets: "/app/llama2/"'));
    run(folder, "esbuild", ["app.js", "--bundle", "--format=esm", "--outfile=out/app.js"]);
    cpSync(join(home, "node_modules", "llama2.ts", "dist", "browser"), join(folder, "out", "llama2"), {
      recursive: true,
    });
    expect(await storyFrom(join(folder, "out"), "app.js")).toBe(STORY);
  });
});

it("Next, standalone", { timeout: 400_000 }, async () => {
  const folder = join(home, "next");
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  // the tracing looks below the project's folder
  cpSync(join(home, "node_modules"), join(folder, "node_modules"), { recursive: true });
  write("package.json", '{ "private": true, "type": "module" }');
  write("app/layout.js", "export default ({ children }) => <html><body>{children}</body></html>;");
  write("app/page.js", "export default () => <p>stories</p>;");
  write(
    "app/api/story/route.js",
    `import { loadModel } from "llama2.ts";
     export const dynamic = "force-dynamic";
     export async function GET() {
       const model = await loadModel();
       let text = "";
       for await (const piece of model.generate("Once upon a time", { temperature: 0, maxTokens: 4 })) text += piece;
       await model.dispose();
       return new Response(text);
     }`,
  );
  run(folder, "next", ["build"], { NEXT_TELEMETRY_DISABLED: "1" });
  const standalone = join(folder, ".next", "standalone", folder.slice(ROOT.length)); // Next takes the lock's folder for the root
  expect(existsSync(join(standalone, "node_modules", "llama2.ts", "models", "stories2M.bin"))).toBe(true);
  const port = await freePort();
  const server = spawn(process.execPath, ["server.js"], {
    cwd: standalone,
    env: { ...process.env, PORT: `${port}`, HOSTNAME: "127.0.0.1" },
  });
  try {
    await once(server, "Ready");
    expect(await (await fetch(`http://127.0.0.1:${port}/api/story`)).text()).toBe(STORY);
  } finally {
    server.kill();
  }
});

/** Until a child has said something. */
const once = (child: ChildProcess, what: string) =>
  new Promise<void>((resolve, reject) => {
    child.stdout?.on("data", (chunk) => `${chunk}`.includes(what) && resolve());
    child.on("exit", (code) => reject(new Error(`it ended with ${code}`)));
  });

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

it.skipIf(process.platform !== "linux" || !hasAddon)(
  `a single-executable application tells a story, never starts itself, and uses the addon if the build tried it${needsAddon}`,
  () => {
    const folder = join(home, "sea");
    const config = { main: "main.cjs", output: "sea.blob", disableExperimentalSEAWarning: true };
    writeFileSync(join(folder, "sea.json"), JSON.stringify(config));
    const program = readFileSync(join(folder, "main.cjs"), "utf8");
    // and it says how often it was started, and on what it runs
    writeFileSync(
      join(folder, "main.cjs"),
      program
        .replace(
          "async function main() {",
          `require("node:fs").appendFileSync(process.env.STARTS, "started\\n");
         async function main() {`,
        )
        .replace("await model.dispose();", 'await model.dispose(); process.stdout.write(" " + model.backend);'),
    );
    run(folder, "node", ["--experimental-sea-config", "sea.json"]);
    copyFileSync(process.execPath, join(folder, "app"));
    const [name, args] = command("postject");
    run(folder, name, args);

    const starts = join(folder, "starts");
    const storyFrom = () => {
      writeFileSync(starts, "");
      const text = run(folder, join(folder, "app"), [], { STARTS: starts });
      expect(readFileSync(starts, "utf8")).toBe("started\n");
      return text;
    };
    expect(storyFrom()).toBe(`${STORY} wasm`);
    const place = join(home, "node_modules", "llama2.ts", "build", "Release");
    mkdirSync(place, { recursive: true });
    copyFileSync(ADDON_PATH, join(place, "llama2_cpu.node"));
    expect(storyFrom()).toBe(`${STORY} wasm`);
    copyFileSync(`${ADDON_PATH}.probe`, join(place, "llama2_cpu.node.probe"));
    expect(storyFrom()).toBe(`${STORY} cpu`);
  },
);
