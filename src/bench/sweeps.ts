/*
 * The memory sweeps of one measurement. Each runs as often as the rows that are compared with it.
 */
import { Llama2Error } from "../errors.ts";
import { SweepProcess } from "./process.ts";
import { type Bandwidth, spreadOf } from "./result.ts";
import type { Sweep, Swept } from "./sweep.ts";

/** Runs the sweeps, and keeps their speeds. */
export class Sweeps {
  private process: SweepProcess | undefined;
  private readonly unavailable = new Set<Sweep["device"]>();
  private readonly runs = new Map<string, { sweep: Sweep; by: Swept["by"]; speeds: number[] }>();

  /** The distinct sweeps that the rows need. */
  neededBy(rows: readonly { sweep: Sweep | undefined }[]): Sweep[] {
    const needed = new Map<string, Sweep>();
    for (const { sweep } of rows) if (sweep) needed.set(keyOf(sweep), sweep);
    return [...needed.values()].filter(({ device }) => !this.unavailable.has(device));
  }

  /** Run a sweep. A device whose memory cannot be measured gets no figure. */
  async run(sweep: Sweep, seconds: number): Promise<void> {
    try {
      this.process ??= new SweepProcess();
      const { gbPerSecond, by } = await this.process.run(sweep, seconds);
      const known = this.runs.get(keyOf(sweep)) ?? { sweep, by, speeds: [] };
      known.speeds.push(gbPerSecond);
      this.runs.set(keyOf(sweep), known);
    } catch (error) {
      if (!(error instanceof Llama2Error) || error.code === "E_DEVICE_LOST") throw error;
      this.unavailable.add(sweep.device);
    }
  }

  /** The speed of a sweep in GB/s, if it was measured. */
  speed(sweep: Sweep | undefined): number | undefined {
    const known = sweep && this.runs.get(keyOf(sweep));
    return known && spreadOf(known.speeds).median;
  }

  bandwidth(): Bandwidth[] {
    return [...this.runs.values()].map(({ sweep: { device, index, bytes, threads }, by, speeds }) => {
      const name = index ? `${device} ${index}` : device;
      return { device: name, threads, bytes, gbPerSecond: spreadOf(speeds).median, by };
    });
  }

  /** Warnings about how bandwidth was measured. */
  warnings(): string[] {
    const searched = [...this.runs.values()].some(({ by }) => by === "searching");
    const instead = "the limit is how fast JavaScript searches memory, since the native addon does not work here";
    return searched ? [`${instead}: it may be higher`] : [];
  }

  end(): void {
    this.process?.end();
  }
}

const keyOf = ({ device, index = 0, bytes, threads }: Sweep): string => [device, index, bytes, threads].join(" ");
