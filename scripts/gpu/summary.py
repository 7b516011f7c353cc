"""The last output of gpu:check: was everything right, and how fast was it relative to the card's bandwidth?"""

# Sections with speeds, and how the names of the figures shown begin. The results file has all figures.
SPEEDS = [("bandwidth", ""), ("launches", "graph node"), ("decode", ""), ("prefill", ""), ("batch", "")]


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def speed_lines(sections):
    for name, start in SPEEDS:
        for r in (r for s in sections if s["name"] == name for r in s["results"]):
            if "median" in r and r["what"].startswith(start) and not r["what"].endswith(("256", "drawn")):
                share = f"  {100 * r['ofCopy']:.0f} % of copy" if "ofCopy" in r else ""
                yield f"  {r['what']:44}{number(r['median']):>9} {r['unit']}{share}"


def summary(report):
    sections = report["sections"]
    device = (report.get("device") or {}).get("what", "no device")
    driver = (report.get("card") or {}).get("driver_version", "?")
    lines = ["", f"{device}, driver {driver}, {(report.get('build') or {}).get('compiler', '')}"]
    lines += speed_lines(sections)
    results = [(s["name"], r) for s in sections for r in s["results"]]
    checked = [(name, r) for name, r in results if "ok" in r]
    wrong = [(name, r) for name, r in checked if not r["ok"]]
    lines.append(f"checks: {len(checked) - len(wrong)} of {len(checked)} right")
    lines += [f"  WRONG  {name}: {r['what']} {r.get('message', '')}"[:150] for name, r in wrong[:12]]
    lines += [f"  {s['status'].upper()}  {s['name']}" for s in sections if s["status"] in ("crashed", "stopped")]
    skipped = [s["name"] for s in sections if s["status"] == "skipped" and "why" in s]
    skipped += [f"{name}: {r['what']}" for name, r in results if "skipped" in r]
    if skipped:
        lines.append(f"not done: {len(skipped)}: {'; '.join(skipped)}"[:400])
    lines.append(f"{report['status']}, {report['seconds']:.0f} s")
    return "\n".join(lines)
