"""Reports are made without torch, whatever of them is imported."""

import subprocess
import sys

MODULES = ("table", "render.report", "render.frames", "claims.shown", "figures.forest", "figures.qualitative")


def test_reports_run_without_torch():
    program = f"import sys, {', '.join(f'reports.{name}' for name in MODULES)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
