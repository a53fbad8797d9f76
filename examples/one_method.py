"""One adaptation method alone, with PyTorch's contract: logits = method(batch).

python examples/one_method.py
"""

import numpy as np
import pandas as pd

import aet
from aet.adaptation import Restandardise

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(sign=np.where(x.sum(1) > 0, "plus", "minus"))
    model = aet.train(frame[:500], target="sign", config={"train": {"epochs": 15}})

    worn = frame[500:].copy()
    worn[["a", "b"]] = 0.5 * worn[["a", "b"]] + 2.0  # two sensors lost half their gain and drifted off
    batch = model.encode(model.check(worn, need_target=True).frame, target=True)

    method = Restandardise(model)
    for name, logits in (("source", model.logits(batch)), ("restandardise", method(batch))):
        print(f"{name:>14}: {model.output.metrics(logits, batch.target)['accuracy']:.3f}")
    print(method.state)
