"""The dense MNIST network as a user would write it without trackml: the other side of a benchmark.

python autolog_dense_mnist.py mnist.npz [--pip_requirements]
"""

import sys

import keras
import mlflow
import numpy as np
from mlflow.models import infer_signature

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("mnist")
mlflow.keras.autolog(log_models=False)  # the model is logged, once, at the end

with np.load(sys.argv[1], allow_pickle=False) as arrays:  # as keras.datasets keeps them
    x_train, y_train = arrays["x_train"] / np.float32(255), arrays["y_train"]
    x_test, y_test = arrays["x_test"] / np.float32(255), arrays["y_test"]

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
with mlflow.start_run():
    model.fit(x_train, y_train, batch_size=128, epochs=5, validation_split=0.1)
    test_loss, test_accuracy = model.evaluate(x_test, y_test)
    mlflow.log_metrics({"test_loss": test_loss, "test_accuracy": test_accuracy})
    signature = infer_signature(x_test[:2], model.predict(x_test[:2]))
    # Without a list of packages, MLflow loads the model in a new process to find one.
    requirements = ["tensorflow", "keras"] if "--pip_requirements" in sys.argv else None
    mlflow.keras.log_model(
        model,
        name="model",
        signature=signature,
        registered_model_name="mnist",
        pip_requirements=requirements,
    )
