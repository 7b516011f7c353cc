/*
 * Parses the arguments and calls a command. Each command is a file that is loaded only when it is called: every file
 * costs about a millisecond.
 */
import { Argument, Command, CommanderError, Option } from "commander";
import { FORMATS } from "../bench/result.ts";
import { Llama2Error } from "../errors.ts";
import { BACKENDS, PRECISIONS } from "../loadOptions.ts";
import { MAX_GROUP_SIZE, MAX_GUESS_BYTES, MAX_LONGEST, TARGETS } from "../targets.ts";
import { withoutEscapes } from "./escape.ts";
import { afterFlags, overview } from "./help.ts";
import { adviceForArguments, didYouMean } from "./hints.ts";
import { beQuiet, complain, endWithOutput, endWithSignals, Interrupted, interruptible, print } from "./io.ts";
import {
  addMachineFlags,
  asFlag,
  COMMANDS,
  collect,
  decimal,
  list,
  oneOf,
  seed,
  size,
  twoBackends,
  whole,
} from "./options.ts";
import { type StoryFlags, story } from "./story.ts";
import { addTalkCommands } from "./talkCommands.ts";
import { printVersion } from "./version.ts";

interface VersionFlags {
  version?: boolean;
  verbose?: boolean;
}

function program(): Command {
  const llama2 = new Command("llama2")
    .description("Tells little stories with llama2.c's models, bit for bit as llama2.c does.")
    .argument("[model]", "a file or folder of llama2.c, PyTorch, Hugging Face or llama.cpp; default: the bundled model")
    .addArgument(new Argument("[more...]").argParser(collect))
    .usage("[flags] [model]")
    .optionsGroup("The story:")
    .option("-i, --prompt <text>", "how it begins; - reads standard input")
    .option("-t, --temperature <n>", "0: the likeliest words; above 1: bold", decimal(0, Number.MAX_VALUE), 1)
    .option("-p, --top-p <n>", "draw from the likeliest words with this share; 0 or 1: from all", decimal(0, 1), 0.9)
    .addOption(
      new Option("-s, --seed <n>", "the same seed tells the same story; 0: the clock").argParser(seed).default(0n, "0"),
    )
    .option("-n, --steps <n>", "length in tokens, prompt included; default: to its end", whole("steps", 0, 2 ** 31 - 1))
    .option("--best <k>", "write k stories, tell the best", whole("stories", 1, 64), 1)
    .option("-N, --stories <n>", "tell n stories, many at once", whole("stories", 1, 100_000), 1)
    .optionsGroup("Chat:")
    .addOption(new Option("-m, --mode <mode>", "what to do").choices(["generate", "chat"]).default("generate"))
    .option("-y, --system <text>", "the system prompt, before the first turn")
    .optionsGroup("Output:")
    .option("--json", "one JSON object instead of the text")
    .option("--logprobs <k>", "how each token was chosen, and k alternatives", whole("alternatives", 0, 20))
    .addOption(
      new Option(
        "--receipt [what]",
        "with --json: what anybody needs to verify the story; logits: its logits as well",
      ).choices(["tokens", "logits"]),
    )
    .option("--show-guesses", "colour the tokens that were guessed ahead, and say how many a pass brought")
    .option("--compat", "exactly run.c's bytes, its 256 positions, and BOS alone as the end")
    .option("--ignore-eos", "go on after the end of the story, up to -n")
    .option("--escape", "in texts, turn \\n, \\t, \\\\ and \\u{...} into characters")
    .option("--quiet", "nothing on stderr but errors")
    .option("-v, --version", "the version; with --verbose also what it runs on")
    .addOption(new Option("--verbose").hideHelp())
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .configureHelp({ visibleCommands: () => [], visibleArguments: ({ registeredArguments: [model] }) => [model] })
    .configureOutput({ outputError: (text) => complain(asError(text)) })
    .addHelpText("after", afterFlags)
    .enablePositionalOptions()
    .optionsGroup("Model and machine:")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .action((model: string | undefined, more: string[], flags: StoryFlags & VersionFlags, command: Command) => {
      if (flags.version) return printVersion(flags.verbose ?? false);
      if (model !== undefined && more.length > 0) refuseArguments([model, ...more], command);
      return tellOrChat(model, flags, command);
    });
  addMachineFlags(llama2);

  addCommands(llama2);
  addTalkCommands(llama2);
  addHelp(llama2);
  for (const command of [llama2, ...llama2.commands]) command.exitOverride();
  return llama2;
}

