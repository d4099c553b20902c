"""A stand-in for Infinigen's generator: a program that speaks its protocol and misbehaves by seed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training.infinigen import generate, process

STAND_IN = """
import json, os, sys, time
import numpy as np
log = open(sys.argv[1], "a", buffering=1)
log.write("start\\n")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    seed, path = request["seed"], request["path"]
    log.write(f"{seed} {request['factory']} {request['light']}\\n")
    what = json.loads(sys.argv[2]).get(str(seed), "make")
    if what == "fail":
        print(json.dumps({"done": False, "reason": "ValueError: no legs"}), flush=True)
        continue
    if what == "hang":
        time.sleep(600)
    if what == "die":
        sys.stderr.write("Fra:1 Mem:1M\\nSegmentation fault in the cushion\\n")
        sys.stderr.flush()
        os._exit(11)
    if what == "rubbish":
        print("Info: saved", flush=True)
        continue
    os.makedirs(os.path.dirname(path), exist_ok=True)
    face = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32 if seed % 2 else np.uint16)
    position = np.array([[0, 0, 0], [65534, 0, 0], [0, 65534, 0], [0, 0, 65534]], np.uint16)
    if what == "holes":
        face[0, 0] = 9
    np.savez(path, position=position, face=face, rgb=np.full((4, 3), seed % 256, np.uint8))
    if what == "broken":
        open(path, "r+b").truncate(100)
    row = {"center": [0.0, 0.0, 0.5], "size_m": 1.0, "params": {"width": seed / 7}}
    if what == "unsized":
        del row["size_m"]
    print(json.dumps({"done": True, "row": row}), flush=True)
"""


class StandIn:
    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder / "shapes", folder / "stand_in.py"
        self.program.write_text(STAND_IN)
        self.log = folder / "log.txt"
        self.does: dict[int, str] = {}

    def start(self) -> process.GeneratorProcess:
        does = json.dumps(self.does)
        return process.GeneratorProcess([sys.executable, str(self.program), str(self.log), does], limit_s=10)

    def fill(self, count: int, first: int = 0, category: str = "chair", **more) -> int:
        return generate.generate(self.folder, category, count, first, self.start, **more)

    def rows(self, name: str = generate.METADATA) -> list[dict]:
        return generate.read_rows(self.folder / name)

    def asked(self) -> list[int]:
        return [int(line.split()[0]) for line in self.log.read_text().splitlines() if line != "start"]

    def starts(self) -> int:
        return self.log.read_text().splitlines().count("start")
