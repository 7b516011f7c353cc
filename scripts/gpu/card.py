"""The card and the machine. Everything here only reads: no setting of a card is ever changed."""
import datetime
import glob
import os
import platform
import shutil
import subprocess

FIELDS = [
    "name", "driver_version", "compute_cap", "memory.total", "memory.free", "clocks.sm", "clocks.mem", "clocks.max.sm",
    "clocks.max.mem", "temperature.gpu", "power.draw", "power.limit", "mig.mode.current", "persistence_mode",
    "utilization.gpu",
]


def output_of(command):
    """What a command prints, or None if it does not exist or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_tool(name):
    """A program of the toolkit, which may be installed without being on PATH; None if it is not found."""
    places = ["/usr/local/cuda/bin/", "/usr/local/cuda-*/bin/"]
    found = [path for place in places for path in sorted(glob.glob(place + name))]
    return shutil.which(name) or (found[-1] if found else None)


def has_driver():
    """Is there an NVIDIA driver? Looks for its files on Linux, WSL and a Jetson, as src/backend/cuda/driver.ts does."""
    traces = ["/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/nvmap"]
    return any(os.path.exists(path) for path in traces)


def read_card():
    """The card as nvidia-smi reports it now; None if there is none."""
    text = output_of(["nvidia-smi", "--query-gpu=" + ",".join(FIELDS), "--format=csv,noheader"])
    if not text:
        return None
    values = [value.strip() for value in text.splitlines()[0].split(",")]
    return dict(zip(FIELDS, values))


def architecture(card):
    """The architecture to compile for: the card's, or else Hopper."""
    return "sm_" + (card["compute_cap"].replace(".", "") if card else "90")


def read_host(root):
    """The machine that has the card, and the commit of the sources."""
    commit = output_of(["git", "-C", root, "rev-parse", "HEAD"])
    if commit and output_of(["git", "-C", root, "status", "--porcelain"]) != "":
        commit += "+"
    cpu = None
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), None)
    except OSError:
        pass
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "host": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()},
    }
