"""Modules of others that have the name of one of our packages."""

import os
import subprocess
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL


@pytest.mark.parametrize("name", ["scheduler/__init__.py", "exporter/__init__.py", "storage.py", "exporter/other.py"])
def test_a_module_that_hides_ours_is_named_with_its_path(tmp_path: Path, name: str) -> None:
    file, module = tmp_path / name, name.partition("/")[0].removesuffix(".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text("", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([SCHEDCTL, "version"], env=environment, capture_output=True, text=True, check=False)
    if name == "exporter/other.py":  # without __init__.py it hides nothing
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 1
    assert done.stderr.startswith(f"schedctl: the module {module} in {file} hides ")
    assert done.stderr.count("\n") == 1
