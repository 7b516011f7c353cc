#!/usr/bin/env python3
"""
npm run gpu:check: is the cuda backend correct on this GPU, and how fast is it? One command, limited to eight minutes.

Needs an NVIDIA driver, nvcc 12.0 or newer, g++ and Python 3.8; no network, no Node. Builds native/cuda/check, compares
every kernel with the reference, measures, writes the results as JSON and prints a summary last. If time
runs out, the remaining parts are named as skipped, and never reported as measured.

Exit status: 0 if everything that was tried was right; 1 if something was wrong; 2 for a wrong call; 3 if something that
it needs is missing.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "gpu"))

from build import BuildError, build, build_emulated, find_nvcc  # noqa: E402
from card import architecture, has_driver, read_card, read_host  # noqa: E402
from sections import NO_TIME, SECTIONS, Runner  # noqa: E402
from summary import summary  # noqa: E402

ROOT = os.path.dirname(HERE)
# The device that is emulated by default: a Hopper, on which kernels start early.
EMULATOR = {"EMULATOR_SCHEDULE": "random", "EMULATOR_RESIDENT": "4", "EMULATOR_MEMORY": "200000000",
            "EMULATOR_COMPUTE": "9", "EMULATOR_DRIVER": "13000", "EMULATOR_RUNTIME": "13000"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--seconds", type=float, default=460, help="the time limit, with the build (460)")
    parser.add_argument("--out", help="the results (bench/results/gpu-DATE.json)")
    parser.add_argument("--only", help="these sections, separated by commas")
    parser.add_argument("--small", action="store_true", help="tiny shapes, few repetitions")
    parser.add_argument("--fail-fast", action="store_true", help="end a section at its first check that fails")
    parser.add_argument("--emulate", action="store_true", help="g++ and the emulator instead of nvcc and a GPU")
    parser.add_argument("--sanitize", metavar="LIST", help="with --emulate: for g++'s -fsanitize")
    parser.add_argument("--arch", help="what nvcc compiles for (the card's own)")
    parser.add_argument("--build", help="the folder to build in (a new one)")
    parser.add_argument("--native", default=os.path.join(ROOT, "native"), help="another copy of native/")
    return parser.parse_args()


def read_json(*path):
    """A file of the checkout, or None."""
    try:
        with open(os.path.join(ROOT, *path)) as file:
            return json.load(file)
    except OSError:
        return None


def find_stories():
    """The trained models in this checkout, with run.c's greedy tokens."""
    places = [("stories2M", "models/stories2M.bin", "test/golden/bundled-model.json")]
    for shared in ("shared", "../shared"):
        places.append(("stories260K", shared + "/models/stories260K.bin", shared + "/golden/generate-stories260K.json"))
    found = {}
    for name, model, golden in places:
        cases = read_json(golden)
        if name not in found and cases and os.path.exists(os.path.join(ROOT, model)):
            case = next(c for c in cases["cases"] if c["temperature"] == 0 and c["prompt"] == "")
            found[name] = (name, os.path.join(ROOT, model), case["tokens"])
    return list(found.values())


def run_all(runner, report, wanted, folder, emulated):
    """Everything, the most important first."""
    if wanted("reference"):
        runner.run_reference(read_json("test/golden/forced-logits.json"), folder)
    for name, most in SECTIONS:
        if wanted(name):
            # the card's clocks and power under load, once
            timer = threading.Timer(8, lambda: report.update(cardAtWork=read_card()))
            if name == "decode":
                timer.start()
            runner.run_section(name, most)
            timer.cancel()
        if name == "text" and wanted("stories"):
            runner.run_stories(find_stories())
    for tool in ("memcheck", "racecheck"):
        if wanted(tool) and not emulated:  # on the emulator, g++'s sanitizers: scripts/sanitize-cuda.mjs
            runner.run_sanitizer(tool, 60)


def missing(nvcc):
    """What a GPU check needs and does not find, in one line; None if nothing is missing."""
    needs = []
    if not has_driver():
        needs.append("an NVIDIA driver")
    if nvcc is None:
        needs.append("nvcc (the CUDA toolkit, 12.0 or newer; CUDACXX can name it)")
    if shutil.which("g++") is None:
        needs.append("g++")
    return "gpu:check did not start: missing " + ", ".join(needs) if needs else None


def main():
    start = time.monotonic()
    arguments = parse_arguments()
    nvcc = None if arguments.emulate else find_nvcc()
    why = None if arguments.emulate else missing(nvcc)
    if why:
        print(why, file=sys.stderr)
        return 3
    report = {"schema": 1, **read_host(ROOT), "command": " ".join(["python3", "scripts/gpu-check.py", *sys.argv[1:]]),
              "emulated": arguments.emulate, "card": None if arguments.emulate else read_card(), "device": None,
              "sections": [], "status": "failed"}

    def save():
        report["seconds"] = round(time.monotonic() - start, 1)
        write(report, arguments.out)

    only = arguments.only.split(",") if arguments.only else None
    with tempfile.TemporaryDirectory(prefix="llama2-gpu-") as folder:
        to = arguments.build or folder
        try:
            if arguments.emulate:
                program, report["build"] = build_emulated(arguments.native, to, arguments.sanitize)
            else:
                program, report["build"] = build(
                    arguments.native, to, nvcc, arguments.arch or architecture(report["card"]))
            print(f"built for {report['build']['arch']} in {report['build']['seconds']} s", flush=True)
            environment = EMULATOR if arguments.emulate else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
            runner = Runner(program, start + arguments.seconds, arguments.small, environment, save,
                            patient=arguments.emulate, fail_fast=arguments.fail_fast)
            code = check(runner, report, lambda name: only is None or name in only, folder, arguments.emulate)
        except BuildError as error:
            report["error"] = str(error)
            print(error, file=sys.stderr)
            code = 1
    save()
    print(summary(report))
    out = results_file(report, arguments.out)
    print(f"results: {out}" if out else "results: not written, since this measured no GPU; --out writes them")
    return code


def check(runner, report, wanted, folder, emulated):
    code, said = runner.probe()
    if code != 0:
        report["status"] = "no device" if code == 3 else "failed"
        report["error"] = said.get("message", f"the program ended with {code}")
        print(report["error"], file=sys.stderr)
        return 3 if code == 3 else 1
    report["device"] = said
    report["sections"] = runner.done
    run_all(runner, report, wanted, folder, emulated)
    report["cardAfter"] = None if emulated else read_card()
    good = all(section["status"] in ("ok", "skipped") for section in runner.done)
    late = any(NO_TIME in (part.get("why"), part.get("skipped")) for s in runner.done for part in (s, *s["results"]))
    report["status"] = ("incomplete" if late else "ok") if good else "failed"
    return 0 if good else 1


def results_file(report, out):
    """Where the results go; None without a GPU."""
    if out or report["emulated"] or "--small" in report["command"] or report["device"] is None:
        return out
    return os.path.join(ROOT, "bench", "results", f"gpu-{report['date'][:10]}.json")


def write(report, out):
    path = results_file(report, out)
    if path is None:
        return
    with open(path + ".part", "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    os.replace(path + ".part", path)


if __name__ == "__main__":
    sys.exit(main())
