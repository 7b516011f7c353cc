/*
 * The sweeps over memory of one measurement: each as often as the rows that are held against it.
 */
import { Llama2Error } from "../errors.ts";
import { SweepProcess } from "./process.ts";
import { type Bandwidth, spreadOf } from "./result.ts";

export interface Sweep {
  bytes: number;
  threads: number;
}

export class Sweeps {
  private process: SweepProcess | undefined;
  private available = true;
  private readonly runs = new Map<string, { sweep: Sweep; speeds: number[] }>();

  /** All that differ. */
  neededBy(rows: readonly { sweep: Sweep | undefined }[]): Sweep[] {
    const needed = new Map<string, Sweep>();
    for (const { sweep } of rows) if (sweep) needed.set(keyOf(sweep), sweep);
    return this.available ? [...needed.values()] : [];
  }

  /** Without the native addon nothing is measured. */
  async run(sweep: Sweep, seconds: number): Promise<void> {
    try {
      this.process ??= new SweepProcess();
      const speed = await this.process.run(sweep.bytes, sweep.threads, seconds);
      const known = this.runs.get(keyOf(sweep)) ?? { sweep, speeds: [] };
      known.speeds.push(speed);
      this.runs.set(keyOf(sweep), known);
    } catch (error) {
      if (!(error instanceof Llama2Error) || error.code === "E_DEVICE_LOST") throw error;
      this.available = false;
    }
  }

  /** GB/s of a sweep, if it has been measured. */
  speed(sweep: Sweep | undefined): number | undefined {
    const known = sweep && this.runs.get(keyOf(sweep));
    return known && spreadOf(known.speeds).median;
  }

  bandwidth(): Bandwidth[] {
    return [...this.runs.values()].map(({ sweep: { bytes, threads }, speeds }) => {
      return { device: "cpu", threads, bytes, gbPerSecond: spreadOf(speeds).median };
    });
  }

  end(): void {
    this.process?.end();
  }
}

const keyOf = ({ bytes, threads }: Sweep): string => `${bytes} ${threads}`;