async function tellOrChat(model: string | undefined, flags: StoryFlags, command: Command): Promise<void> {
  const { mode, stories, best } = flags;
  const refuse = (why: string) => command.error(`error: ${why}`);
  beQuiet(flags.quiet ?? false);
  if (flags.compat && (stories > 1 || mode === "chat")) refuse("--compat goes with a single story");
  if (flags.receipt && !flags.json) refuse("--receipt goes with --json");
  if (flags.logprobs !== undefined && stories > 1 && !flags.json) refuse("--logprobs with --stories needs --json");
  if (flags.showGuesses && (stories > 1 || mode === "chat")) refuse("--show-guesses goes with a single story");
  if (best > 1 && stories > 1) refuse("--best tells one story and does not go with --stories");
  if (flags.escape && flags.prompt && flags.prompt !== "-") flags.prompt = withoutEscapes(flags.prompt);
  if (flags.escape && flags.system) flags.system = withoutEscapes(flags.system);
  if (mode === "generate") {
    if (flags.system !== undefined) refuse("--system goes with -m chat");
    return interruptible((signal) => story(model, flags, signal));
  }
  if (flags.prompt === "-") refuse("-i - does not go with -m chat, which reads the turns there");
  if (flags.json) refuse("--json does not go with -m chat");
  if (stories > 1) refuse("--stories does not go with -m chat");
  if (best > 1) refuse("--best does not go with -m chat");
  if (flags.logprobs !== undefined) refuse("--logprobs does not go with -m chat");
  if (flags.ignoreEos) refuse("--ignore-eos does not go with -m chat");
  const { runcChat } = await import("./conversation.ts");
  return runcChat(model, flags);
}

/** Too many arguments: probably a command with a typing error, or a prompt without -i. */
function refuseArguments(args: string[], command: Command): never {
  const advice = adviceForArguments(args, COMMANDS);
  return command.error([`error: too many arguments, expected at most one model`, ...advice].join("\n"));
}

