/*
 * A debugger in few lines, for a Node that has WebSocket: starts `node --inspect-brk SCRIPT ARGS`, sets a breakpoint in
 * the first script whose URL matches, and prints as JSON what the expressions are when it is hit.
 *
 *     node breakpoint.mjs '{ "args": [...], "url": "transformer\\.ts$", "line": 230, "expressions": ["pos"] }'
 */
import { spawn } from "node:child_process";

const { args, url, line, expressions } = JSON.parse(process.argv[2]);
const child = spawn(process.execPath, ["--inspect-brk=127.0.0.1:0", ...args], { stdio: ["ignore", "ignore", "pipe"] });
setTimeout(() => finish({ error: "the breakpoint was not hit" }), 60_000);
child.on("exit", () => finish({ error: "it ended, and the breakpoint was not hit" }));

let stderr = "";
child.stderr.on("data", (chunk) => {
  const known = /ws:\S+/.test(stderr);
  stderr += chunk;
  const address = /ws:\S+/.exec(stderr);
  if (address && !known) debug(new WebSocket(address[0]));
});

function debug(socket) {
  let id = 0;
  const answers = new Map();
  const send = (method, params = {}) =>
    new Promise((resolve) => {
      answers.set(++id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  socket.onopen = async () => {
    await send("Debugger.enable");
    await send("Debugger.setBreakpointByUrl", { urlRegex: url, lineNumber: line - 1 });
    await send("Runtime.runIfWaitingForDebugger");
  };
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    if (message.id) answers.get(message.id)(message.result);
    if (message.method !== "Debugger.paused") return;
    const { callFrames, hitBreakpoints = [] } = message.params;
    if (hitBreakpoints.length === 0) return send("Debugger.resume"); // --inspect-brk stops at the first line
    const values = {};
    for (const expression of expressions) {
      const evaluation = { callFrameId: callFrames[0].callFrameId, expression, returnByValue: true };
      values[expression] = (await send("Debugger.evaluateOnCallFrame", evaluation)).result.value;
    }
    finish({ functions: callFrames.map(({ functionName }) => functionName), values });
  };
}

function finish(result) {
  console.log(JSON.stringify(result));
  child.kill();
  process.exit(0);
}
