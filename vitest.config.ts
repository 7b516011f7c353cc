import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/helpers/emulatedAddon.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Tests are written against src/ and run against what was built from it: the code that a user has, at its speed.
    // (`npm test` builds first. Run by itself, vitest tests the last build.)
    alias: [{ find: /^((?:\.\.\/)+)src\/(.*)\.ts$/, replacement: "$1dist/$2.js" }],
    server: { deps: { external: [/\/dist\//] } },
  },
});
