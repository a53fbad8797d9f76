"""In a scikit-learn pipeline: cross-validate, fit, then keep the fitted model right as a stream.

python examples/pipeline.py
"""

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from aet import ElasticClassifier

if __name__ == "__main__":
    X, y = load_wine(return_X_y=True, as_frame=True)
    log_proline = FunctionTransformer(lambda frame: frame.assign(proline=frame["proline"] ** 0.5))
    pipeline = make_pipeline(log_proline, ElasticClassifier(epochs=20, dim=32, random_state=0))
    print("accuracy, 3 folds:", cross_val_score(pipeline, X, y, cv=3).round(3))

    fitted = pipeline.fit(X, y)[-1]
    answers = fitted.stream().predict(X.head())
    print(answers)
