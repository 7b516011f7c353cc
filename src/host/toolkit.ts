/*
 * Finds out what is missing to build the cuda backend for a machine's driver.
 */
import type { NvidiaSmi } from "./nvidia.ts";
import { installing, installingToolkit, type Problem } from "./system.ts";
import type { World } from "./world.ts";

interface Nvcc {
  command: string;
  release: string; // "12.2"
  /** Whether the build finds it. */
  usual: boolean;
}

const OLDEST = 12;
/** The toolkit to install if the driver does not report a version. */
const ANY_CUDA = "12.8";

/**
 * Why the backend cannot be built here, or that it has not been built. `next` builds it, or is the step before that.
 * @param build the command that builds it
 */
export async function buildProblem(world: World, smi: NvidiaSmi, build: string): Promise<Problem> {
  const spoken = smi.gpus[0]?.cuda ?? ANY_CUDA;
  const compilers = await findNvcc(world);
  if (compilers.length === 0) {
    return {
      reason: "the CUDA addon has not been built, and there is no nvcc",
      next: installingToolkit(world, spoken),
    };
  }
  const suits = ({ release }: Nvcc) => majorOf(release) >= OLDEST && majorOf(release) <= majorOf(spoken);
  const fitting = compilers.find(suits);
  if (!fitting) {
    const [{ release }] = compilers;
    const why = majorOf(release) < OLDEST ? `${OLDEST}.0 or newer is needed` : `the driver speaks CUDA ${spoken}`;
    return {
      reason: `the CUDA addon has not been built; nvcc is ${release}, and ${why}`,
      next: installingToolkit(world, spoken),
    };
  }
  if (!(await world.run(world.env.CXX ?? "g++", ["--version"]))) {
    return {
      reason: "the CUDA addon has not been built, and there is no C++ compiler",
      next: installing(world, "compiler"),
    };
  }
  if (!(await world.run("cmake", ["--version"]))) {
    return { reason: "the CUDA addon has not been built, and there is no cmake", next: installing(world, "cmake") };
  }
  const found = compilers.find(({ usual }) => usual); // the one that the build finds
  const named = fitting === found ? build : `CUDACXX=${fitting.command} ${build}`;
  return { reason: "the CUDA addon has not been built", next: named };
}

const majorOf = (release: string): number => Number.parseInt(release, 10);

/** The CUDA compilers of a machine, in the order in which scripts/build-cuda.mjs looks, and then all others. */
async function findNvcc(world: World): Promise<Nvcc[]> {
  const others = world
    .list("/usr/local")
    .filter((name) => /^cuda-\d/.test(name))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .map((name) => `/usr/local/${name}/bin/nvcc`);
  const named = world.env.CUDACXX ? [world.env.CUDACXX] : ["nvcc", "/usr/local/cuda/bin/nvcc"];
  const found: Nvcc[] = [];
  for (const command of [...named, ...others]) {
    const release = (await world.run(command, ["--version"]))?.stdout.match(/release (\d+\.\d+)/)?.[1];
    if (release !== undefined) found.push({ command, release, usual: named.includes(command) });
  }
  return found;
}
