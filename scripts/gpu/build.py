"""Builds the check of native/cuda/check: with nvcc for a GPU, or with g++ for the emulator."""
import fcntl
import glob
import hashlib
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

# No operation is fused with another: see native/cuda/gpu.h and native/cpu/kernels.h.
CPU_FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]
EMULATOR_FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-x", "c++"]
SANITIZER_FLAGS = ["-g1", "-fno-sanitize-recover=all"]
GPU_FLAGS = ["-std=c++17", "-O2", "-fmad=false", "-lineinfo"]

# The reference: the cpu backend with its plain kernels.
REFERENCE = ["forward", "kernels_base", "matrix", "sampler", "thread_pool", "transformer"]


class BuildError(Exception):
    pass


def sources(native):
    """The plain C++ files, and those with kernels."""
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
    """The command, or None."""
    for command in [os.environ.get("CUDACXX"), "nvcc", "/usr/local/cuda/bin/nvcc"]:
        try:
            if command and subprocess.run([command, "--version"], stdout=subprocess.PIPE).returncode == 0:
                return command
        except OSError:
            pass
    return None


def version_of(command):
    """The line of --version that names the version."""
    lines = run([command, "--version"]).splitlines()
    return next((line for line in lines if "release" in line), lines[0]).strip()


def compile_emulated(source, folder, flags):
    """Reuses an object that was compiled from the same text: tests build often."""
    text = run(["g++", *flags, "-E", "-P", source])
    digest = hashlib.sha256((" ".join(flags) + text).encode()).hexdigest()[:24]
    to = os.path.join(folder, digest + ".o")
    make_once(to, lambda part: run(["g++", *flags, "-c", source, "-o", part]))
    return to


def make_once(path, make):
    """A file that does not exist yet. Of several processes that need it, one makes it, and the others wait."""
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            make(path + ".part")
            os.replace(path + ".part", path)


def compile_all(sources_, compile_one):
    """All files in parallel, on all cores; the slowest first."""
    order = sorted(sources_, key=lambda name: not name.endswith("forward.cu"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(compile_one, order))


def build_emulated(native, folder, sanitizers=None):
    """With g++, for the CPU. Returns the program, and facts about the build."""
    os.makedirs(folder, exist_ok=True)
    start = time.monotonic()
    sanitize = [f"-fsanitize={sanitizers}", *SANITIZER_FLAGS] if sanitizers else []
    plain, kernels = sources(native)

    def compile_one(source):  # sanitizers watch the kernels; native/cpu has a test of its own
        return compile_emulated(source, folder, [*(sanitize if source in kernels else []), *EMULATOR_FLAGS])

    objects = compile_all(plain + kernels, compile_one)
    # a program for each set of objects, since tests run side by side
    program = os.path.join(folder, "check-" + hashlib.sha256(" ".join(sorted(objects)).encode()).hexdigest()[:12])
    link = ["-no-pie"] if sanitizers == "thread" else sanitize  # emulator/races.h replaces ThreadSanitizer's library
    make_once(program, lambda part: run(["g++", *link, *objects, "-pthread", "-o", part]))
    return program, about(version_of("g++"), [*sanitize, *EMULATOR_FLAGS], "emulator", start)


def build(native, folder, nvcc, arch):
    """With nvcc, for GPUs of that architecture. Returns the same."""
    os.makedirs(folder, exist_ok=True)
    start = time.monotonic()
    plain, kernels = sources(native)

    def compile_one(source):
        to = os.path.join(folder, os.path.relpath(source, native).replace(os.sep, "_") + ".o")
        if source in kernels:
            run([nvcc, *GPU_FLAGS, "-arch=" + arch, "-c", source, "-o", to])
        else:
            run(["g++", *CPU_FLAGS, "-c", source, "-o", to])
        return to

    program = os.path.join(folder, "check")
    run([nvcc, "-arch=" + arch, *compile_all(plain + kernels, compile_one), "-o", program, "-Xcompiler", "-pthread"])
    return program, about(version_of(nvcc), GPU_FLAGS, arch, start)


def about(compiler, flags, arch, start):
    seconds = round(time.monotonic() - start, 1)
    return {"compiler": compiler, "flags": " ".join(flags), "arch": arch, "seconds": seconds}
