import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkpointFile, makeCheckpoint, type Shape } from "../helpers/checkpoint.ts";
import { llama2 } from "../helpers/cli.ts";
import { golden, ROOT, sha256 } from "../helpers/golden.ts";
import { slowFile } from "../helpers/sparse.ts";
import { tempDir } from "../helpers/temp.ts";
import { BYTE_VOCAB, type Piece, tokenizerFile, vocabOf } from "../helpers/tokenizer.ts";

const goldens = golden<Record<string, string>>("command.json");

const NOT_FOR_CHAT = "a model this small was most likely not made for chat: expect pieces of stories for answers\n";

describe("chat", () => {
  it("is run.c's, with its first texts from the command line", async () => {
    const flags = ["-m", "chat", "-y", "", "-i", "Tell me a story about a cat.", "-t", "0", "-n", "100", "-s", "1"];
    const { code, stdout } = await llama2(flags);
    expect({ code, sum: sha256(stdout) }).toEqual({ code: 0, sum: goldens.chatFirst });
  });

  it("is run.c's, with its first texts entered at the prompts", async () => {
    const stdin = "Be nice.\nTell me about a dog.\n";
    const { code, stdout } = await llama2(["-m", "chat", "-t", "0", "-n", "120", "-s", "1"], { stdin });
    expect({ code, sum: sha256(stdout) }).toEqual({ code: 0, sum: goldens.chatAsked });
  });

  it("ends at the end of the input, with exit code 0", async () => {
    const { code, stdout } = await llama2(["-m", "chat", "-s", "1"]);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: "Enter system prompt (optional): \n" });
  });

  it("warns that the bundled model was not trained for chat", async () => {
    const flags = ["-m", "chat", "-y", "", "-i", "Hi", "-s", "1", "-n", "20"];
    const { stderr } = await llama2(flags);
    expect(stderr).toBe(
      "the model that comes with llama2.ts was made for stories, not for chat: expect pieces of stories for answers\n",
    );
    expect((await llama2([...flags, "--quiet"])).stderr).toBe("");
  });

  it("reads turns as bytes, also invalid UTF-8, and ends them at newlines only", async () => {
    const folder = tempDir();
    const model = join(folder, "model.bin");
    writeFileSync(model, makeCheckpoint([16, 40, 2, 4, 4, 300, 64]));
    tokenizerFile(vocabOf(300), "tokenizer.bin", folder);
    const chat = async (stdin: Buffer, ...args: string[]) => {
      const flags = ["-m", "chat", "-y", "", "-s", "1", "-t", "0", "-n", "40"];
      return (await llama2([model, ...flags, ...args], { stdin })).stdout.toString().replace("User: ", "");
    };
    const answer = (...bytes: number[]) => chat(Buffer.from([...bytes, 0x0a]));
    const lineSeparator = [0xe2, 0x80, 0xa8]; // U+2028
    expect(await answer(0x61, ...lineSeparator, 0x62)).toBe(await chat(Buffer.alloc(0), "-i", "a\u2028b"));
    expect(await answer(0x61, 0xff, 0x62)).not.toBe(await answer(0x61, 0xef, 0xbf, 0xbd, 0x62)); // nor U+FFFD
    const stdin = Buffer.from([0xff, 0x0a]);
    const { stderr } = await llama2([model, "-m", "chat", "-y", "", "-s", "1", "-n", "17"], { stdin });
    expect(stderr).toContain("the conversation has 18 tokens"); // BOS, a space, "[INST] ", one for 0xff, " [/INST]"
  });

  describe("a turn that is too long", () => {
    // a context of 64 positions. The turn is BOS, a space, and a token for each byte of "[INST] ... [/INST]"
    const folder = tempDir();
    const model = join(folder, "model.bin");
    writeFileSync(model, makeCheckpoint([16, 40, 2, 4, 4, 300, 64]));
    tokenizerFile(vocabOf(300), "tokenizer.bin", folder);
    const turn = (tokens: number) => "x".repeat(tokens - 2 - "[INST]  [/INST]".length);
    const chat = async (stdin: string, ...args: string[]) => {
      const { code, stdout, stderr } = await llama2([model, "-m", "chat", "-y", "", "-s", "1", ...args], { stdin });
      expect(stderr).toContain(NOT_FOR_CHAT);
      return { code, stdout: stdout.toString(), stderr: stderr.replace(NOT_FOR_CHAT, "") };
    };

    it.each(["0", "20", "64"])("for the context is E_CONTEXT, with -n %s", async (n) => {
      const { code, stderr } = await chat("", "-i", turn(65), "-n", n);
      expect(stderr).toContain("there are 65 tokens to read, and the context holds 64");
      expect(stderr).toContain("E_CONTEXT");
      expect(code).toBe(1);
    });

    it("for -n is cut, as in run.c, with a message", async () => {
      const { code, stdout, stderr } = await chat("", "-i", turn(30), "-n", "20");
      expect(stderr).toBe("the conversation has 30 tokens and is cut at 20 positions (-n)\n");
      expect({ code, stdout }).toEqual({ code: 0, stdout: "Assistant: \n" });
    });

    it("for the positions that earlier turns left is cut, with a message", async () => {
      // at so high a temperature all tokens are equally likely, and the third one after 20 draws is EOS with this
      // seed
      const soonOver = ["-t", "1e9", "-p", "0", "-s", "139"];
      const { code, stdout, stderr } = await chat(`${turn(50)}\n`, "-i", turn(20), "-n", "0", ...soonOver);
      expect(stdout).toMatch(/^Assistant: [^\n]*\nUser: Assistant: \n$/);
      expect(stderr).toBe("the conversation has 73 tokens and is cut at 64 positions (the context)\n");
      expect(code).toBe(0);
    });

    it("a prompt exactly as long as the context is read, and one more token is generated", async () => {
      const { code, stderr } = await chat("", "-i", turn(64), "-n", "0", "-t", "0");
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    });
  });

  it("an answer ends at EOS, then the user's turn comes; -n limits all turns together", async () => {
    // At so high a temperature all 300 tokens are equally likely, EOS too. 4 to 258 are bytes, the others "x".
    const shape: Shape = [16, 40, 2, 4, 4, 300, 4000];
    const model = checkpointFile(shape);
    const tokenizer = tokenizerFile([
      ...BYTE_VOCAB,
      ...Array.from({ length: 41 }, (_, i): Piece => ["x".repeat(i + 1), 0]),
    ]);
    const flags = ["-z", tokenizer, "-m", "chat", "-y", "", "-t", "1e9", "-p", "0", "-s", "3", "-n", "3000"];
    const { code, stdout } = await llama2([model, ...flags], { stdin: "hi\n".repeat(200) });
    const turns = stdout.toString().split("User: Assistant: ").slice(1);
    expect(code).toBe(0);
    expect(turns.length).toBeGreaterThan(3);
    expect(turns.length).toBeLessThan(100);
    expect(turns.every((turn) => turn.endsWith("\n"))).toBe(true);
  });

  it("Ctrl-C stops the answer only; at the user's turn it ends the chat with 130", async () => {
    const tokenizer = join(ROOT, "models", "tok2048.bin");
    const flags = ["-z", tokenizer, "-m", "chat", "-y", "", "-i", "Hello", "-t", "1", "-s", "1", "-n", "0"];
    let interrupts = 0;
    const { code, stdout } = await llama2([slowFile(), ...flags, "--backend", "ts"], {
      stdin: null,
      onStdout(child, soFar) {
        const answering = soFar.length > "Assistant: ".length + 20;
        const asking = soFar.endsWith("User: ");
        if ((interrupts === 0 && answering) || (interrupts === 1 && asking)) {
          interrupts++;
          child.kill("SIGINT");
        }
      },
    });
    expect({ code, interrupts }).toEqual({ code: 130, interrupts: 2 });
    expect(stdout.toString()).toMatch(/^Assistant: [\s\S]*\nUser: $/);
  });
});
