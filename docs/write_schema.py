"""Write docs/results.schema.json anew: `python docs/write_schema.py`."""

from pathlib import Path

from synthaug.report.schema import json_schema

if __name__ == "__main__":
    path = Path(__file__).with_name("results.schema.json")
    path.write_text(json_schema(), encoding="utf-8")
    print(path)
