/*
 * Files on servers, read by range requests: no more is fetched than is asked for, and only from servers that answer
 * correctly.
 */
import { describe, expect, it } from "vitest";
import { PATIENCE } from "../../src/net/answers.ts";
import { httpClient } from "../../src/net/client.ts";
import { openHttp } from "../../src/net/source.ts";
import { expectRejection } from "../helpers/errors.ts";
import { type Behaviour, sendBytes, startHub } from "../helpers/hub.ts";

const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) >> 3);
const hub = await startHub({ "an-org/a-repo": { "a file.bin": bytes, "empty.bin": new Uint8Array(0) } });
const url = `${hub.bytesUrl}/an-org/a-repo/a%20file.bin`;
const patient = { ...PATIENCE, waitMs: () => 0 };
const client = await httpClient({ patience: patient });
/** For servers that are silent. */
const impatient = { ...patient, stallMs: 100, tries: 2 };
const hasty = await httpClient({ patience: impatient });

async function opened(behave?: Behaviour, from = url, { get } = client, patience = patient) {
  hub.behave = behave;
  hub.sent = 0;
  hub.requests.length = 0;
  return openHttp(get, from, { patience });
}

const readAt = async (source: Awaited<ReturnType<typeof opened>>, offset: number, length: number) => {
  const into = new Uint8Array(length);
  await source.read(into, offset);
  return into;
};

describe("a file on a server", () => {
  it("is read in parts, and nothing more is fetched", async () => {
    const source = await opened();
    expect(source.size).toBe(bytes.length);
    expect(await readAt(source, 100, 50)).toEqual(bytes.subarray(100, 150));
    expect(hub.requests.length).toBe(1); // these came with the first part
    expect(await readAt(source, 99_000, 1000)).toEqual(bytes.subarray(99_000));
    expect(await readAt(source, 99_500, 10)).toEqual(bytes.subarray(99_500, 99_510));
    expect(await readAt(source, 20_000, 40_000)).toEqual(bytes.subarray(20_000, 60_000));
    expect(hub.requests.length).toBe(3);
    expect(hub.sent).toBe(16_384 + 1000 + 40_000);
    expect(source.fetched).toBe(hub.sent);
  });

  it("may be empty", async () => {
    expect((await opened(undefined, `${hub.bytesUrl}/an-org/a-repo/empty.bin`)).size).toBe(0);
  });

  it("is not read past its end", async () => {
    await expectRejection(readAt(await opened(), 99_999, 2), "E_FORMAT", "ends at byte 100000");
  });

  it("has its redirects followed once", async () => {
    const source = await opened(undefined, `${hub.url}/an-org/a-repo/resolve/main/a%20file.bin`);
    await readAt(source, 50_000, 10);
    expect(hub.requests.map(({ at }) => at)).toEqual(["hub", "bytes", "bytes"]);
  });

  it("is requested again after a lost connection or a server error", async () => {
    let failures = 2;
    const source = await opened((_, response) => {
      if (failures-- <= 0) return false;
      if (failures === 0) response.writeHead(503).end();
      else response.destroy();
      return true;
    });
    expect(source.size).toBe(bytes.length);
  });

  it.each<[string, RegExp, Behaviour]>([
    ["cannot send parts", /cannot send a part/, (_, response) => !!response.end(bytes)],
    ...["5-16383", "0-16388", "5-16388"].map((part): [string, RegExp, Behaviour] => [
      `says that it sends ${part}`,
      /asked for 16384 bytes from 0 on/,
      (_, response) => {
        response.writeHead(206, { "content-range": `bytes ${part}/100000` }).end(bytes.subarray(0, 16_384));
        return true;
      },
    ]),
    [
      "says a length that no file has",
      /asked for 16384 bytes/,
      (_, response) => !!response.writeHead(206, { "content-range": "bytes 0-16383/999999999999999999" }).end(),
    ],
    [
      "sends more than it says",
      /more than was asked for/,
      (_, response) => {
        response.writeHead(206, { "content-range": "bytes 0-16383/100000" }).end(bytes.subarray(0, 20_000));
        return true;
      },
    ],
    [
      "sends less than it says",
      /the connection was cut/,
      (_, response) => {
        response.writeHead(206, { "content-range": "bytes 0-16383/100000" }).end(bytes.subarray(0, 100));
        return true;
      },
    ],
    [
      "compresses it",
      /compressed \(gzip\)/,
      (_, response) => !!response.setHeader("content-encoding", "gzip").end("x"),
    ],
    ["is silent", /stopped answering/, () => true],
    ["sends half and is silent", /stopped sending/, (_, response) => !!half(response)],
    ["has no such file", /404.*nothing of that name/, (_, response) => !!response.writeHead(404).end()],
    ["wants a token", /401.*HF_TOKEN/, (_, response) => !!response.writeHead(401).end()],
    ["is overloaded", /503/, (_, response) => !!response.writeHead(503).end()],
    ["leads round in circles", /without end/, (_, response) => !!response.writeHead(302, { location: url }).end()],
    ["leads to a file", /file:.*not safe/, (_, response) => !!response.writeHead(302, { location: "file:///x" }).end()],
    ["leads nowhere", /leads to no URL/, (_, response) => !!response.writeHead(302).end()],
  ])("is refused from a server that %s", async (_, message, behave) => {
    const isSilent = message.source.includes("stopped");
    await expectRejection(isSilent ? opened(behave, url, hasty, impatient) : opened(behave), "E_NET", message);
  });

  it("is refused if it changes while it is read", async () => {
    const source = await opened();
    hub.behave = (request, response) => {
      sendBytes(hub, request, response, ["a file.bin", bytes.toReversed()]);
      return true;
    };
    await expectRejection(readAt(source, 50_000, 10), "E_NET", "changed while it was read");
  });

  it.each([
    ["ftp://127.0.0.1/a", /not a URL of http or https/],
    ["http://user:secret@127.0.0.1/a", /user or a password/],
  ])("has no URL like %s, and no message shows a password", async (from, message) => {
    const error = await opened(undefined, from).catch((reason: Error) => reason);
    expect(error).toMatchObject({ code: "E_USAGE", message: expect.stringMatching(message) });
    expect((error as Error).message).not.toContain("secret");
  });
});

function half(response: import("node:http").ServerResponse): boolean {
  response.writeHead(206, { "content-range": "bytes 0-16383/100000", "content-length": 16384 });
  return response.write(bytes.subarray(0, 100));
}
