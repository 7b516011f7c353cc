/*
 * `npm start`: makes the checkout ready, then runs the command `llama2`.
 */
import "./ready.mjs";

process.argv[1] = "llama2";
await import("../dist/node/main.js");
