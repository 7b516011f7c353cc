"""Builds the check of native/cuda/check: with nvcc for a GPU, or with g++ for the emulator."""
import glob
import hashlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

# No operation is fused with another: see native/cuda/gpu.h and native/cpu/kernels.h.
CPU_FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]
EMULATOR_FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-x", "c++"]
GPU_FLAGS = ["-std=c++17", "-O2", "-fmad=false", "-lineinfo"]

# The reference: the cpu backend with its plain kernels.
REFERENCE = ["forward", "kernels_base", "matrix", "sampler", "thread_pool", "transformer"]


class BuildError(Exception):
    pass


def sources(native):
    """The C++ files, which any compiler takes, and those with kernels."""
    plain = [os.path.join(native, "cpu", name + ".cpp") for name in REFERENCE]
    plain += sorted(glob.glob(os.path.join(native, "cuda", "check", "*.cpp")))
    kernels = sorted(glob.glob(os.path.join(native, "cuda", "*.cu")))
    kernels += sorted(glob.glob(os.path.join(native, "cuda", "check", "*.cu")))
    return plain, kernels


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise BuildError(" ".join(command) + "\n" + done.stdout)
    return done.stdout


def find_nvcc():
    for command in [os.environ.get("CUDACXX"), "nvcc", "/usr/local/cuda/bin/nvcc"]:
        try:
            if command and subprocess.run([command, "--version"], stdout=subprocess.PIPE).returncode == 0:
                return command
        except OSError:
            pass
    raise BuildError("there is no nvcc: install the CUDA toolkit, 12.0 or newer, or name its nvcc in CUDACXX")


def version_of(command):
    """The line of --version that names the version."""
    lines = run([command, "--version"]).splitlines()
    return next((line for line in lines if "release" in line), lines[0]).strip()


def compile_emulated(source, folder):
    """What has been compiled before is taken from there, whatever its name and time: tests build often."""
    text = run(["g++", *EMULATOR_FLAGS, "-E", "-P", source])
    digest = hashlib.sha256((" ".join(EMULATOR_FLAGS) + text).encode()).hexdigest()[:24]
    to = os.path.join(folder, digest + ".o")
    if not os.path.exists(to):
        run(["g++", *EMULATOR_FLAGS, "-c", source, "-o", to + ".part"])
        os.replace(to + ".part", to)
    return to


def build(native, folder, emulate, arch):
    """Returns the program, and what is to be known of the build. All files at once, on all cores."""
    os.makedirs(folder, exist_ok=True)
    start = time.monotonic()
    plain, kernels = sources(native)
    nvcc = None if emulate else find_nvcc()

    def compile_one(source):
        if emulate:
            return compile_emulated(source, folder)
        to = os.path.join(folder, os.path.relpath(source, native).replace(os.sep, "_") + ".o")
        if source in kernels:
            run([nvcc, *GPU_FLAGS, "-arch=" + arch, "-c", source, "-o", to])
        else:
            run(["g++", *CPU_FLAGS, "-c", source, "-o", to])
        return to

    # the largest first
    order = sorted(plain + kernels, key=lambda name: not name.endswith(("forward.cu", "phases.cu", "persistent.cu")))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_one, order))
    program = os.path.join(folder, "check")
    if emulate:
        # linked anew for each set of objects, since tests run side by side
        program += "-" + hashlib.sha256(" ".join(sorted(objects)).encode()).hexdigest()[:12]
        run(["g++", *objects, "-pthread", "-o", program])
    else:
        run([nvcc, "-arch=" + arch, *objects, "-o", program, "-Xcompiler", "-pthread"])
    compiler = version_of("g++") if emulate else version_of(nvcc)
    about = {"compiler": compiler, "flags": " ".join(EMULATOR_FLAGS if emulate else GPU_FLAGS), "arch": arch}
    return program, {**about, "seconds": round(time.monotonic() - start, 1)}
