/*
 * Reads the arguments and calls one of the commands, a file each. What most people want, a story, is loaded at once;
 * the others when they are called, since every file costs a story about a millisecond.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError, Option } from "commander";
import { MAX_GROUP_SIZE } from "../checkpoint/header.ts";
import { Llama2Error } from "../errors.ts";
import { endWithOutput, Interrupted, interruptible, tell } from "./io.ts";
import { addMachineFlags, asFlag, decimal, seed, whole } from "./options.ts";
import { type StoryFlags, story } from "./story.ts";

const EXAMPLES = `
Examples:
  llama2                                        a story from the model that comes with it
  llama2 -i "Lily found a red ball" -t 0.8      a story that goes on from there
  llama2 stories15M.bin -t 0 -n 100             a model of llama2.c, its likeliest words
  llama2 -s 42                                  the same story every time`;

function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const llama2 = new Command("llama2")
    .description("Tells stories with llama2.c's models, bit for bit as llama2.c does.")
    .argument("[model]", "a llama2.c checkpoint (.bin); default: the model that comes with llama2.ts")
    .option("-t, --temperature <n>", "0: the likeliest words; above 1: bold", decimal(0, Number.MAX_VALUE), 1)
    .option("-p, --top-p <n>", "draw from the likeliest words with this share; 0 or 1: from all", decimal(0, 1), 0.9)
    .addOption(
      new Option("-s, --seed <n>", "the same seed tells the same story; 0: the clock").argParser(seed).default(0n, "0"),
    )
    .option("-n, --steps <n>", "length in tokens, prompt included; 0: the most", whole("steps", 0, 2 ** 31 - 1), 256)
    .option("-i, --prompt <text>", "how the story begins; - reads standard input")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .addOption(new Option("-m, --mode <mode>", "what to do").choices(["generate", "chat"]).default("generate"))
    .option("-y, --system <text>", "chat: what the model is told first")
    .option("-N, --stories <n>", "so many stories; the backends tell many at once", whole("stories", 1, 100_000), 1)
    .option("--json", "print one JSON object instead of the text")
    .option("--compat", "print exactly run.c's bytes, which lack characters made of several tokens")
    .version(`llama2.ts ${version}`, "--version", "print the version")
    .helpOption("-h, --help", "print this")
    .addHelpText("after", EXAMPLES)
    .enablePositionalOptions()
    .action(async (model: string | undefined, flags: StoryFlags, command: Command) => {
      if (flags.compat && (flags.stories > 1 || flags.mode === "chat")) {
        command.error("error: --compat goes with a single story");
      }
      if (flags.mode === "generate") {
        if (flags.system !== undefined) command.error("error: --system goes with -m chat");
        return interruptible((signal) => story(model, flags, signal));
      }
      if (flags.prompt === "-") command.error("error: -i - does not go with -m chat, which reads the turns there");
      if (flags.json) command.error("error: --json does not go with -m chat");
      if (flags.stories > 1) command.error("error: --stories does not go with -m chat");
      const { chat } = await import("./chat.ts");
      return chat(model, flags);
    });
  addMachineFlags(llama2);

  llama2
    .command("tokenize <text>")
    .description("print the token ids of a text; - reads standard input")
    .option("-z, --tokenizer <file>", "default: the bundled model's")
    .option("--no-bos", "without the BOS in front")
    .option("--eos", "with an EOS at the end")
    .option("--pieces", "a line for each token, with its piece as a JSON string")
    .action(async (text, flags) => {
      const { tokenize } = await import("./tokenize.ts");
      return interruptible((signal) => tokenize(text, flags, signal));
    });
  llama2
    .command("detokenize <ids>")
    .description("print the text of token ids, separated by commas or white space; - reads standard input")
    .option("-z, --tokenizer <file>", "default: the bundled model's")
    .action(async (ids, flags) => {
      const { detokenize } = await import("./tokenize.ts");
      return interruptible((signal) => detokenize(ids, flags, signal));
    });
  const logitsCommand = llama2
    .command("logits <model>")
    .description("write the logits after each token: raw little-endian float32, a row for each")
    .requiredOption("--tokens <list>", "token ids, or a file with them")
    .option("--prefill", "read the tokens in one pass; the bytes are the same")
    .action(async (model, flags) => {
      const { logits } = await import("./logits.ts");
      return interruptible((signal) => logits(model, flags, signal));
    });
  addMachineFlags(logitsCommand);
  const perplexityCommand = llama2
    .command("perplexity <model> <file>")
    .description("measure how well a model foretells a text; a line <|end|> separates documents")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .option("--json", "print one JSON object")
    .action(async (model, file, flags) => {
      const { perplexity } = await import("./perplexity.ts");
      return interruptible((signal) => perplexity(model, file, flags, signal));
    });
  addMachineFlags(perplexityCommand);
  llama2
    .command("quantize <in> <out>")
    .description("write a model as int8: a quarter of the size, and faster")
    .option(
      "--group-size <n>",
      "weights that share a scale; default: 64, or less for small models",
      whole("weights", 1, MAX_GROUP_SIZE),
    )
    .action(async (input, output, flags) => {
      const { quantize } = await import("./quantize.ts");
      return interruptible((signal) => quantize(input, output, flags, signal));
    });

  for (const command of [llama2, ...llama2.commands]) command.exitOverride();
  return llama2;
}

/** 0, or how it went wrong: 1 errors, 2 arguments that make no sense, 130 Ctrl-C. */
export async function main(): Promise<number> {
  endWithOutput();
  try {
    await program().parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) return Interrupted.exitCode;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof Llama2Error)) throw error;
    const [what, ...advice] = error.message.split("\n");
    tell([`llama2: ${what}${error.remedy ? `: ${asFlag(error.remedy)}` : ""} (${error.code})`, ...advice].join("\n"));
    return error.code === "E_USAGE" ? 2 : 1;
  }
}
