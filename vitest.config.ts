import { defineConfig } from "vitest/config";

/** Long tests run when all do (`npm run test:full`), or when one of them is named. */
const full = process.env.LLAMA2_TESTS === "full" || process.argv.some((argument) => argument.includes(".full"));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["**/node_modules/**", ...(full ? [] : ["**/*.full.test.ts"])],
    env: { LLAMA2_TESTS: full ? "full" : "" },
    globalSetup: ["test/helpers/setup.ts"],
    setupFiles: ["test/helpers/cleanUp.ts"],
    maxWorkers: "100%", // all cores, where vitest would keep one for itself
    isolate: full, // a process for each file costs 0.12 s of CPU: fast tests share one for each core
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Tests are written against src/ and run against what was built from it: the package's library where they import index.ts,
    // else single modules. Its errors are not those of the modules: a test imports from one or the other.
    alias: [
      { find: /^((?:\.\.\/)+)src\/index\.ts$/, replacement: "$1dist/node/index.js" },
      { find: /^((?:\.\.\/)+)src\/(.*)\.ts$/, replacement: "$1dist/$2.js" },
    ],
    server: { deps: { external: [/\/dist\//] } },
  },
});
