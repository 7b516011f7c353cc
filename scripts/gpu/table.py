"""The short table that the check prints last: everything that a reader of one screen must know."""
import re


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def find(sections, name):
    return next((s["results"] for s in sections if s["name"] == name), [])


def verdict_lines(report):
    """What was right, what was wrong, what was not tried."""
    lines = []
    checked = [(s["name"], r) for s in report["sections"] for r in s["results"] if "ok" in r]
    wrong = [(name, r) for name, r in checked if not r["ok"]]
    lines.append(f"checks: {len(checked) - len(wrong)} of {len(checked)} right")
    lines += [f"  WRONG  {name}: {r['what']} {r.get('message', '')}"[:150] for name, r in wrong[:12]]
    sections = report["sections"]
    lines += [f"  {s['status'].upper()}  {s['name']}" for s in sections if s["status"] in ("crashed", "stopped")]
    skipped = [f"{s['name']} ({s['why']})" for s in sections if s["status"] == "skipped" and "why" in s]
    results = [(s["name"], r) for s in sections for r in s["results"]]
    skipped += [f"{name}: {r['what']} ({r['skipped']})" for name, r in results if "skipped" in r]
    if skipped:
        lines.append(f"not done: {len(skipped)}")
        lines += ["  " + text[:150] for text in skipped[:12]]
        if len(skipped) > 12:
            lines.append(f"  ... and {len(skipped) - 12} more, in the results")
    return lines


def figure_lines(title, results, wanted):
    """Some figures of a section, a line each."""
    lines = []
    for r in results:
        if "median" in r and any(r["what"].startswith(start) for start in wanted):
            more = f"{100 * r['ofCopy']:5.0f} % of copy" if "ofCopy" in r else ""
            spread = f"({number(r['min'])} to {number(r['max'])})"
            lines.append(f"  {r['what']:52}{number(r['median']):>9} {r['unit']:6} {spread} {more}".rstrip())
    return [title, *lines] if lines else []


def grid_lines(title, results, pattern):
    """Figures as a grid: `pattern` finds in each what its row is, and which number its column is."""
    rows, columns = {}, []
    for r in results:
        found = re.fullmatch(pattern, r["what"])
        if found and "median" in r:
            row, column = found.group(1), int(found.group(2))
            rows.setdefault(row, {})[column] = number(r["median"])
            if column not in columns:
                columns.append(column)
    if not rows:
        return []
    columns.sort()
    lines = [f"{title:34}" + "".join(f"{column:>8}" for column in columns)]
    for row, cells in rows.items():
        lines.append(f"  {row:32}" + "".join(f"{cells.get(column, '-'):>8}" for column in columns))
    return lines


def decode_lines(results):
    """A line for each model and precision: the first and last 32 positions."""
    models = {}
    for r in results:
        model, _, stretch = r["what"].partition(", ")
        if "median" in r:
            models.setdefault(model, {})[stretch] = r
    if not models:
        return []
    lines = ["decode, tok/s       first 32  of copy  expected   last 32  of copy       256  drawn"]
    for model, s in models.items():
        def cell(stretch, key="median", width=9):
            value = s.get(stretch, {}).get(key)
            return f"{number(value):>{width}}" if value is not None else " " * (width - 1) + "-"

        def share(stretch):
            value = s.get(stretch, {}).get("ofCopy")
            return f"{100 * value:6.0f} %" if value is not None else "       -"

        lines.append(f"  {model:16}{cell('first 32', width=10)} {share('first 32')} {cell('first 32', 'expected')} "
                     f"{cell('last 32')} {share('last 32')} {cell('256')} {cell('256, drawn', width=6)}")
    return lines


def table(report):
    card = report.get("card") or {}
    lines = ["", f"{report['device']['what'] if report.get('device') else 'no device'}, driver "
             f"{card.get('driver_version', '?')}, {(report.get('build') or {}).get('compiler', '')}, "
             f"commit {(report.get('commit') or 'unknown')[:11]}"]
    sections = report["sections"]
    lines += figure_lines("memory", find(sections, "bandwidth"), ["copy", "read"])
    lines += figure_lines("from kernel to kernel", find(sections, "launches"), ["graph node", "early start"])
    lines += grid_lines("hand-off of 288 numbers, us; blocks", find(sections, "handoff"), r"(.+) among (\d+) blocks")
    lines += figure_lines("a token of 15M's phases", find(sections, "persistent"), ["a kernel", "one kernel"])
    heads = [f"15M {precision}, classifier" for precision in ("fp32", "fp16", "int8")]
    lines += figure_lines("a block's reduction; combining at a position; the head", find(sections, "phases"),
                          ["a block", "15M fp32, output at", *heads])
    lines += decode_lines(find(sections, "decode"))
    lines += figure_lines("prefill", find(sections, "prefill"), [""])
    lines += grid_lines("batches, tok/s; sequences", find(sections, "batch"), r"(.+), (\d+) at once")
    lines += figure_lines("against others", find(sections, "peers"), [""])
    lines += verdict_lines(report)
    lines.append(f"{report['status']}, {report['seconds']:.0f} s")
    return "\n".join(lines)
