"""
The sections of the check, the most important first, and how each is run: in a process of its own, which may fail, crash
or hang without taking the others along. What it has said until then is kept.
"""
import hashlib
import json
import os
import signal
import subprocess
import threading
import time

from card import find_tool

# Name, and the most seconds that it gets of the time left.
SECTIONS = [
    ("bandwidth", 15), ("launches", 15), ("rope", 10), ("logits", 90), ("text", 30), ("memory", 30), ("decode", 150),
    ("repeats", 30), ("slots", 25), ("copies", 10), ("batches", 25), ("sampler", 60), ("prefill", 40),
    ("batch", 60),
]
# Sections under compute-sanitizer, which makes everything many times slower.
SANITIZED = ["logits", "batches", "slots", "copies", "sampler"]


# The program prints the same words.
NO_TIME = "no time left"


class Runner:
    """`save` is called after each section, so that earlier results are kept if a card hangs."""

    def __init__(self, program, deadline, small, env, save, patient=False, fail_fast=False):
        """patient: a section may take all the time that is left. fail_fast: it ends at its first check that fails."""
        self.patient = patient
        self.fail_fast = fail_fast
        self.save = save
        self.program = program
        self.deadline = deadline
        self.small = small
        self.env = {**env, **os.environ}
        self.done = []

    def left(self):
        return self.deadline - time.monotonic()

    def skip(self, name, why):
        self.add({"name": name, "status": "skipped", "why": why, "results": []})

    def add(self, section):
        self.done.append(section)
        self.save()
        results = section["results"]
        checked = [r for r in results if "ok" in r]
        said = f"{section['status']:8}{section['name']:12}"
        if checked:
            said += f" {sum(r['ok'] for r in checked)} of {len(checked)} right"
        said += "".join(f"  {r['what']}: {r.get('message', 'wrong')}" for r in checked if not r["ok"])[:300]
        print(f"{said}  {section.get('why', '')}  {section.get('seconds', 0):.1f} s", flush=True)

    def probe(self):
        """Is there a device? The program's exit status, and its description of the device."""
        try:
            done = subprocess.run([self.program, "device"], stdout=subprocess.PIPE, text=True, env=self.env, timeout=120)
        except subprocess.TimeoutExpired:
            return 1, {"reason": "the card did not answer within two minutes"}
        try:
            return done.returncode, json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            return done.returncode or 1, {}

    def run(self, name, command, most):
        """A command that prints lines of JSON. It gets a time limit, and is stopped soon after that."""
        if self.left() < 5:
            return self.skip(name, NO_TIME)
        limit = self.left() - 3 if self.patient else min(most, self.left() - 3)
        command = [part.replace("{seconds}", f"{limit:.0f}") for part in command]
        start = time.monotonic()
        results, other = [], []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env,
                              start_new_session=True) as child:
            stopped = threading.Event()

            def stop():
                stopped.set()
                os.killpg(child.pid, signal.SIGKILL)  # and what it has started, which may hold its output open

            timer = threading.Timer(min(limit + 20, self.left()), stop)
            timer.start()
            for line in child.stdout:
                try:
                    result = json.loads(line)
                    results.append(result if isinstance(result, dict) else {"what": line.strip()})
                except ValueError:
                    other.append(line.rstrip())
            child.wait()
            timer.cancel()
        code = child.returncode
        wrong = any(r.get("ok") is False for r in results)
        if stopped.is_set():
            status = "stopped"
        elif code == 0 and not wrong:
            status = "skipped" if results and all("skipped" in r for r in results) else "ok"
        else:
            status = "failed" if code in (0, 1) else "crashed"
        section = {"name": name, "status": status, "seconds": round(time.monotonic() - start, 1), "exit": code,
                   "command": " ".join(command), "results": results}
        if other:
            section["output"] = other[-40:]
        self.add(section)

    def ask(self, arguments, most):
        """The last line that the program prints, as a dict; an empty one if it prints nothing in time."""
        limit = max(1, min(most, self.left()))
        try:
            call = [self.program, *arguments]
            done = subprocess.run(call, stdout=subprocess.PIPE, text=True, env=self.env, timeout=limit)
            return json.loads(done.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            return {}

    def run_section(self, name, most, prefix=(), as_name=None, small=None):
        small = self.small if small is None else small
        flags = ["--small"] * small + ["--fail-fast"] * self.fail_fast
        command = [*prefix, self.program, name, "--seconds", "{seconds}", *flags]
        self.run(as_name or name, command, most)

    # ------------------------------------------------------------------------
    # sections of more than one call

    def run_reference(self, golden, folder):
        """Check that the reference gives run.c's bits, before anything is compared with it."""
        start = time.monotonic()
        results = []
        for case in golden["cases"]:
            if self.small and case["shape"] == "15M":
                continue
            path = os.path.join(folder, "reference.bin")
            which = [case["shape"], case["seed"], int(case["untied"]), case["positions"]]
            call = [self.program, "reference", *map(str, which), path]
            code = subprocess.run(call, env=self.env).returncode
            digest = None
            if code == 0:
                with open(path, "rb") as file:
                    digest = hashlib.sha256(file.read()).hexdigest()
            results.append({"what": f"{case['shape']}, seed {case['seed']}, as run.c", "ok": digest == case["sha256"]})
        self.add_checks("reference", start, results)

    def run_stories(self, stories):
        """Greedy text of trained models: run.c's tokens; another only if run.c's two best logits are almost equal."""
        start = time.monotonic()
        results = []
        for name, model, tokens in stories:
            if self.left() < 15:
                results.append({"what": name, "skipped": NO_TIME})
                continue
            steps = min(len(tokens) - 1, 24 if self.small else 255)
            said = self.ask(["story", model, str(steps)], 60)
            try:
                generated = [int(token) for token in said["tokens"].split()]
                equal = generated == tokens[1 : steps + 1]
                results.append({"what": name, "equal": equal, "gap": said["gap"], "ok": equal or said["gap"] < 4e-4})
            except KeyError:
                results.append({"what": name, "ok": False, "message": said.get("message", "no answer")})
        if not results:
            return self.skip("stories", "no trained model was found")
        self.add_checks("stories", start, results)

    def add_checks(self, name, start, results):
        status = "ok" if all(r.get("ok", True) for r in results) else "failed"
        self.add({"name": name, "status": status, "seconds": round(time.monotonic() - start, 1), "results": results})

    def run_sanitizer(self, tool, most):
        """compute-sanitizer over small shapes: errors of memory, or races within shared memory."""
        sanitizer = find_tool("compute-sanitizer")
        if sanitizer is None:
            return self.skip(tool, "compute-sanitizer is not here")
        prefix = [sanitizer, "--tool", tool, "--error-exitcode", "9"]
        parts = []
        for name in SANITIZED:
            self.run_section(name, most / len(SANITIZED), prefix, tool, small=True)
            parts.append(self.done.pop())
        bad = [p["status"] for p in parts if p["status"] not in ("ok", "skipped")]
        results = [{"what": name, "skipped": p["why"]} if "why" in p else {"what": name, "ok": p["status"] == "ok"}
                   for name, p in zip(SANITIZED, parts)]
        output = [line for p in parts for line in p.get("output", [])][-60:]
        self.add({"name": tool, "status": bad[0] if bad else "ok", "results": results, "output": output,
                  "seconds": round(sum(p.get("seconds", 0) for p in parts), 1)})
