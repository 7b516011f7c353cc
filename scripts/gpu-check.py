#!/usr/bin/env python3
"""
npm run gpu:check: everything that only a GPU can show, in one command that gives itself eight minutes.

Needs Python 3.8, nvcc 12.0 or newer and g++; no network, no Node. Builds native/cuda/check, compares every kernel with
the reference, measures, writes the results as JSON and prints a short table last. What there was no time for is named
as skipped, and nothing skipped is ever reported as measured.

Ends with 0 if everything that was tried was right; 1 if something was wrong; 2 for a wrong call; 3 if there is no
device.
"""
import argparse
import json
import os
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "gpu"))

from build import BuildError, build  # noqa: E402
from card import architecture, read_card, read_host  # noqa: E402
from extras import parse_peer, run_addon, run_peers, run_trace  # noqa: E402
from sections import NO_TIME, SECTIONS, Runner  # noqa: E402
from table import table  # noqa: E402

ROOT = os.path.dirname(HERE)
# A Hopper, on which kernels start early.
EMULATOR = {"EMULATOR_SCHEDULE": "random", "EMULATOR_RESIDENT": "4", "EMULATOR_MEMORY": "200000000",
            "EMULATOR_COMPUTE": "9", "EMULATOR_DRIVER": "13000", "EMULATOR_RUNTIME": "13000"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--seconds", type=float, default=460, help="for all of it, the build included (460)")
    parser.add_argument("--out", help="the results (bench/results/gpu-DATE.json)")
    parser.add_argument("--only", help="these sections, with commas between")
    parser.add_argument("--small", action="store_true", help="tiny shapes, few repetitions")
    parser.add_argument("--emulate", action="store_true", help="g++ and the emulator instead of nvcc and a GPU")
    parser.add_argument("--arch", help="what nvcc compiles for (the card's own)")
    parser.add_argument("--build", help="the folder to build in (a new one)")
    parser.add_argument("--native", default=os.path.join(ROOT, "native"), help="another copy of native/")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME:SHAPE:PRECISION=COMMAND",
                        help="another program to compare with; {checkpoint} and {steps} are put in")
    return parser.parse_args()


def read_json(*path):
    """A file of the checkout, or None."""
    try:
        with open(os.path.join(ROOT, *path)) as file:
            return json.load(file)
    except OSError:
        return None


def find_stories():
    """Trained models that are here, and the greedy tokens that run.c writes."""
    places = [("stories2M", "models/stories2M.bin", "test/golden/bundled-model.json")]
    for shared in ("build-gpu/shared", "shared", "../shared"):
        places.append(("stories260K", shared + "/models/stories260K.bin", shared + "/golden/generate-stories260K.json"))
    found = {}
    for name, model, golden in places:
        cases = read_json(golden)
        if name not in found and cases and os.path.exists(os.path.join(ROOT, model)):
            case = next(c for c in cases["cases"] if c["temperature"] == 0 and c["prompt"] == "")
            found[name] = (name, os.path.join(ROOT, model), case["tokens"])
    return list(found.values())


def run_all(runner, report, wanted, folder, arguments, peers):
    """Everything, the most important first."""
    if wanted("reference"):
        runner.run_reference(read_json("test/golden/forced-logits.json"), folder)
    for name, most in SECTIONS:
        if wanted(name):
            # its clocks and its power at work, once
            timer = threading.Timer(8, lambda: report.update(cardAtWork=read_card()))
            if name == "decode":
                timer.start()
            runner.run_section(name, most)
            timer.cancel()
        if name == "text" and wanted("stories"):
            runner.run_stories(find_stories())
    if wanted("peers"):
        run_peers(runner, peers, folder)
    on_gpu = {
        "addon": lambda: run_addon(runner, ROOT, folder, read_json("test/golden/bundled-model.json")),
        "memcheck": lambda: runner.run_sanitizer("memcheck", 60),
        "racecheck": lambda: runner.run_sanitizer("racecheck", 60),
        "trace": lambda: run_trace(runner),
    }
    for name, run in on_gpu.items():
        if wanted(name):
            runner.skip(name, "needs a GPU") if arguments.emulate else run()


def main():
    start = time.monotonic()
    arguments = parse_arguments()
    try:
        peers = [parse_peer(text) for text in arguments.peer]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    report = {"schema": 1, **read_host(ROOT), "command": " ".join(["python3", "scripts/gpu-check.py", *sys.argv[1:]]),
              "emulated": arguments.emulate, "card": read_card(), "device": None, "sections": [], "status": "failed"}

    def save():
        report["seconds"] = round(time.monotonic() - start, 1)
        write(report, arguments.out)

    only = arguments.only.split(",") if arguments.only else None
    with tempfile.TemporaryDirectory(prefix="llama2-gpu-") as folder:
        try:
            arch = "emulator" if arguments.emulate else arguments.arch or architecture(report["card"])
            program, report["build"] = build(arguments.native, arguments.build or folder, arguments.emulate, arch)
            print(f"built for {arch} in {report['build']['seconds']} s", flush=True)
            environment = EMULATOR if arguments.emulate else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
            runner = Runner(program, start + arguments.seconds, arguments.small, environment, save)
            code = check(runner, report, lambda name: only is None or name in only, folder, arguments, peers)
        except BuildError as error:
            report["error"] = str(error)
            print(error, file=sys.stderr)
            code = 1
    save()
    print(table(report))
    out = results_file(report, arguments.out)
    print(f"results: {out}" if out else "results: not written, since this measured no GPU; --out writes them")
    return code


def check(runner, report, wanted, folder, arguments, peers):
    code, said = runner.probe()
    if code != 0:
        report["status"] = "no device" if code == 3 else "failed"
        report["error"] = said.get("message", f"the program ended with {code}")
        print(report["error"], file=sys.stderr)
        return 3 if code == 3 else 1
    report["device"] = said
    report["sections"] = runner.done
    run_all(runner, report, wanted, folder, arguments, peers)
    report["cardAfter"] = read_card()
    good = all(section["status"] in ("ok", "skipped") for section in runner.done)
    late = any(NO_TIME in (part.get("why"), part.get("skipped")) for s in runner.done for part in (s, *s["results"]))
    report["status"] = ("incomplete" if late else "ok") if good else "failed"
    return 0 if good else 1


def results_file(report, out):
    """Where the results go; None for a rehearsal."""
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