function addCommands(llama2: Command): void {
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
    .option("--top <k>", "print the k likeliest words instead; on a terminal: 10", whole("words", 1, 1000))
    .option("-z, --tokenizer <file>", "for the words; default: the one that fits, beside the model")
    .option("--prefill", "read the tokens in one pass; the bytes are the same")
    .action(async (model, flags) => {
      const { logits } = await import("./logits.ts");
      return interruptible((signal) => logits(model, flags, signal));
    });
  addMachineFlags(logitsCommand);
  addTrace(llama2);
  addStudy(llama2);
  const perplexityCommand = llama2
    .command("perplexity <model> <file>")
    .description("measure how well a model predicts a text; - reads standard input; a line <|end|> separates documents")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .option("--json", "print one JSON object")
    .action(async (model, file, flags) => {
      const { perplexity } = await import("./perplexity.ts");
      return interruptible((signal) => perplexity(model, file, flags, signal));
    });
  addMachineFlags(perplexityCommand);
  llama2
    .command("bench [models...]")
    .description("measure models on every backend here, in about a minute; lists such as 1,2,4 are all combined")
    .option("--quick", "in about ten seconds")
    .option("--full", "everything, as long as it takes")
    .option("--shape <s>", "random weights: 15M, 42M, 110M, 1B, 3B, 7B, or dim,hidden,layers,heads,...", collect)
    .option("-p, --prompt-tokens <list>", "lengths of prompts; 0: none", list(whole("tokens", 0, 2 ** 24)))
    .option("-n, --new-tokens <list>", "how many new tokens; 0: none", list(whole("tokens", 0, 2 ** 24)))
    .option("-r, --runs <n>", "runs of each test", whole("runs", 1, 1000), 5)
    .option("-t, --threads <list>", "how many threads", list(whole("threads", 1, 1024)))
    .option("--backend <list>", "of cuda, cpu, wasm, ts", list(oneOf(BACKENDS)))
    .option("--precision <list>", "of fp32, fp16, int8", list(oneOf(PRECISIONS)))
    .option("--batch <list>", "sequences at once", list(whole("sequences", 1, 1024)))
    .addOption(new Option("-o, --output <format>", "how it is printed").choices(FORMATS).default("table"))
    .addOption(new Option("--json", "the same as -o json").implies({ output: "json" }))
    .addOption(new Option("--markdown", "the same as -o md").implies({ output: "md" }))
    .option("--share <file>", "write the JSON with a receipt for each row, for llama2 verify")
    .option("--report <file>", "write a page with charts")
    .option("--against <command>", "another program; {model} {prompt} {n} {seed} are replaced", collect, [])
    .option("--compare", "say what differs between two files of --json")
    .option("--list-devices", "list backends and GPUs")
    .action(async (models, flags) => {
      const { bench } = await import("./bench.ts");
      return interruptible((signal) => bench(models, flags, signal));
    });
  llama2
    .command("fit [model]")
    .description("say whether a model fits into this machine and its GPUs, before it is loaded")
    .option("--shape <s>", "in place of a model: 15M, 42M, 110M, 1B, 3B, 7B, or dim,hidden,layers,heads,...")
    .option("--memory <size>", "of a GPU, in place of what is here: 12GB, 24GiB", size)
    .option("--context <n>", "positions; default: the model's", whole("positions", 1, 2 ** 31 - 1))
    .option("--batch <n>", "sequences at once", whole("sequences", 1, 4096), 1)
    .option("--bandwidth <n>", "GB/s of the memory: says how fast it could be", decimal(0.001, 1e6))
    .option("--json", "print one JSON object")
    .action(async (model, flags) => {
      const { fit } = await import("./fit.ts");
      return interruptible((signal) => fit(model, flags, signal));
    });
  llama2
    .command("doctor")
    .description("say which backends work on this machine, why others do not, and the one next step")
    .option("--json", "print one JSON object, for reports of bugs")
    .action(async (flags) => {
      const { doctor } = await import("./doctor.ts");
      return doctor(flags);
    });
  llama2
    .command("inspect <model>")
    .description("describe a model, a file or a URL: format, shape, tokenizer, and what would be refused")
    .option("--tensors", "list its tensors: name, type, shape, offset, bytes")
    .option("--json", "print one JSON object")
    .action(async (model, flags) => {
      const { inspect } = await import("./inspect.ts");
      return interruptible((signal) => inspect(model, flags, signal));
    });
  llama2
    .command("pull <model>")
    .description("fetch a model: stories15M and its like, ORG/REPO[/FILE] of Hugging Face, or a URL")
    .option("--json", "print one JSON object in place of the path")
    .action(async (model, flags) => {
      const { pull } = await import("./pull.ts");
      return interruptible((signal) => pull(model, flags, signal));
    });
  llama2
    .command("models")
    .description("list the models that are here")
    .option("--json", "print one JSON object")
    .action(async (flags) => {
      const { models } = await import("./models.ts");
      return interruptible(() => models(flags));
    });
  llama2
    .command("convert <in> <out>")
    .alias("import")
    .description("write any model as llama2.c's checkpoint, or as a Hugging Face folder")
    .addOption(
      new Option("--to <format>", "v0, v1: float32; v2: int8; safetensors: a folder").choices(TARGETS).default("v1"),
    )
    .option("--group-size <n>", "v2: weights that share a scale", whole("weights", 1, MAX_GROUP_SIZE))
    .option("--context <n>", "positions, in place of the model's own", whole("positions", 1, 2 ** 31 - 1))
    .option("--norm-eps <x>", "the norms' epsilon, in place of the model's own", decimal(1e-30, 0.5))
    .option("--rope-theta <x>", "RoPE's theta, in place of the model's own", decimal(1, 1e30))
    .option("-z, --tokenizer <file>", "default: the one that is found for the model")
    .option("--prove", "compare the logits with those of the original tensors; fails above 1e-4")
    .action(async (input, output, flags) => {
      const { convert } = await import("./convert.ts");
      return interruptible((signal) => convert(input, output, flags, signal));
    });
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
  addLearnGuesses(llama2);
}

function addLearnGuesses(llama2: Command): void {
  const learnCommand = llama2
    .command("learn-guesses <model> <out>")
    .description("write a table of what a model usually says next: with STEM.guesses beside it, it needs fewer passes")
    .option("--stories <n>", "how many it tells itself, to learn from", whole("stories", 1, 100_000), 3000)
    .option("-t, --temperature <n>", "the temperature that it will be used at", decimal(0, Number.MAX_VALUE), 1)
    .addOption(new Option("-s, --seed <n>", "of the first story; 0: the clock").argParser(seed).default(1n, "1"))
    .option("--longest <n>", "tokens of the longest context", whole("tokens", 1, MAX_LONGEST), 8)
    .option("--max-bytes <n>", "of the table", whole("bytes", 100, MAX_GUESS_BYTES), 450_000)
    .option("--text <file>", "to learn from as well; a line <|end|> separates documents; - reads standard input")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .option("--json", "print a JSON object")
    .action(async (model, out, flags) => {
      const { learnGuesses } = await import("./learnGuesses.ts");
      return interruptible((signal) => learnGuesses(model, out, flags, signal));
    });
  addMachineFlags(learnCommand);
}

