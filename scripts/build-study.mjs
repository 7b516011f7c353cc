/*
 * The study page. `npm run build` makes dist/study/, which `llama2 study` serves; `npm run build:study [-- FOLDER]` makes a
 * folder that any web host can serve as it is, with the bundled model (default: build-study/).
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import prism from "prismjs";
import { build } from "rolldown";
import { isMain, root } from "./fingerprint.mjs";
import { checkedArguments } from "./usage.mjs";

prism.manual = true;
const { default: loadLanguages } = await import("prismjs/components/index.js");
loadLanguages(["typescript"]);

/** A source as lines of [kind, text]. */
function highlighted(text) {
  const lines = [[]];
  const add = (kind, part) => {
    for (const [i, line] of part.split("\n").entries()) {
      if (i > 0) lines.push([]);
      if (line !== "") lines.at(-1).push([kind, line]);
    }
  };
  const walk = (tokens, kind) => {
    for (const token of tokens) {
      if (typeof token === "string") add(kind, token);
      else
        walk(
          Array.isArray(token.content) ? token.content : [token.content],
          KINDS.includes(token.type) ? token.type : kind,
        );
    }
  };
  walk(prism.tokenize(text, prism.languages.typescript), "");
  return lines;
}
/** The kinds that the style sheet has colours for. */
const KINDS = ["comment", "keyword", "string", "number", "function"];

const virtual = {
  name: "virtual",
  resolveId: (id) => (id.startsWith("virtual:") ? `\0${id}` : undefined),
  load(id) {
    if (id === "\0virtual:source") {
      const text = readFileSync(join(root, "src", "llama2", "transformer.ts"), "utf8").trimEnd();
      return `export default ${JSON.stringify(highlighted(text))}`;
    }
    if (id === "\0virtual:pinned") {
      const { cases } = JSON.parse(readFileSync(join(root, "test", "golden", "bundled-model.json"), "utf8"));
      return `export default ${JSON.stringify(cases.map((each) => each.logits_sha256))}`;
    }
  },
};

/** The page without a model, into dist/study/. */
export async function buildStudy() {
  const dir = join(root, "dist", "study");
  mkdirSync(dir, { recursive: true });
  await build({
    tsconfig: false, // its paths are of types
    input: { study: join(root, "study", "main.ts") },
    platform: "browser",
    plugins: [virtual],
    output: { dir, format: "esm", codeSplitting: false, minify: true },
  });
  for (const file of ["index.html", "style.css"]) copyFileSync(join(root, "study", file), join(dir, file));
  copyFileSync(join(root, "dist", "backend", "wasm", "kernels.wasm"), join(dir, "kernels.wasm"));
}

if (isMain(import.meta.url)) {
  await import("./ready.mjs");
  const isRight = (args) => args.length === 0 || (args.length === 1 && !args[0].startsWith("-"));
  const [named = join(root, "build-study")] = checkedArguments("npm run build:study [-- FOLDER]", isRight);
  const folder = resolve(named);
  if (existsSync(folder) && readdirSync(folder).length > 0 && !existsSync(join(folder, "study.js"))) {
    console.error(`${folder} is not empty and holds no study page: it would be replaced whole`);
    process.exit(2);
  }
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(root, "dist", "study"), folder, { recursive: true });
  for (const file of ["stories2M.bin", "tok2048.bin"]) copyFileSync(join(root, "models", file), join(folder, file));
  writeFileSync(join(folder, "page.json"), JSON.stringify({ model: "stories2M.bin", tokenizer: "tok2048.bin" }));
  console.log(folder);
}
