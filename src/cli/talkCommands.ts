/*
 * The commands that generate text: chat, complete, serve and verify.
 */
import { type Command, Option } from "commander";
import { interruptible } from "./io.ts";
import { addMachineFlags, collect, decimal, seed, whole } from "./options.ts";

export function addTalkCommands(llama2: Command): void {
  addChat(llama2);
  addComplete(llama2);
  addServe(llama2);
  addVerify(llama2);
}

function addChat(llama2: Command): void {
  const chatCommand = llama2
    .command("chat [model]")
    .description("a conversation, for models trained to chat; from a pipe, each line is a turn")
    .option("-y, --system <text>", "the system prompt, before the first turn")
    .option("-t, --temperature <n>", "0: the likeliest words; above 1: bold", decimal(0, Number.MAX_VALUE), 1)
    .option("-p, --top-p <n>", "draw from the likeliest words with this share; 0 or 1: from all", decimal(0, 1), 0.9)
    .addOption(new Option("-s, --seed <n>", "the same seed answers the same").argParser(seed).default(0n, "0"))
    .option("-n, --steps <n>", "tokens of an answer; default: to its end", whole("tokens", 1, 2 ** 31 - 1))
    .option("--load <file>", "go on from what /save wrote")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .action(async (model, flags, command: Command) => {
      if (flags.load !== undefined && flags.system !== undefined)
        command.error("error: --load has its own system text");
      const { chat } = await import("./chat.ts");
      return chat(model, flags);
    });
  addMachineFlags(chatCommand);
}

function addComplete(llama2: Command): void {
  const completeCommand = llama2
    .command("complete [model]")
    .description("continue many prompts at once, as Meta's text_completion does; a line <|end|> between")
    .requiredOption(
      "--prompts <file>",
      "a JSON array of texts, or lines of JSON texts or { prompt }; - reads standard input",
    )
    .option("-t, --temperature <n>", "0: the likeliest words; above 1: bold", decimal(0, Number.MAX_VALUE), 0.6)
    .option("-p, --top-p <n>", "draw from the likeliest words with this share; 0: the likeliest", decimal(0, 1), 0.9)
    .addOption(new Option("-s, --seed <n>", "prompt k has the seed + k").argParser(seed).default(0n, "0"))
    .option("--max-tokens <n>", "new tokens for each prompt; default: to its end", whole("tokens", 0, 2 ** 31 - 1))
    .option("--stop <text>", "ends a text before it; may repeat", collect)
    .option("--logprobs", "with --json: the log-probability of each token")
    .option("--echo", "print the prompt as well")
    .option("--json", "print a JSON object for each prompt")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .action(async (model, flags, command: Command) => {
      if (flags.logprobs && !flags.json) command.error("error: --logprobs goes with --json");
      if (flags.stop?.includes("")) command.error("error: --stop with an empty text would end every text");
      const { complete } = await import("./complete.ts");
      return interruptible((signal) => complete(model, flags, signal));
    });
  addMachineFlags(completeCommand);
}

function addServe(llama2: Command): void {
  const serveCommand = llama2
    .command("serve [models...]")
    .description("models for OpenAI's clients, and a page that writes stories, on this machine")
    .option("--host <host>", "where to listen; another address needs a key", "127.0.0.1")
    .option("--port <n>", "0: any that is free", whole("a port", 0, 65_535), 8080)
    .option("--api-key <key>", "what clients must send; default: LLAMA2_API_KEY")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside each model")
    .option("--slots <n>", "texts at once", whole("texts", 1, 10_000), 64)
    .option("--queue <n>", "requests that wait before others are refused", whole("requests", 0, 100_000), 32)
    .action(async (models: string[], flags) => {
      const { serve } = await import("./serve.ts");
      return serve(models, flags);
    });
  addMachineFlags(serveCommand);
}

function addVerify(llama2: Command): void {
  const verifyCommand = llama2
    .command("verify <file> [model]")
    .description("make the text of a receipt again, and compare; - reads standard input")
    .option("--json", "print a JSON object for each receipt")
    .action(async (file, model, flags) => {
      const { verify } = await import("./verify.ts");
      if (!(await interruptible((signal) => verify(file, model, flags, signal)))) process.exitCode = 1;
    });
  addMachineFlags(verifyCommand);
}
