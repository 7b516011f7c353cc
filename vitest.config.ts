import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    // what is built runs as it is, and as a user has it
    server: { deps: { external: [/\/dist\//] } },
  },
});
