"""What is run if it was brought along: other programs, the addon under Node; and a profiler, if the box has one."""
import csv
import gzip
import io
import os
import re
import shlex
import shutil
import subprocess
import time

from card import find_tool
from sections import NO_TIME

ROUNDS = 5
STEPS = 256


def parse_peer(text):
    """NAME:SHAPE:PRECISION=COMMAND, in which {checkpoint} and {steps} are put in."""
    what, _, command = text.partition("=")
    parts = what.split(":")
    if len(parts) != 3 or not command:
        raise ValueError(f"--peer {text}: expected NAME:SHAPE:PRECISION=COMMAND")
    return {"name": parts[0], "shape": parts[1], "precision": parts[2], "command": command}


def run_peers(runner, peers, folder):
    """Ours and theirs in turn, on checkpoints of the same shape; ratios are taken within each round."""
    if not peers:
        return runner.skip("peers", "none was brought along")
    start = time.monotonic()
    results = []
    for peer in peers:
        what = f"{peer['name']}, {peer['shape']} {peer['precision']}"
        checkpoint = os.path.join(folder, peer["shape"] + ".bin")
        if not os.path.exists(checkpoint):
            subprocess.run([runner.program, "checkpoint", peer["shape"], checkpoint], env=runner.env)
        command = shlex.split(peer["command"].replace("{checkpoint}", checkpoint).replace("{steps}", str(STEPS)))
        ours, theirs = [], []
        for round_ in range(ROUNDS + 1):  # the first one warms up
            if runner.left() < 30:
                break
            pair = (ours_once(runner, peer), theirs_once(command))
            if None in pair:
                break
            if round_ > 0:
                ours.append(pair[0])
                theirs.append(pair[1])
        if not ours:
            results.append({"what": what, "skipped": "no speed could be read, or no time left"})
            continue
        ratios = sorted(a / b for a, b in zip(ours, theirs))
        results.append({"what": what, "median": ratios[len(ratios) // 2], "min": ratios[0], "max": ratios[-1],
                        "unit": "x", "ours": ours, "theirs": theirs, "command": " ".join(command)})
    status = "ok" if any("median" in r for r in results) else "skipped"
    runner.add({"name": "peers", "status": status, "seconds": round(time.monotonic() - start, 1), "results": results})


def ours_once(runner, peer):
    return runner.ask(["speed", peer["shape"], peer["precision"], str(STEPS)], 60).get("tokPerSecond")


def theirs_once(command):
    """The last number before or after "tok/s" in what it prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = done.stdout.decode("utf-8", "replace")
    found = re.findall(r"([\d.]+)\s*tok(?:ens)?/s|tok(?:ens)?/s\s*[:=]\s*([\d.]+)", text)
    return float(found[-1][0] or found[-1][1]) if found else None


def unpack(packed, to):
    """A program that was brought along; None if it was not."""
    if not os.path.exists(packed):
        return None
    with gzip.open(packed) as source, open(to, "wb") as file:
        shutil.copyfileobj(source, file)
    os.chmod(to, 0o755)
    return to


def run_addon(runner, root, folder, golden):
    """The real addon in Node: the bundled model's greedy text through the command line. No test runner is needed."""
    brought = os.path.join(root, "build-gpu", "app")
    app = brought if os.path.exists(brought) else root
    node = unpack(os.path.join(root, "build-gpu", "node.gz"), os.path.join(folder, "node")) or shutil.which("node")
    main = os.path.join(app, "dist", "cli", "main.js")
    addon = os.path.join(app, "build-cuda", "Release", "llama2_cuda.node")
    unpack(addon + ".gz", addon)
    for what, there in (("Node", node), ("dist/", os.path.exists(main)), ("the built addon", os.path.exists(addon))):
        if not there:
            return runner.skip("addon", f"{what} is not here")
    case = next(c for c in golden["cases"] if c["temperature"] == 0 and c["prompt"] == "")
    models = os.path.join(root, "models")
    model, tokenizer = os.path.join(models, "stories2M.bin"), os.path.join(models, "tok2048.bin")
    call = [node, main, model, "-z", tokenizer, "--backend", "cuda", "-t", "0", "-n", "256"]
    start = time.monotonic()
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=60, env=runner.env)
        # a GPU may choose another word where run.c itself hesitates: how far they agree is told, not judged
        agreed = len(os.path.commonprefix([done.stdout.strip(), case["text"].strip()]))
        ok = done.returncode == 0 and agreed >= 40
        result = {"what": "the bundled model's story, through Node", "ok": ok, "said": done.stderr.strip()[-300:],
                  "agreedCharacters": agreed, "characters": len(case["text"].strip())}
        if not ok:
            result["message"] = (done.stdout[-200:] + done.stderr[-200:]).strip()
    except subprocess.TimeoutExpired:
        result = {"what": "the bundled model's story, through Node", "ok": False, "message": "it took more than 60 s"}
    runner.add({"name": "addon", "status": "ok" if result["ok"] else "failed", "command": " ".join(call),
                "seconds": round(time.monotonic() - start, 1), "results": [result]})


METRICS = "gpu__time_duration.sum,dram__bytes_read.sum,launch__registers_per_thread,launch__grid_size"


def run_trace(runner, shape="15M", precision="fp32"):
    """Every kernel of a few tokens under Nsight Compute, which runs them one at a time: which takes how long."""
    ncu = find_tool("ncu")
    if ncu is None:
        return runner.skip("trace", "ncu is not here")
    if runner.left() < 30:
        return runner.skip("trace", NO_TIME)
    start = time.monotonic()
    call = [ncu, "--csv", "--metrics", METRICS, "--clock-control", "none", "--cache-control", "none", "--launch-count",
            "240", runner.program, "speed", shape, precision, "4"]
    try:
        limit = min(60, runner.left() - 5)
        done = subprocess.run(call, capture_output=True, text=True, timeout=limit, env=runner.env)
    except subprocess.TimeoutExpired:
        return runner.skip("trace", "ncu took too long")
    rows = done.stdout[max(0, done.stdout.find('"ID"')) :]
    kernels = {}
    for row in csv.DictReader(io.StringIO(rows)):
        try:
            value = float(row["Metric Value"].replace(",", ""))
            kernels.setdefault(row["Kernel Name"].split("(")[0][:60], {}).setdefault(
                row["Metric Name"] + " " + row["Metric Unit"], []).append(value)
        except (KeyError, ValueError, TypeError, AttributeError):
            continue
    results = [{"what": name, **{metric: sorted(values)[len(values) // 2] for metric, values in metrics.items()}}
               for name, metrics in kernels.items()]
    section = {"name": "trace", "status": "ok" if results else "skipped", "command": " ".join(call), "results": results,
               "seconds": round(time.monotonic() - start, 1)}
    if not results:
        section["why"] = "ncu said nothing of use"
        section["output"] = (done.stdout + done.stderr).splitlines()[-20:]
    runner.add(section)