function addTrace(llama2: Command): void {
  const traceCommand = llama2
    .command("trace [model]")
    .description("show what is computed for a token, line by line of transformer.ts")
    .option("-i, --prompt <text>", "what is read; - reads standard input")
    .option("--pos <p>", "the position to look at; default: the last of the prompt", whole("positions", 0, 2 ** 31 - 1))
    .option("-t, --temperature <n>", "how positions after the prompt are chosen", decimal(0, Number.MAX_VALUE), 0)
    .option("-p, --top-p <n>", "for positions after the prompt", decimal(0, 1), 0.9)
    .addOption(new Option("-s, --seed <n>", "for positions after the prompt").argParser(seed).default(1n, "1"))
    .option("--at <stop>", "draw its values: embed, norm1, q, k, v, rope, scores, probs or att, mix, ...")
    .option("--layer <l>", "only this layer", whole("layers", 0, 2 ** 31 - 1))
    .option("--head <h>", "with --at att or scores: one head, at every position", whole("heads", 0, 2 ** 31 - 1))
    .option("--step", "a debugger: n next, b back, s into, o out, q quit")
    .addOption(new Option("--ablate <part>", "switch off L2, L2.att, L2.ffn or L2.H5; may repeat").argParser(collect))
    .option("--why <value>", "explain logits[12] or L2.q[5]: down its largest terms, to a weight and a token")
    .option("--depth <n>", "how many values --why follows", whole("values", 1, 1000), 4)
    .addOption(new Option("--diff <a,b>", "compare two backends, stop by stop").argParser(twoBackends))
    .option("--tolerance <x>", "of --diff, relative; default: 0, with cuda 1e-4", decimal(0, Number.MAX_VALUE))
    .option("--open", "show the same place in the study page")
    .option("--npz <file>", "write the values for NumPy, with TransformerLens' names")
    .option("--json", "print one JSON object")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .action(async (model, flags) => {
      const { trace } = await import("./trace.ts");
      return interruptible((signal) => trace(model, flags, signal));
    });
  addMachineFlags(traceCommand);
}

function addStudy(llama2: Command): void {
  llama2
    .command("study [model]")
    .description("serve a page on this machine that shows the transformer at work, line by line, on your own prompt")
    .option("-i, --prompt <text>", "what is read first")
    .option("--port <n>", "where it listens; 0: any free port", whole("a port", 0, 65535), 0)
    .option("--no-open", "do not open a browser")
    .option("-z, --tokenizer <file>", "default: the one that fits, beside the model")
    .action(async (model, flags) => {
      const { study } = await import("./study.ts");
      return interruptible((signal) => study(model, flags, signal));
    });
}

function addHelp(llama2: Command): void {
  llama2
    .command("help [command]")
    .description("list all commands, or explain one")
    .action(async (name: string | undefined, _: object, command: Command) => {
      if (name === undefined) return print(`${overview()}\n`);
      const asked = llama2.commands.find((command) => command.name() === name);
      if (asked) return asked.outputHelp();
      command.error([`error: unknown command '${name}'`, ...didYouMean(name, COMMANDS)].join("\n"));
    });
}

/** Commander's message in the form of our errors. */
function asError(text: string): string {
  const [first, ...advice] = text.trimEnd().split("\n");
  return [`llama2: ${first.replace(/^error: /, "")} (E_USAGE)`, ...advice].join("\n");
}

/** The exit code: 0 success, 1 errors, 2 invalid arguments, 130 Ctrl-C. */
export async function main(): Promise<number> {
  endWithOutput();
  endWithSignals();
  try {
    await program().parseAsync(process.argv.map((arg) => (arg === "--receipt" ? "--receipt=tokens" : arg)));
    return Number(process.exitCode ?? 0); // a command may have set it
  } catch (error) {
    if (error instanceof Interrupted) return Interrupted.exitCode;
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (!(error instanceof Llama2Error)) throw error;
    const [what, ...advice] = error.message.split("\n");
    complain(
      [`llama2: ${what}${error.remedy ? `: ${asFlag(error.remedy)}` : ""} (${error.code})`, ...advice].join("\n"),
    );
    return error.code === "E_USAGE" ? 2 : 1;
  }
}
