"""A server and its clients: send rows that drift away, label a few, and see who answers.

    python examples/service.py

Needs the extra `serve`. The server runs as a process of its own on this machine, as `aet serve runs/machines` does.
"""

import json
import subprocess
import sys

from sensors import readings

import aet
from aet.client import Client

if __name__ == "__main__":
    aet.train(readings(600, 1.0, 0.0, seed=0), target="machine", config={"train": {"epochs": 20}}, out="runs/machines")
    command = [sys.executable, "-m", "aet", "serve", "runs/machines", "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = json.loads(server.stdout.readline())
    print(f"{said['url']} serves {said['models']}")

    with Client(said["url"]) as client:
        for month in range(4):
            for site, age in (("new-hall", 0.0), ("old-hall", 0.15)):
                rows = readings(200, 1.0 - age * month, 3 * age * month, seed=10 * month + int(age > 0))
                answers = client.predict(rows.drop(columns="machine"), stream=site)
                truth = rows["machine"].set_axis(answers["id"])
                right = (answers["prediction"].to_numpy() == truth.to_numpy()).mean()
                print(f"month {month}, {site}: {right:.1%} right, answered by the {answers['served_by'].iloc[-1]}")

                asked = client.ask(32, stream=site, newest=len(rows))  # somebody looks at these rows
                client.feedback(asked, truth[asked].tolist(), stream=site, wait=True)
        print(client.history("old-hall")[["rows", "kind", "text"]].head(5).to_string(index=False))

    server.terminate()
    server.communicate()
