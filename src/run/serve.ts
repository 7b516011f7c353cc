/*
 * The work of the model's thread, in Node and in browsers: it runs the scheduler in slices of about 10 ms.
 *
 * A pass is synchronous: while one runs, the thread receives no messages. Because it runs here, the caller's event loop
 * stays free. Between two slices this thread receives messages, such as new requests and cancels, and posts results.
 */
import type { LoadedModel } from "../backend/backend.ts";
import { describe } from "./failure.ts";
import { TableGuesser } from "./guess.ts";
import { GuessTable } from "./guessTable.ts";
import type { FromWorker, Setup, ToWorker } from "./protocol.ts";
import { Scheduler } from "./scheduler.ts";

const SLICE_MS = 10;
/**
 * About what a report costs until its text has been sent. With many requests, each is reported less often: 64 of them
 * every 32 ms, so that reporting does not take CPU time from the passes.
 */
const REPORT_MS = 0.5;
/**
 * Guessing begins after passes have taken so long: code that is not compiled yet takes time that a process which
 * generates one short story would not get back.
 */
const GUESSES_AFTER_MS = 250;

/** The thread's connection to its caller. */
export interface Port {
  post(message: FromWorker, transfer?: ArrayBuffer[]): void;
  onMessage(listener: (message: ToWorker) => void): void;
  /** Resolves once the waiting messages have been handled. */
  turn(): Promise<void>;
  /** End the thread. */
  close(): void;
}

/** A model that is ready, its description, and how many sequences may be live at once. */
export interface Opened {
  model: LoadedModel;
  exact: boolean; // its bits do not depend on how many tokens share a pass
  loaded: Extract<FromWorker, { type: "loaded" }>;
  slots: number;
}

/**
 * Serve one model.
 * @param open loads it, and may post what is known before it is ready
 */
export function serve(port: Port, open: (setup: Setup) => Promise<Opened> | Opened): void {
  let model: LoadedModel | undefined;
  let scheduler: Scheduler | undefined;
  let guesser: TableGuesser | undefined;
  let running = false;

  async function load(setup: Setup): Promise<void> {
    const { lookahead } = setup;
    if (lookahead !== "off") {
      guesser = new TableGuesser(new GuessTable(), lookahead, lookahead === "auto" ? GUESSES_AFTER_MS : 0);
    }
    try {
      const opened = await open(setup);
      model = opened.model;
      if (!opened.exact) guesser = undefined;
      scheduler = new Scheduler(model, opened.loaded.config.vocabSize, opened.slots, guesser);
      port.post(opened.loaded);
    } catch (error) {
      port.post({ type: "loadFailed", error: describe(error) });
      port.close();
    }
  }

  async function run(scheduler: Scheduler): Promise<void> {
    if (running) return;
    running = true;
    let due = performance.now() + SLICE_MS; // when all requests are reported
    while (scheduler.busy) {
      const start = performance.now();
      const end = start + SLICE_MS;
      do scheduler.step();
      while (scheduler.busy && !scheduler.urgent && performance.now() < end);
      const isDue = performance.now() >= due;
      report(scheduler, !isDue);
      if (isDue) due = performance.now() + Math.max(SLICE_MS, REPORT_MS * scheduler.reporting);
      await port.turn();
    }
    running = false;
  }

  function report(scheduler: Scheduler, urgent = false): void {
    for (const report of scheduler.take(urgent)) {
      const logits = report.slices.flatMap(({ logits }) => (logits ? [logits.buffer as ArrayBuffer] : []));
      port.post({ type: "report", ...report }, logits);
    }
  }

  port.onMessage((message) => {
    switch (message.type) {
      case "load":
        load(message.setup);
        break;
      case "guesses":
        guesser?.takeIn(message);
        break;
      case "start":
        scheduler?.add(message.id, message.sequences);
        if (scheduler) run(scheduler);
        break;
      case "cancel":
        scheduler?.cancel(message.id);
        break;
      case "end":
        scheduler?.end(message.id, message.sequence);
        if (scheduler) report(scheduler);
        break;
      case "close":
        scheduler?.dispose();
        scheduler = undefined;
        model?.dispose();
        port.close();
    }
  });
}
