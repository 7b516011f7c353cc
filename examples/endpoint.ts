/*
 * An HTTP endpoint for stories: GET /?prompt=Lily streams one; if the client leaves, it is cancelled.
 *
 *     node examples/endpoint.ts [port]
 */
import { createServer } from "node:http";
import { loadModel } from "../src/index.ts"; // in your project: from "llama2.ts"

const model = await loadModel();

const server = createServer(async (request, response) => {
  const { searchParams } = new URL(request.url ?? "/", "http://localhost");
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  try {
    const story = model.generate(searchParams.get("prompt") ?? "", { echo: true, signal: gone.signal });
    for await (const piece of story) response.write(piece);
    response.end("\n");
  } catch (error) {
    if (!gone.signal.aborted) response.writeHead(400).end(`${(error as Error).message}\n`);
  }
});

server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => console.log(server.address()));
