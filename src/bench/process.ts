/*
 * Runs an engine in a process of its own.
 */
import { type ChildProcess, type ForkOptions, fork } from "node:child_process";
import { Llama2Error } from "../errors.ts";
import { revive } from "../run/failure.ts";
import type { FailureInfo } from "../run/protocol.ts";
import type { EngineInfo, EngineSpec, Sample, Work } from "./engine.ts";
import type { Sweep, Swept } from "./sweep.ts";

export type ToChild =
  | { type: "load"; spec: EngineSpec }
  | { type: "run"; work: Work }
  | { type: "sweep"; sweep: Sweep; seconds: number };
export type FromChild =
  | { type: "loaded"; info: EngineInfo }
  | { type: "sample"; sample: Sample }
  | { type: "swept"; swept: Swept }
  | { type: "failed"; error: FailureInfo };

/** An Engine in a process of its own. */
export class EngineProcess {
  readonly info: EngineInfo;
  private readonly child: ChildProcess;

  /** @throws Llama2Error whatever loading it throws */
  static async start(spec: EngineSpec): Promise<EngineProcess> {
    const child = forked();
    try {
      const answer = await ask(child, { type: "load", spec });
      if (answer.type !== "loaded") throw new Error("the process that measures has not loaded its model");
      return new EngineProcess(child, answer.info);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
  }

  private constructor(child: ChildProcess, info: EngineInfo) {
    this.child = child;
    this.info = info;
  }

  async run(work: Work): Promise<Sample> {
    const answer = await ask(this.child, { type: "run", work });
    if (answer.type !== "sample") throw new Error("the process that measures has not measured");
    return answer.sample;
  }

  end(): void {
    this.child.kill("SIGKILL");
  }
}

/** A process that reads memory. */
export class SweepProcess {
  private readonly child = forked();

  /** @throws Llama2Error E_DEVICE_UNAVAILABLE where the device's memory cannot be measured */
  async run(sweep: Sweep, seconds: number): Promise<Swept> {
    const answer = await ask(this.child, { type: "sweep", sweep, seconds });
    if (answer.type !== "swept") throw new Error("the process that reads memory has not read it");
    return answer.swept;
  }

  end(): void {
    this.child.kill("SIGKILL");
  }
}

function forked(): ChildProcess {
  const options: ForkOptions = { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] };
  return import.meta.url.endsWith(".ts")
    ? fork(new URL("./child.ts", import.meta.url), options)
    : fork(new URL("./child.js", import.meta.url), options);
}

/** One question at a time. @throws Llama2Error the child's error, or E_DEVICE_LOST if it ends */
function ask(child: ChildProcess, message: ToChild): Promise<FromChild> {
  return new Promise((resolve, reject) => {
    const done = (action: () => void) => {
      child.off("message", onMessage).off("exit", onExit).off("error", onError);
      action();
    };
    const onMessage = (answer: FromChild) =>
      done(() => (answer.type === "failed" ? reject(revive(answer.error)) : resolve(answer)));
    const onExit = (code: number | null, signal: string | null) =>
      done(() => reject(new Llama2Error("E_DEVICE_LOST", `the process that measures has ended (${signal ?? code})`)));
    const onError = (error: Error) => done(() => reject(error));
    child.on("message", onMessage).on("exit", onExit).on("error", onError);
    child.send(message, (error) => error && onError(error));
  });
}
