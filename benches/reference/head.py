"""The weights that scikit-learn finds for the problem in trainer/src/head/tests.rs.

    pip install scikit-learn && python3 benches/reference/head.py > trainer/src/head/tests/scikit_learn.in
"""
from sklearn.linear_model import LogisticRegression

X = [[0.0, 1.0], [1.0, 0.5], [2.0, 2.0], [3.0, 1.0], [-1.0, 0.0], [0.5, -1.0]]
y = [0, 1, 2, 1, 0, 2]
fitted = LogisticRegression(C=1.0, tol=1e-8, max_iter=10000).fit(X, y)
print("[" + ", ".join(f"{w:.6f}f32" for row in fitted.coef_ for w in row) + "]")
