/*
 * The caller's side of the connection to the thread, with a fake thread that the test controls: rare orders of
 * messages can be tested every time.
 */
import { describe, expect, it } from "vitest";
import type { Llama2Error } from "../../src/errors.ts";
import { type Channel, Client } from "../../src/run/client.ts";
import type { FromWorker, Report, ToWorker } from "../../src/run/protocol.ts";

/** A thread that does nothing by itself. */
class Thread implements Channel {
  said: ToWorker["type"][] = [];
  keepsAlive = false;
  private readonly listeners: ((message: FromWorker) => void)[] = [];
  private exit = (_: Error) => {};

  post({ type }: ToWorker): void {
    this.said.push(type);
  }
  onMessage(listener: (message: FromWorker) => void): void {
    this.listeners.push(listener);
  }
  onExit(listener: (why: Error) => void): void {
    this.exit = listener;
  }
  keepAlive(keep: boolean): void {
    this.keepsAlive = keep;
  }
  async terminate(): Promise<void> {
    this.end();
  }
  says(message: object): void {
    for (const listener of this.listeners) listener(message as FromWorker);
  }
  reports(id: number, ended: boolean): void {
    this.says({ type: "report", id, slices: [], timings: {}, ended });
  }
  end(): void {
    this.exit(new Error("the thread has ended"));
  }
}

async function loaded(): Promise<{ thread: Thread; client: Client }> {
  const thread = new Thread();
  const loading = Client.load(thread, {} as never, async () => {});
  thread.says({ type: "opened", vocabSize: 512 });
  thread.says({ type: "loaded" });
  return { thread, client: (await loading).client };
}

/** A request with a reader: its id is 1 for the first. */
function asked(client: Client): Promise<Report[]> {
  const read = async () => {
    const reports: Report[] = [];
    for await (const report of client.request([{ tokens: [1] } as never]).reports) reports.push(report);
    return reports;
  };
  const reading = read();
  reading.catch(() => {});
  return reading;
}

const disposed = (error: Llama2Error) => expect(error).toMatchObject({ code: "E_USAGE" });

describe("the process lives", () => {
  it("while a request runs, and not while none does", async () => {
    const { thread, client } = await loaded();
    expect(thread.keepsAlive).toBe(false);
    const [first, second] = [asked(client), asked(client)];
    expect(thread.keepsAlive).toBe(true);
    thread.reports(1, true);
    await first;
    expect(thread.keepsAlive).toBe(true);
    thread.reports(2, false);
    thread.reports(2, true);
    expect((await second).length).toBe(2);
    expect(thread.keepsAlive).toBe(false);
    expect(thread.said).toEqual(["load", "start", "start"]);
  });

  it("until the thread has ended, once it was asked to, also if a request ends after that", async () => {
    const { thread, client } = await loaded();
    const [running, left] = [asked(client), client.request([{ tokens: [1] } as never]).reports];
    const next = left.next();
    const closing = client.close();
    expect(client.close()).toBe(closing);
    expect(thread.keepsAlive).toBe(true);
    await running.catch(disposed);
    await next.catch(disposed);
    await left.return(); // its reader goes
    thread.reports(1, true); // what the thread had said before it heard of the end
    expect(thread.keepsAlive).toBe(true);
    await asked(client).catch(disposed);
    expect(thread.keepsAlive).toBe(true);
    expect(thread.said).toEqual(["load", "start", "start", "close"]);
    thread.end();
    await closing;
  });
});

it("if the thread dies, running and later requests fail with the reason", async () => {
  const { thread, client } = await loaded();
  const running = asked(client);
  thread.end();
  await expect(running).rejects.toThrow("the thread has ended");
  await expect(asked(client)).rejects.toThrow("the thread has ended");
  await client.close();
});
