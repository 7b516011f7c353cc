/*
 * nvidia-smi's query output and its errors: see helpers/nvidia.ts for the sources.
 */
import { describe, expect, it } from "vitest";
import { askNvidiaSmi } from "../../src/host/nvidia.ts";
import {
  MISMATCH,
  NO_DEVICES,
  NO_DRIVER,
  PROCESSES,
  QUERY,
  QUERY_OF_OLD_DRIVERS,
  RTX_4070,
  smi,
} from "../helpers/nvidia.ts";
import { worldOf } from "../helpers/world.ts";

const MIB = 2 ** 20;

describe("nvidia-smi", () => {
  it("lists a GPU: memory in bytes, temperature, power, utilization, the driver and its CUDA", async () => {
    const { outcome, gpus } = await askNvidiaSmi(worldOf(smi(RTX_4070)));
    expect(outcome).toBe("works");
    expect(gpus).toEqual([
      {
        index: 0,
        name: "NVIDIA GeForce RTX 4070",
        capability: "8.9",
        driver: "535.183.01",
        cuda: "12.2",
        memoryBytes: 12282 * MIB,
        usedBytes: 355 * MIB,
        freeBytes: 11597 * MIB,
        temperatureC: 41,
        powerW: 11.75,
        powerLimitW: 200,
        utilizationPercent: 3,
        processes: [],
      },
    ]);
  });

  it("lists several GPUs, each with the processes that hold its memory", async () => {
    const gpus =
      "0, GPU-a, NVIDIA H100 80GB HBM3, 580.65, 81559, 70000, 11559, 33, 120.5, 700.00, 12, 9.0\n" +
      "1, GPU-b, NVIDIA H100 80GB HBM3, 580.65, 81559, 0, 81559, 31, 70.2, 700.00, 0, 9.0\n";
    const processes = "GPU-a, 4242, 69000, python, with a comma\nGPU-a, 4243, [N/A], /usr/bin/x\n";
    const found = await askNvidiaSmi(worldOf(smi(gpus, "580.65", "13.0", processes)));
    expect(found.gpus.map(({ index, processes }) => [index, processes])).toEqual([
      [
        0,
        [
          { pid: 4242, name: "python,with a comma", bytes: 69000 * MIB },
          { pid: 4243, name: "/usr/bin/x", bytes: undefined },
        ],
      ],
      [1, []],
    ]);
  });

  it("omits values that a GPU does not report: [N/A], [Not Supported], [Unknown Error]", async () => {
    const line =
      "0, GPU-a, NVIDIA GB10, 580.65, [N/A], [Not Supported], [N/A], 40, [N/A], [Unknown Error], [GPU requires reset], 12.1\n";
    const { gpus } = await askNvidiaSmi(worldOf(smi(line)));
    expect(JSON.parse(JSON.stringify(gpus[0]))).toEqual({
      index: 0,
      name: "NVIDIA GB10",
      capability: "12.1",
      driver: "580.65",
      cuda: "12.2",
      temperatureC: 40,
      processes: [],
    });
  });

  it("is queried without compute_cap where the driver does not know it", async () => {
    const commands = {
      [QUERY]: ['Field "compute_cap" is not a valid field to query.\n', 2] as [string, number],
      [QUERY_OF_OLD_DRIVERS]: "0, GPU-a, GeForce GTX 1080, 418.87, 8119, 1, 8118, 30, 8.1, 180.0, 0\n",
      [PROCESSES]: "",
      "nvidia-smi": "| NVIDIA-SMI 418.87  Driver Version: 418.87  CUDA Version: 10.1 |",
    };
    const { outcome, gpus } = await askNvidiaSmi(worldOf({ commands }));
    expect(outcome).toBe("works");
    expect(gpus[0]).toMatchObject({ name: "GeForce GTX 1080", cuda: "10.1", freeBytes: 8118 * MIB });
    expect(gpus[0].capability).toBeUndefined();
  });

  it.each([
    ["missing", undefined],
    ["no driver", NO_DRIVER],
    ["mismatch", MISMATCH],
    ["no device", NO_DEVICES],
    [
      "failed",
      ["Unable to determine the device handle for GPU 0000:01:00.0: Unknown Error\n", 255] as [string, number],
    ],
  ])("where it does not work, says how: %s", async (outcome, said) => {
    const found = await askNvidiaSmi(worldOf(said ? { commands: { "nvidia-smi": said } } : {}));
    expect(found).toEqual({ outcome, said: said ? said[0].split("\n")[0] : "", gpus: [] });
  });
});
